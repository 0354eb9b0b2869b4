"""Run the trials of a sweep on this machine, in this process or in several."""

import contextlib
import functools
import io
import itertools
import json
import math
import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import wait

from helpers.experiment import stopping
from helpers.experiment.checks import check_int
from helpers.experiment.config import Config
from helpers.experiment.run import TrainingDiverged, available_threads, blas_threads, progress_bar, train
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
    progress=True,
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
        Number of parallel processes, each with an equal share of the cores. More than one requires `storage`.
    seed : int, default=0
        Seed of the sampler of a new search, and of the first training of each configuration. A configuration that is
        drawn again is trained with the next seed. A search that is continued draws other values each time.
    storage : str, optional
        A database URL, which several processes and machines may share. By default the trials are kept in memory.
    results : str or path-like, optional
        A CSV file with the table of the finished trials, kept up to date.
    data : Dataset, optional
        The data; only with a single worker. By default each worker calls `load_data`.
    allow_sample : bool, default=False
        Passed to `load_data`.
    progress : bool, default=True
        Show a progress bar.

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
        If the data are missing, the storage fails, or every worker was killed.
    """
    sweep = read_sweep(source)
    trials = check_int("trials", trials if trials is not None else sweep.run_cap or 20)
    trials = min(trials, sweep.grid_size) if sweep.method == "grid" else trials
    workers, seed = check_int("workers", workers), check_int("seed", seed, ge=0)
    if storage is not None and not isinstance(storage, str):
        raise ValueError(f"storage={storage!r} must be the URL of a database, such as 'sqlite:///search.db'")
    if workers > 1 and (storage is None or data is not None):
        raise ValueError(f"workers={workers} requires a shared storage= and no data=, which each worker loads itself")
    if data is not None and data.x_val is None:
        raise ValueError("data has no validation part, which the metric needs: load it with a validation_split above 0")
    job = Job(sweep, storage, trials, seed, allow_sample)
    with storage_errors(storage), stopping.watching() as stop, progress_bar(progress, "trial") as bar:
        study = job.open()
        if results:
            check_results_file(results, sweep)
        bar.reset(total=trials)
        show = functools.partial(show_progress, bar, study, sweep, results, {})
        show()
        if workers == 1:
            job.run(study, stop, data, after_trial=show)
        elif not job.ended(study, stop):
            run_in_workers(job, study, workers, stop, poll=show)
        show()
        frame = trials_frame(study, sweep)
    frame.attrs["interrupted"] = stop.requested
    return frame


def show_progress(bar, study, sweep, results, shown):
    """Bring the progress bar and the CSV file up to date, if a trial has finished since the last call."""
    trials = finished_trials(study)
    if results and len(trials) != shown.get("trials"):
        with atomic_write(results) as file:
            trials_frame(study, sweep).to_csv(file, index=False)
    best = best_value([trial.value for trial in trials if trial.state.name == "COMPLETE"], sweep)
    if best is not None:
        bar.set_description(f"best {sweep.metric} {best:.4f}", refresh=False)
    bar.update(len(trials) - shown.get("trials", 0))
    shown["trials"] = len(trials)


@dataclass(frozen=True)
class Job:
    """The arguments of a search, passed to each worker."""

    sweep: Sweep
    storage: str | None
    trials: int
    seed: int
    allow_sample: bool

    def open(self):
        """Return the study."""
        return open_study(self.sweep, self.storage, self.trials, self.seed)

    def ended(self, study, stop):
        """Return whether there is nothing left to do. Trials that were killed are trained again, and do not count."""
        enough = len(finished_trials(study)) >= self.trials
        return enough or stop.requested or orphaned() or target_reached(study, self.sweep)

    def run(self, study, stop, data=None, after_trial=lambda: None):
        """Run trials until the search has ended."""
        retry = import_optuna().storages.RetryHeartbeatStaleTrialCallback()

        def callback(study, trial):
            if was_killed(trial):
                retry(study, trial)
            after_trial()
            if self.ended(study, stop):
                study.stop()

        if self.ended(study, stop):
            return
        names = self.sweep.choices("dataset", "fashion_mnist")
        datasets = {name: data or load_silently(name, self.allow_sample) for name in names}
        objective = functools.partial(self.objective, study, datasets)
        while not self.ended(study, stop):  # Optuna's GridSampler stops before the retries of the last points
            study.optimize(objective, catch=(*FAILURES, Stopped), callbacks=[callback])

    def objective(self, study, datasets, trial):
        """Train one configuration and return the metric's best value."""
        optuna = import_optuna()
        values = {name: suggest(trial, name, parameter) for name, parameter in self.sweep.parameters.items()}
        values = {"seed": self.next_seed(study, trial)} | values
        trial.set_user_attr("hyperparameters", values)

        def report(row, params):
            trial.report(row[self.sweep.metric], row["epoch"])
            if orphaned():
                raise Stopped
            if row["epoch"] < config.epochs and trial.should_prune():
                raise optuna.TrialPruned

        data = datasets[values.get("dataset", "fashion_mnist")]
        try:
            config = Config(**{name: value for name, value in values.items() if name != "dataset"})
            result = train(data, config, on_epoch=report, progress=False)
        except FAILURES as error:
            trial.set_user_attr("reason", getattr(error, "reason", str(error)))
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


def run_in_workers(job, study, workers, stop, poll):
    """Run the job in several processes, which share the storage; call `poll` every half second.

    A worker that is killed or fails costs only its own trial. An OSError or ValueError of a worker is raised if the
    others could not end the search without it.
    """
    context = multiprocessing.get_context("spawn")
    errors, threads = context.SimpleQueue(), max(1, available_threads() // workers)
    processes = [context.Process(target=work, args=(job, threads, errors), daemon=True) for _ in range(workers)]
    told = False
    try:
        for process in processes:
            process.start()
        while running := [process for process in processes if process.is_alive()]:
            wait([process.sentinel for process in running], timeout=0.5)
            poll()
            if stop.requested and not told:
                told = True
                for process in running:
                    process.terminate()
    finally:  # after a second signal some may be alive
        for process in processes:
            if process.pid:
                process.kill()
                process.join()
    if not job.ended(study, stop):
        failed = ChildProcessError("every worker was killed; run the same search again to continue it")
        raise failed if errors.empty() else errors.get()


def work(job, threads, errors):
    """Run trials in a worker process."""
    with stopping.watching() as stop, blas_threads(threads):
        stopping.leave_to_parent()
        try:
            with storage_errors(job.storage):
                study = job.open()
                study.sampler.reseed_rng()  # workers that start together must draw different values
                job.run(study, stop)
        except (OSError, ValueError) as error:
            errors.put(error)


def orphaned():
    """Return whether this is a worker whose search was killed."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


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
        q = parameter["q"]
        return trial.suggest_float(name, math.ceil(low / q) * q, math.floor(high / q) * q, step=q)
    return trial.suggest_float(name, low, high, log=distribution == "log_uniform_values")


def load_silently(name, allow_sample):
    """Return the data set, without the line that `load_data` prints."""
    from helpers.data import load_data  # slow to import

    with contextlib.redirect_stdout(io.StringIO()):
        return load_data(name, allow_sample=allow_sample)
