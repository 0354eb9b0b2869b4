"""Run the trials of a sweep on this machine, in this process or in several."""

import contextlib
import functools
import io
import itertools
import json
import math
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass

from helpers.experiment import stopping
from helpers.experiment.checks import check_int
from helpers.experiment.config import Config
from helpers.experiment.parallel import side_by_side
from helpers.experiment.run import TrainingDiverged, progress_bar, train
from helpers.files import atomic_write
from helpers.search.study import (
    best_value,
    check_results_file,
    finished_trials,
    import_optuna,
    open_study,
    storage_errors,
    target_reached,
    trials_frame,
    was_killed,
)
from helpers.search.sweep_file import Sweep, read_sweep

FAILURES = (TrainingDiverged, ValueError, MemoryError)  # ValueError: values that do not fit together


class Stopped(Exception):
    """The search was stopped during this trial."""


def search(
    source, *, trials=None, workers=1, seed=0, storage=None, results=None, data=None, allow_sample=False,
    progress=True, log=None,
):  # fmt: skip
    """Run a sweep until it has `trials` finished trials, and return their table.

    Parameters
    ----------
    source : str, path-like or dict
        A sweep.yaml, or a dict with the same content.
    trials : int, optional
        Total number of finished trials, including those already in the storage. By default the file's run_cap, or 20;
        for a grid, at most the number of its points. Processes that share a storage finish the trials that they have
        begun: there may be as many more as there are other processes.
    workers : int, default=1
        Number of parallel processes, each of which uses one core. More than one requires `storage`.
    seed : int, default=0
        Seed of the sampler of a new search with one worker, and of the first training of each configuration. A
        configuration that is drawn again is trained with the next seed. A search that is continued, or has several
        workers, draws other values each time.
    storage : str, optional
        A database URL, which several processes and machines may share. By default the trials are kept in memory.
    results : str or path-like, optional
        A CSV file with the table of the finished trials, kept up to date.
    data : Dataset, optional
        The data. By default `load_data` loads what the sweep names.
    allow_sample : bool, default=False
        Passed to `load_data`.
    progress : bool, default=True
        Show a progress bar.
    log : callable, optional
        Called after each trial of this call with its row of the table, a dict.

    Returns
    -------
    pandas.DataFrame
        One row per finished trial; see `trials_frame`. ``attrs["interrupted"]`` tells whether Ctrl-C, or the
        notebook's stop button, ended the search; the same call continues it, with the same storage.

    Raises
    ------
    ValueError
        If the sweep, the storage, the results file or another argument is not valid.
    OSError
        If the data are missing, the storage fails, or processes are killed again and again.
    """
    sweep = read_sweep(source)
    trials = check_int("trials", trials if trials is not None else sweep.run_cap or 20)
    trials = min(trials, sweep.grid_size) if sweep.method == "grid" else trials
    workers, seed = check_int("workers", workers), check_int("seed", seed, ge=0)
    if storage is not None and not isinstance(storage, str):
        raise ValueError(f"storage={storage!r} must be the URL of a database, such as 'sqlite:///search.db'")
    if workers > 1 and storage is None:
        raise ValueError(f"workers={workers} requires storage=, a database that the processes share")
    if data is not None and data.x_val is None:
        raise ValueError("data has no validation part, which the metric needs: load it with a validation_split above 0")
    trial = Trial(sweep, storage, trials, seed, allow_sample)
    with storage_errors(storage), stopping.watching() as stop, progress_bar(progress, "trial") as bar:
        study = trial.open_study()
        if results:
            check_results_file(results, sweep, study if storage else None)
        bar.reset(total=trials)
        show = functools.partial(show_progress, bar, study, sweep, results, set())
        show()
        load_silently.cache_clear()  # the files may have changed since the last search
        if workers > 1:  # also those that joblib's processes know, which outlive a search
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor().shutdown()
        while (missing := trial.missing(study)) and not stop.requested:
            tasks = [(data, study if workers == 1 else None)] * missing
            try:
                for _ in side_by_side(trial.run, tasks, workers, stop):
                    show(log)
            except BrokenExecutor:
                reason = "processes are killed again and again; run the same search again to continue it"
                raise ChildProcessError(reason) from None
        show()
        frame = trials_frame(study, sweep)
    frame.attrs["interrupted"] = stop.requested
    return frame


def show_progress(bar, study, sweep, results, seen, log=None):
    """Bring the progress bar and the CSV file up to date, and log the trials whose numbers have not been `seen`."""
    table = trials_frame(study, sweep)
    if results:
        with atomic_write(results) as file:
            table.to_csv(file, index=False)
    new = table[~table["trial"].isin(seen)]
    for row in new.to_dict("records") if log else ():
        log(row)
    best = best_value(table.loc[table["state"] == "complete", sweep.metric], sweep)
    if best is not None:
        bar.set_description(f"best {sweep.metric} {best:.4f}", refresh=False)
    bar.update(len(new))
    seen.update(new["trial"])


@dataclass(frozen=True)
class Trial:
    """What a process needs for the next trial of a search."""

    sweep: Sweep
    storage: str | None
    trials: int
    seed: int
    allow_sample: bool

    def open_study(self):
        """Return the study."""
        return open_study(self.sweep, self.storage, self.trials, self.seed)

    def missing(self, study):
        """Return how many more trials are wanted; of a grid, how many more points."""
        trials = finished_trials(study)
        if self.sweep.method == "grid":  # two processes may draw the same point
            trials = {tuple(trial.params.items()) for trial in trials}
        return 0 if target_reached(study, self.sweep) else max(0, self.trials - len(trials))

    def run(self, data=None, study=None):
        """Run the next trial of the study, by default that in the storage, unless none is missing."""
        names = self.sweep.choices("dataset", "fashion_mnist")
        datasets = {name: data or load_silently(name, self.allow_sample) for name in names}
        retry = import_optuna().storages.RetryHeartbeatStaleTrialCallback()

        def after(study, trial):
            if was_killed(trial):
                retry(study, trial)

        with storage_errors(self.storage):
            study, begun = study or self.open_study(), []

            def objective(trial):
                begun.append(trial.number)
                return self.objective(study, datasets, trial)

            if self.missing(study):
                try:
                    study.optimize(objective, n_trials=1, catch=(*FAILURES, Stopped), callbacks=[after])
                except (RuntimeError, ValueError):
                    # After a pause, as of a laptop, another process has taken this one for dead and queued its trial
                    if not begun or study.get_trials(deepcopy=False)[begun[0]].state.name != "FAIL":
                        raise

    def objective(self, study, datasets, trial):
        """Train one configuration and return the metric's best value."""
        optuna = import_optuna()
        values = {name: suggest(trial, name, parameter) for name, parameter in self.sweep.parameters.items()}
        values = {"seed": self.next_seed(study, trial)} | values
        trial.set_user_attr("hyperparameters", values)

        def report(row, params):
            trial.report(row[self.sweep.metric], row["epoch"])
            if row["epoch"] < config.epochs and trial.should_prune():
                raise optuna.TrialPruned

        data = datasets[values.get("dataset", "fashion_mnist")]
        try:
            config = Config(**{name: value for name, value in values.items() if name != "dataset"})
            result = train(data, config, on_epoch=report, progress=False)
        except FAILURES as error:
            trial.set_user_attr("reason", getattr(error, "reason", str(error) or type(error).__name__))
            raise
        except KeyboardInterrupt:  # the second signal
            raise Stopped from None
        if result.interrupted:
            raise Stopped
        return best_value(result.history[self.sweep.metric], self.sweep)

    def next_seed(self, study, trial):
        """Return the first seed with which no other trial of the same configuration was or is trained."""
        same = [other for other in study.get_trials(deepcopy=False) if other.params == trial.params]
        same = [other.user_attrs for other in same if other.number != trial.number and not was_killed(other)]
        taken = {attrs.get("hyperparameters", {}).get("seed") for attrs in same}
        return next(seed for seed in itertools.count(self.seed) if seed not in taken)


def suggest(trial, name, parameter):
    """Return the trial's value of a hyperparameter."""
    distribution, low, high = parameter["distribution"], parameter.get("min"), parameter.get("max")
    if distribution == "constant":
        return parameter["value"]
    if distribution == "categorical":  # as JSON, because Optuna accepts no lists
        return json.loads(trial.suggest_categorical(name, list(dict.fromkeys(map(json.dumps, parameter["values"])))))
    if distribution == "int_uniform":
        return trial.suggest_int(name, low, high)
    if distribution == "q_uniform":  # multiples of q, as W&B draws them
        q, tiny = parameter["q"], 1e-9  # 0.7 / 0.1 is 6.999…
        low, high = math.ceil(low / q - tiny) * q, math.floor(high / q + tiny) * q
        return round(trial.suggest_float(name, low, high, step=q), 12)
    return trial.suggest_float(name, low, high, log=distribution == "log_uniform_values")


@functools.cache
def load_silently(name, allow_sample):
    """Return the data set, loaded once in each process, without the line that `load_data` prints."""
    from helpers.data import load_data  # slow to import

    with contextlib.redirect_stdout(io.StringIO()):
        return load_data(name, allow_sample=allow_sample)
