"""The importance of the hyperparameters, computed from the results of a search."""

import numpy as np

from helpers.experiment.config import hyperparameters

TREES, REPEATS = 50, 10  # of each random forest, and permutations of each hyperparameter
SCORING = "neg_mean_squared_error"  # R² is not defined for a single held-out trial


def importance(results, metric="val_accuracy"):
    """Return the importance of each hyperparameter and its correlation with the metric.

    W&B's panel of the same name shows the importances that the random forest computes while it is fitted, from the
    very trials it has seen. Permutation on held-out trials does not reward a hyperparameter for having many values.

    Parameters
    ----------
    results : pandas.DataFrame
        One row per trial, as in the table that `search` returns, or in its CSV file. The hyperparameters are the
        columns that are named like one, and those in ``attrs["hyperparameters"]``; the order does not matter.
    metric : str, default="val_accuracy"
        The column to explain; trials without it are left out.

    Returns
    -------
    importances : pandas.DataFrame
        One row per hyperparameter with several values: how much the predictions of a random forest for held-out trials
        degrade when the values of this hyperparameter are permuted (mean of five folds), normalised to a sum of 1.
    correlations : pandas.DataFrame
        Pearson's correlation with the metric; a categorical hyperparameter has one row per value.

    Raises
    ------
    ValueError
        If no hyperparameter has several values.
    """
    import pandas as pd
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    known = {"dataset", *hyperparameters(), *results.attrs.get("hyperparameters", ())} - {"seed"}
    results = results.dropna(subset=metric)
    values = results[[name for name in results.columns if name in known]]
    values = values.map(lambda value: str(value) if isinstance(value, (list, tuple)) else value)
    values = values[[name for name in values if len(values[name].drop_duplicates()) > 1]]
    if values.empty:
        raise ValueError(
            f"results has {len(results)} trials with {metric}, and no hyperparameter with several values among them: "
            "pass a table of at least two different trials"
        )
    codes = values.apply(lambda column: column if column.dtype.kind in "if" else column.astype("category").cat.codes)
    folds = []
    for fitted, held_out in KFold(min(5, len(codes)), shuffle=True, random_state=0).split(codes):
        forest = RandomForestRegressor(TREES, random_state=0).fit(codes.iloc[fitted], results[metric].iloc[fitted])
        part = codes.iloc[held_out], results[metric].iloc[held_out]
        permuted = permutation_importance(forest, *part, n_repeats=REPEATS, random_state=0, scoring=SCORING)
        folds.append(permuted.importances_mean)
    degradation = np.mean(folds, axis=0).clip(min=0)  # below 0 by chance
    importances = pd.Series(degradation / (degradation.sum() or 1), values.columns, name="importance")
    correlations = pd.get_dummies(values, dtype=float).corrwith(results[metric]).rename("correlation")
    return importances.sort_values(ascending=False).to_frame(), correlations.sort_values().to_frame()
