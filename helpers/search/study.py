"""A sweep as an Optuna study: storage, sampler and pruner, and the table of its trials."""

import contextlib
import logging
import math
import warnings
from pathlib import Path

from helpers.experiment.checks import check_path
from helpers.experiment.config import hyperparameters

HEARTBEAT, GRACE_PERIOD = 10, 30  # seconds: a trial whose process gives no sign for so long is trained again
MAX_RETRIES = 3  # of a trial whose process was killed: its configuration may need more memory than there is
STARTUP_TRIALS = 4, 40  # method bayes draws a quarter of the trials at random first, within these limits


def import_optuna():
    """Return the module optuna, without its log and its warnings about experimental features."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # an error is logged with its traceback, and raised
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def open_study(sweep, storage, trials, seed):
    """Return the Optuna study of a sweep in the database at the URL `storage`, new or continued, or in memory."""
    optuna = import_optuna()
    database = optuna.storages.InMemoryStorage() if storage is None else open_database(storage)
    study = optuna.create_study(storage=database, study_name="sweep", direction=sweep.goal, load_if_exists=True)
    existing = study.get_trials(deepcopy=False)
    new = not existing and "sweep" not in study.user_attrs
    if new:
        study.set_user_attr("sweep", sweep.fingerprint)
    stored = study.user_attrs.get("sweep", "of an older version")
    if stored != sweep.fingerprint:
        raise ValueError(
            f"storage={display_url(storage)!r} holds another sweep ({stored}, not {sweep.fingerprint}), perhaps this "
            "one before the file was edited: choose another storage, or give the sweep file another name"
        )
    study.sampler = make_sampler(sweep, trials, seed % 2**32 if new else None)  # other machines draw other values
    study.pruner = optuna.pruners.NopPruner()
    early, max_epochs = sweep.early_terminate, max(sweep.choices("epochs", hyperparameters()["epochs"].default))
    if early and early["min_iter"] <= max_epochs:  # otherwise no trial reaches the first comparison
        study.pruner = optuna.pruners.HyperbandPruner(early["min_iter"], max_epochs, early["eta"])
    return study


def open_database(url):
    """Return the storage at `url`. A trial whose process was killed is failed there, and queued again."""
    from sqlalchemy.exc import ArgumentError

    optuna, shown = import_optuna(), display_url(url)
    try:
        return optuna.storages.RDBStorage(
            url, {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {},
            heartbeat_interval=HEARTBEAT, grace_period=GRACE_PERIOD,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(MAX_RETRIES),
        )  # fmt: skip
    except (ImportError, ArgumentError) as error:
        driver = getattr(error.__cause__, "name", None)
        reason = f"install the database driver {driver}" if driver else error
        raise ValueError(f"storage={shown!r} cannot be used: {reason}") from None


def display_url(url):
    """Return the URL of a database without its password and options; if it is none, ValueError without quoting it."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        parts = make_url(url)
        valid = "@" not in f"{parts.host}{parts.database}"  # otherwise a password was taken for a host
    except (SQLAlchemyError, ValueError):
        valid = False
    if not valid:
        raise ValueError(
            "storage is not the URL of a database, such as sqlite:///search.db or postgresql+psycopg://user:password@"
            "host/database; in a password, write @ as %40, / as %2F and ? as %3F"
        )
    return parts.set(query={}).render_as_string(hide_password=True)


@contextlib.contextmanager
def storage_errors(storage):
    """Turn an error of the storage, such as a full disk or a lost server, into an OSError of one sentence."""
    from sqlalchemy.exc import SQLAlchemyError

    kinds = SQLAlchemyError, import_optuna().exceptions.StorageInternalError
    try:
        yield
    except Exception as error:
        chain = [error]  # Optuna may raise another error while it handles that of the storage
        while chain[-1]:
            link = chain[-1]
            chain.append(link.__cause__ or (None if link.__suppress_context__ else link.__context__))
        causes = [link for link in chain if isinstance(link, kinds)]
        if not causes:
            raise
        reason = str(getattr(causes[-1], "orig", causes[-1])).strip().partition("\n")[0]
        raise OSError(
            f"storage={display_url(storage)!r} failed: {reason}; when the cause is gone, run the same search again to "
            "continue it"
        ) from None


def make_sampler(sweep, trials, seed):
    """Return Optuna's sampler for the method of the sweep."""
    samplers = import_optuna().samplers
    if sweep.method == "grid":  # all processes that share a study need the same order of the points
        sampler = samplers.GridSampler(sweep.grid, seed=int(sweep.fingerprint, 16))
        sampler.reseed_rng()
        return sampler
    if sweep.method == "random":
        return samplers.RandomSampler(seed)
    low, high = STARTUP_TRIALS
    startup = min(max(trials // 4, low), high)
    return samplers.TPESampler(n_startup_trials=startup, multivariate=True, constant_liar=True, seed=seed)


def was_killed(trial):
    """Return whether the trial ended without a result and without a reason: its process was killed or stopped."""
    return trial.state.name == "FAIL" and "reason" not in trial.user_attrs


def finished_trials(study):
    """Return the trials that finished without being killed: complete, pruned, or failed for a reason."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state.is_finished() and not was_killed(trial)]


def best_value(values, sweep):
    """Return the best of the metric's values, or None if there are none that are finite."""
    best = max if sweep.goal == "maximize" else min
    return best((value for value in values if math.isfinite(value)), default=None)


def target_reached(study, sweep):
    """Return whether the metric of a trial that did not fail has reached the target of the sweep."""
    if sweep.target is None:
        return False
    trials = [trial for trial in finished_trials(study) if trial.state.name != "FAIL"]
    values = [value for trial in trials for value in trial.intermediate_values.values()]
    return best_value([*values, sweep.target], sweep) in values


def trials_frame(study, sweep):
    """Return the finished trials as a data frame, one row per trial.

    Columns: ``trial``, ``state`` (complete, pruned, failed), the metric's best value, ``epochs_run``, ``seconds``,
    ``reason`` of a failure, each hyperparameter of the sweep, ``seed``, and ``sweep``, the sweep's fingerprint.
    ``attrs["hyperparameters"]`` lists the columns of the hyperparameters.
    """
    import pandas as pd

    names = list(dict.fromkeys([*sweep.parameters, "seed"]))
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower().replace("fail", "failed"),
            sweep.metric: best_value(trial.intermediate_values.values(), sweep),
            "epochs_run": len(trial.intermediate_values),
            "seconds": round(trial.duration.total_seconds(), 1),
            "reason": trial.user_attrs.get("reason"),
            **{name: trial.user_attrs.get("hyperparameters", {}).get(name) for name in names},
            "sweep": sweep.fingerprint,
        }
        for trial in finished_trials(study)
    ]
    columns = ["trial", "state", sweep.metric, "epochs_run", "seconds", "reason", *names, "sweep"]
    frame = pd.DataFrame(rows, columns=columns).astype({sweep.metric: float})
    for name in columns:  # otherwise None would become NaN, and the integers beside it floats
        if name != sweep.metric and any(row[name] is None for row in rows):
            frame[name] = pd.Series([row[name] for row in rows], dtype=object)
    frame.attrs["hyperparameters"] = names
    return frame


def check_results_file(results, sweep, study=None):
    """Raise ValueError if the table of this sweep cannot be written to the file `results`, or would replace another.

    That is one of another sweep, or one with trials that a stored `study` lacks.
    """
    import pandas as pd

    check_path("results", results)
    if not Path(results).exists():
        return
    try:
        table = pd.read_csv(results, dtype=str)
        same, numbers = (table["sweep"] == sweep.fingerprint).all(), {*map(int, table["trial"])}
    except (KeyError, ValueError):  # no such column; not a CSV file
        same = False
    if same and study and (lost := numbers - {trial.number for trial in study.get_trials(deepcopy=False)}):
        raise ValueError(f"results={str(results)!r} has {len(lost)} trials that the storage lacks; name another file")
    if not same:
        raise ValueError(f"results={str(results)!r} does not hold the results of this sweep; name another file")
