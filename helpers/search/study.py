"""The trials of a search: storage, sampling, and the table of results."""

import collections
import contextlib
import logging
import math
import re
import time
import warnings
from pathlib import Path

import numpy as np

GRACE_PERIOD = 30  # seconds without a heartbeat after which the process of a trial counts as killed
STARTUP_TRIALS = 4, 40  # method bayes draws a quarter of the trials at random first, within these limits


def import_optuna():
    """Return the module optuna, without its log and its warnings about experimental features."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # an error is logged with its traceback, and raised
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def open_study(sweep, storage, trials, seed):
    """Return the Optuna study of a sweep, new or continued.

    Parameters
    ----------
    sweep : Sweep
        The sweep to run.
    storage : str or optuna storage
        A database URL, or a storage object.
    trials : int
        The number of trials. Method bayes draws the first quarter of them at random.
    seed : int
        Seed of the sampler.

    Raises
    ------
    ValueError
        If the storage cannot be used, or holds another sweep.
    OSError
        If the disk is full, or the database server does not answer.
    """
    from sqlalchemy.exc import OperationalError

    if isinstance(storage, str):
        check_url(storage)
    try:
        study = create_study(sweep, storage)
    except Exception as error:  # whatever Optuna, SQLAlchemy, a driver or the file system raises
        missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
        hint = f"; install the database driver {missing.name}" if isinstance(missing, ModuleNotFoundError) else ""
        reason = f"{type(error).__name__}: {getattr(error, 'orig', None) or error}".strip()
        message = f"storage={display_url(storage)!r} cannot be used: {reason}{hint}"
        unavailable = isinstance(error, OperationalError) and not str(storage).startswith("sqlite")
        raise OSError(message) if unavailable or "disk" in str(error) else ValueError(message) from None
    with storage_errors(storage):
        return prepare_study(study, sweep, trials, seed)


def prepare_study(study, sweep, trials, seed):
    """Give the study its sampler and its pruner, and return it; ValueError if it is that of another sweep."""
    optuna = import_optuna()
    stored = study.user_attrs.get("sweep")
    if stored is None:
        raise ValueError("the storage was written by an older version of this project; choose another storage")
    if stored != sweep.fingerprint:
        raise ValueError(f"the storage holds another sweep ({stored}, not {sweep.fingerprint}); choose another storage")
    existing = study.get_trials(deepcopy=False)
    alone = all(trial.state.is_finished() for trial in existing)
    sampler_seed = (seed + len(existing)) % 2**32 if alone else None  # None: different on each machine
    if sweep.method == "grid":  # all processes that share a study need the same order of the points
        study.sampler = optuna.samplers.GridSampler(sweep.grid, seed=int(sweep.fingerprint, 16))
        study.sampler.reseed_rng()
    elif sweep.method == "random":
        study.sampler = optuna.samplers.RandomSampler(seed=sampler_seed)
    else:
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=int(np.clip(trials // 4, *STARTUP_TRIALS)),
            multivariate=True,
            constant_liar=True,
            seed=sampler_seed,
        )
    study.pruner = optuna.pruners.NopPruner()
    if sweep.early_terminate:
        min_iter, eta = sweep.early_terminate["min_iter"], sweep.early_terminate["eta"]
        study.pruner = optuna.pruners.HyperbandPruner(min_iter, sweep.max_epochs, eta)
    return study


def create_study(sweep, storage, attempts=5):
    """Return the study in the storage; try again, up to this many times for each kind of error, if that fails.

    Processes that create the tables of one database at once hinder each other, and a server may be about to start.
    """
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    optuna = import_optuna()
    conflicts = (IntegrityError, OperationalError, ProgrammingError, optuna.exceptions.StorageInternalError)
    failures = collections.Counter()
    while True:
        try:
            database = rdb_storage(storage) if isinstance(storage, str) else storage
            study = optuna.create_study(storage=database, study_name="sweep", direction=sweep.goal, load_if_exists=True)
            if not study.user_attrs and not study.get_trials(deepcopy=False):
                study.set_user_attr("sweep", sweep.fingerprint)
            return study
        except conflicts as error:
            kind = type(error)
            failures[kind] += 1
            if failures[kind] == attempts:
                raise
            time.sleep(0.1 * 2 ** failures[kind])


@contextlib.contextmanager
def storage_errors(storage):
    """Turn an error of the storage in the middle of a search, such as a full disk or a lost server, into an OSError."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except Exception as error:
        # While it handles an error of the storage, Optuna may raise an AssertionError or an UnboundLocalError
        chain = [error]
        while chain[-1].__cause__ or chain[-1].__context__:
            chain.append(chain[-1].__cause__ or chain[-1].__context__)
        kinds = SQLAlchemyError, import_optuna().exceptions.StorageInternalError
        cause = next((link for link in reversed(chain) if isinstance(link, kinds)), None)
        if cause is None:
            raise
        reason = f"{type(cause).__name__}: {cause}".splitlines()[0]
        raise OSError(
            f"storage={display_url(storage)!r} failed ({reason}); when the cause is gone, run the same search again to "
            "continue it"
        ) from None


def rdb_storage(url):
    """Return the database at `url`. The configuration of a trial whose process was killed is queued again."""
    from sqlalchemy.exc import SQLAlchemyError

    optuna = import_optuna()
    connect = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    database = optuna.storages.RDBStorage(
        url, engine_kwargs=connect, heartbeat_interval=10, grace_period=GRACE_PERIOD,
        heartbeat_stale_trial_callback=requeue,
    )  # fmt: skip
    record = database.record_heartbeat

    def record_or_skip(trial_id):
        """Leave an error to the next heartbeat: it would end the thread, and the trial would count as killed."""
        with contextlib.suppress(optuna.exceptions.StorageInternalError, SQLAlchemyError):
            record(trial_id)

    database.record_heartbeat = record_or_skip
    return database


def check_url(storage):
    """Raise ValueError, which shows no password, if this is no URL, or a password in it has a character such as @."""
    from sqlalchemy.engine import make_url

    try:
        url = make_url(storage)
        options = [option for option in storage.partition("?")[2].split("&") if "=" not in option]
        misread = url.host and any("@" in part for part in (url.host, url.database or "", *options))
    except Exception:  # SQLAlchemy's and urllib's errors may show parts of the URL
        misread = True
    if misread:
        scheme = re.match(r"[\w+]+://", storage)
        raise ValueError(
            f"storage='{scheme.group() if scheme else ''}…' is not the URL of a database, such as sqlite:///search.db "
            "or postgresql+psycopg://user:password@host/database; in a password, write @ as %40, / as %2F and ? as %3F"
        )


def display_url(storage):
    """Return the URL of a database without user name, password and options; of a storage object, its class."""
    from sqlalchemy.engine import make_url

    if not isinstance(storage, str):
        return type(storage).__name__
    url = make_url(storage)
    return f"{url.drivername}://{url.host or ''}/{url.database or ''}"


def requeue(study, trial):
    """Queue the configuration of a trial that was killed or interrupted."""
    if was_killed(trial) or not trial.state.is_finished():
        import_optuna().storages.RetryHeartbeatStaleTrialCallback()(study, trial)


def fail_killed_trials(study, seen):
    """Fail the trials whose process was killed; their configurations are then queued again.

    Optuna compares the current time with that of a trial's last heartbeat. So that it also finds a trial whose process
    was killed before the first one, the caller's process records a heartbeat when it sees a running trial for the
    first time, that is, when the trial's number is not in the set `seen`.
    """
    import_optuna().storages.fail_stale_trials(study)
    record = getattr(study._storage, "record_heartbeat", None)  # a storage in memory has none
    for trial in study.get_trials(deepcopy=False):
        if record and trial.state.name == "RUNNING" and trial.number not in seen:
            record(trial._trial_id)
            seen.add(trial.number)


def was_killed(trial):
    """Return whether the trial ended without a result and without a reason: it was killed or interrupted."""
    return trial.state.name == "FAIL" and "reason" not in trial.user_attrs


def counted_trials(study):
    """Return the trials that count: those that are running, and those that finished without being killed."""
    return [
        trial for trial in study.get_trials(deepcopy=False)
        if trial.state.name != "WAITING" and not was_killed(trial)
    ]  # fmt: skip


def finished_trials(study):
    """Return the trials that finished without being killed: complete, pruned, or failed for a reason."""
    return [trial for trial in counted_trials(study) if trial.state.is_finished()]


def best_value(values, sweep):
    """Return the best of the metric's values, or None if none of them is finite."""
    values = [value for value in values if value is not None and math.isfinite(value)]
    return (max if sweep.goal == "maximize" else min)(values) if values else None


def target_reached(study, sweep):
    """Return whether the metric of a finished trial has reached the target of the sweep."""
    if sweep.target is None:
        return False
    values = [value for trial in finished_trials(study) for value in trial.intermediate_values.values()]
    best = best_value([*values, sweep.target], sweep)
    return any(value == best for value in values)


def trials_frame(study, sweep):
    """Return the finished trials as a data frame, one row per trial.

    Columns: ``trial``, ``state`` (complete, pruned, failed), the metric's best value, ``epochs_run``, ``seconds``,
    ``reason`` of a failure, each hyperparameter of the sweep, ``seed``, and ``sweep``, the sweep's fingerprint.
    """
    import pandas as pd

    names = [*sweep.parameters, *(["seed"] if "seed" not in sweep.parameters else [])]
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
    return pd.DataFrame(rows, columns=columns)


def check_results_file(results, sweep):
    """Raise ValueError if the file `results` exists and does not hold the results of this sweep."""
    import pandas as pd

    path = Path(results)
    if not path.parent.is_dir():
        raise ValueError(f"results={str(results)!r}: the folder {str(path.parent)!r} does not exist")
    if path.exists():
        try:
            same = (pd.read_csv(path, dtype=str)["sweep"] == sweep.fingerprint).all()
        except (KeyError, ValueError):  # no such column; not a CSV file
            same = False
        if not same:
            raise ValueError(f"results={str(results)!r} does not hold the results of this sweep; name another file")
