"""The importance of the hyperparameters, computed from the results of a search."""


def importance(results, metric="val_accuracy"):
    """Return the importance of each hyperparameter and its correlation with the metric, as in W&B's panel.

    Parameters
    ----------
    results : pandas.DataFrame
        The table that `search` returns.
    metric : str, default="val_accuracy"
        The column to explain.

    Returns
    -------
    importances : pandas.DataFrame
        One row per hyperparameter with several values: how much the predictions of a random forest degrade when the
        values of this hyperparameter are permuted, normalised to a sum of 1.
    correlations : pandas.DataFrame
        Pearson's correlation with the metric; a categorical hyperparameter has one row per value.
    """
    import pandas as pd
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    results = results.dropna(subset=metric)
    searched = results.columns[results.columns.get_loc("reason") + 1 : -1]
    values = results[searched].map(lambda value: str(value) if isinstance(value, (list, tuple)) else value)
    values = values[[name for name in searched if name != "seed" and len(set(values[name])) > 1]]
    codes = values.apply(lambda column: column if column.dtype.kind in "if" else column.astype("category").cat.codes)
    forest = RandomForestRegressor(300, random_state=0).fit(codes, results[metric])
    degradation = permutation_importance(forest, codes, results[metric], n_repeats=20, random_state=0).importances_mean
    degradation = degradation.clip(min=0)  # below 0 by chance
    importances = pd.Series(degradation / (degradation.sum() or 1), values.columns, name="importance")
    correlations = pd.get_dummies(values, dtype=float).corrwith(results[metric]).rename("correlation")
    return importances.sort_values(ascending=False).to_frame(), correlations.sort_values().to_frame()
