"""Where a search's trials are kept, how the next one is chosen, and what all of them come to."""

import math
import warnings
from contextlib import contextmanager
from pathlib import Path

from helpers.config import Config

LOST_AFTER = 30  # seconds without a sign of life, after which a trial's process counts as killed


def open_study(spec, storage, seed, startup):
    """Return the study in this storage; ValueError if the storage holds another search.

    startup: how many trials are drawn at random before bayes has enough to learn from.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    shown = str(storage).rpartition("@")[2]  # without a database's password
    try:
        storage = database(storage) if isinstance(storage, str) else storage
        study = optuna.create_study(storage=storage, study_name="sweep", direction=spec.goal, load_if_exists=True)
        if "fingerprint" not in study.user_attrs:
            study.set_user_attr("fingerprint", spec.fingerprint)
        known = study.user_attrs["fingerprint"]
    except Exception as error:  # whatever Optuna, SQLAlchemy, a driver or the file system raises
        raise ValueError(f"storage={shown!r} cannot be used: {error!r}") from None
    if known != spec.fingerprint:
        raise ValueError(f"the storage holds another sweep ({known}, not {spec.fingerprint}); name another one")
    trials = study.get_trials(deepcopy=False)
    alone = all(trial.state.is_finished() for trial in trials)
    draw = (seed + len(trials)) % 2**32 if alone else None  # None: anything, so that two machines draw apart
    study.sampler = optuna.samplers.RandomSampler(seed=draw)
    if spec.method == "bayes":
        with _experimental():
            study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=startup, multivariate=True, constant_liar=True, seed=draw
            )
    study.pruner = optuna.pruners.NopPruner()
    if spec.early_terminate:
        least, eta = spec.early_terminate["min_iter"], spec.early_terminate["eta"]
        study.pruner = optuna.pruners.HyperbandPruner(least, _longest(spec), eta)
    return study


def _longest(spec):
    """Return the largest number of epochs that a trial may have."""
    given = spec.parameters.get("epochs", {"value": Config.epochs})
    return max(given.get("values", [given.get("value", given.get("max"))]))


def database(url):
    """Return the storage behind a URL. A trial whose process was killed is put into the queue again."""
    import optuna

    connect = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    with _experimental():
        alive = {"heartbeat_interval": 10, "grace_period": LOST_AFTER, "heartbeat_stale_trial_callback": again}
        return optuna.storages.RDBStorage(url, engine_kwargs=connect, **alive)


@contextmanager
def _experimental():
    """Say nothing of what Optuna may still change: requirements.txt has a version where it works."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def fail_killed(study):
    """Give up the trials whose process was killed."""
    import optuna

    with _experimental():
        optuna.storages.fail_stale_trials(study)


def again(study, trial):
    """Put the configuration of a trial that was killed or stopped into the queue."""
    drawn = trial.system_attrs.get("fixed_params", trial.params)
    if drawn and "reason" not in trial.user_attrs:  # a grid's point is free again without this
        study.enqueue_trial(drawn)


def finished(study):
    """Return the trials that came to an end of their own."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished() and not lost(trial)]


def lost(trial):
    """Whether the trial was killed or stopped: it failed, and nobody said why."""
    return trial.state.name == "FAIL" and "reason" not in trial.user_attrs


def refuse_another(results, spec):
    """Raise ValueError if there is a file at `results` that is not this sweep's."""
    path = Path(results)
    if not path.parent.is_dir():
        raise ValueError(f"results={str(results)!r}: there is no folder {str(path.parent)!r}")
    if path.exists():
        rows = path.read_text("utf-8", errors="replace").splitlines()
        if (
            not rows
            or not rows[0].endswith(",sweep")
            or not all(row.endswith(f",{spec.fingerprint}") for row in rows[1:])
        ):
            raise ValueError(f"results={str(results)!r} holds something else than this sweep; name another file")


def best(values, spec):
    """Return the best of the metric's values; None if none of them is finite."""
    values = [value for value in values if value is not None and math.isfinite(value)]
    return (max if spec.goal == "maximize" else min)(values) if values else None


def table(study, spec):
    """Return the finished trials of a study: trial, state, the metric, epochs, seconds, reason, and every setting."""
    import pandas as pd

    names = [*spec.parameters, *(["seed"] if "seed" not in spec.parameters else [])]
    rows = []
    for trial in finished(study):
        settings = {name: trial.user_attrs.get("settings", {}).get(name) for name in names}
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower().replace("fail", "failed"),
                spec.metric: best(trial.intermediate_values.values(), spec),
                "epochs_run": len(trial.intermediate_values),
                "seconds": round(trial.duration.total_seconds(), 1),
                "reason": trial.user_attrs.get("reason"),
                **settings,
                "sweep": spec.fingerprint,
            }
        )
    columns = ["trial", "state", spec.metric, "epochs_run", "seconds", "reason", *names, "sweep"]
    return pd.DataFrame(rows, columns=columns)


def importance(results, metric="val_accuracy"):
    """Return a data frame with a row a setting: importance and correlation with the metric, as W&B's panel shows.

    importance: how much a random forest's predictions get worse when that setting is shuffled, as a share of all.
    correlation: Pearson's, of numbers; a setting whose values are words has a row for each of them.
    """
    import pandas as pd
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    results = results.dropna(subset=metric)
    searched = results.columns[results.columns.get_loc("reason") + 1 : -1]
    searched = [name for name in searched if name != "seed" and len(results[name].unique()) > 1]
    settings = results[searched]
    codes = settings.apply(lambda column: column if column.dtype.kind in "if" else column.astype("category").cat.codes)
    forest = RandomForestRegressor(300, random_state=0).fit(codes, results[metric])
    worse = permutation_importance(forest, codes, results[metric], n_repeats=20, random_state=0).importances_mean
    share = pd.Series(worse / worse.sum(), settings.columns, name="importance")
    dummies = pd.get_dummies(settings, dtype=float)
    correlation = dummies.corrwith(results[metric]).rename("correlation")
    return share.sort_values(ascending=False).to_frame(), correlation.sort_values().to_frame()
