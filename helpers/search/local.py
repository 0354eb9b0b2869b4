"""Run the trials of a sweep on this machine."""

import contextlib
import functools
import io
import itertools
import json
import time
from dataclasses import dataclass

from helpers.nn.config import Config
from helpers.nn.training import Trainer, TrainingDiverged, progress_bar
from helpers.nn.validation import check_int
from helpers.search.study import (
    best_value,
    check_results_file,
    counted_trials,
    fail_killed_trials,
    finished_trials,
    import_optuna,
    open_study,
    requeue,
    storage_errors,
    target_reached,
    trials_frame,
)
from helpers.search.sweep_file import Sweep, read_sweep
from helpers.search.workers import run_in_processes
from helpers.storage import atomic_write

FAILURES = (TrainingDiverged, ValueError, MemoryError)  # ValueError: values that do not fit together


class Superfluous(Exception):
    """The trial is not needed: all requested trials, or this point of the grid, have been started by others."""


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
        for a grid, at most the number of its points.
    workers : int, default=1
        Number of parallel processes, each with an equal share of the cores. More than one requires `storage`.
    seed : int, default=0
        Seed of the sampler, and of the first training of each configuration. A configuration that is drawn again is
        trained with the next seed.
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
    """
    sweep = read_sweep(source)
    trials = check_int("trials", trials if trials is not None else sweep.run_cap or 20)
    trials = min(trials, sweep.grid_size) if sweep.method == "grid" else trials
    workers, seed = check_int("workers", workers), check_int("seed", seed, ge=0)
    if workers > 1 and (storage is None or data is not None):
        raise ValueError(f"workers={workers} requires a shared storage= and no data=, which each worker loads itself")
    if data is not None and data.x_val is None:
        raise ValueError("data has no validation part, which the metric needs: load it with a validation_split above 0")
    storage = storage or import_optuna().storages.InMemoryStorage()
    job = Job(sweep, storage, trials, seed, allow_sample)
    study = job.open()
    if results:
        check_results_file(results, sweep)
    interrupted = False
    with storage_errors(storage), progress_bar(progress, "trial") as bar:
        bar.reset(total=trials)
        show = functools.partial(show_progress, bar, study, sweep, results, {})
        show()
        try:
            if workers == 1:
                job.run(study, data, after_trial=show)
            else:
                job.run_in_workers(trials - len(finished_trials(study)), workers, poll=show)
        except KeyboardInterrupt:
            interrupted = True
        show()
        frame = trials_frame(study, sweep)
    frame.attrs["interrupted"] = interrupted
    return frame


def show_progress(bar, study, sweep, results, shown):
    """Bring the progress bar and the CSV file up to date, if a trial has finished since the last call."""
    trials = finished_trials(study)
    if results and len(trials) != shown.get("trials"):
        with atomic_write(results) as file:
            trials_frame(study, sweep).to_csv(file, index=False)
    values = [trial.value for trial in trials if trial.state.name == "COMPLETE"]
    if values:
        bar.set_description(f"best {sweep.metric} {best_value(values, sweep):.4f}", refresh=False)
    bar.update(len(trials) - shown.get("trials", 0))
    shown["trials"] = len(trials)


@dataclass(frozen=True)
class Job:
    """The arguments of a search, passed to each worker."""

    sweep: Sweep
    storage: object
    trials: int
    seed: int
    allow_sample: bool

    def open(self):
        """Return the study."""
        return open_study(self.sweep, self.storage, self.trials, self.seed)

    def work(self):
        """Run trials in a worker process."""
        study = self.open()
        study.sampler.reseed_rng()  # workers that start together must draw different values
        with storage_errors(self.storage):
            self.run(study)

    def run_in_workers(self, left, workers, poll):
        """Run the `left` trials in parallel processes; call `poll` now and then."""
        count = min(workers, left)
        killed = run_in_processes(Job.work, [(self,)] * count, workers, on_result=lambda _: None, poll=poll)
        if len(killed) == count > 0:
            raise ChildProcessError("every worker was killed; run the same search again to continue it")

    def run(self, study, data=None, after_trial=lambda: None):
        """Run trials until enough are finished; wait while other workers run the last ones."""
        datasets, seen = {}, set()
        while len(finished_trials(study)) < self.trials and not target_reached(study, self.sweep):
            fail_killed_trials(study, seen)
            if len(counted_trials(study)) < self.trials:
                datasets = datasets or {
                    name: data or load_silently(name, self.allow_sample) for name in self.sweep.datasets
                }
                self.run_trial(study, datasets)
                after_trial()
            else:
                time.sleep(0.5)

    def run_trial(self, study, datasets):
        """Choose a configuration, train, and record the result in the study."""
        optuna, current = import_optuna(), None

        def objective(trial):
            nonlocal current
            current = trial.number
            try:
                return self.train(study, trial, datasets)
            except KeyboardInterrupt:
                requeue(study, study.get_trials(deepcopy=False)[trial.number])
                raise
            except FAILURES as error:
                trial.set_user_attr("reason", getattr(error, "reason", str(error)))
                raise

        try:
            study.optimize(objective, n_trials=1, catch=(*FAILURES, Superfluous))
        except (AssertionError, ValueError, optuna.exceptions.UpdateFinishedTrialError):
            # Optuna accepts no result of a trial that was suspended for so long that it counts as killed; after its
            # last epoch, this is an AssertionError
            if current is None or not study.get_trials(deepcopy=False)[current].state.is_finished():
                raise

    def train(self, study, trial, datasets):
        """Train one configuration and return the metric's best value."""
        optuna = import_optuna()
        earlier = [other for other in counted_trials(study) if other.number < trial.number]
        point = study.get_trials(deepcopy=False)[trial.number].system_attrs.get("grid_id")
        taken = {other.system_attrs.get("grid_id") for other in earlier} - {None}
        if len(earlier) >= self.trials or point in taken:
            raise Superfluous
        values = {name: suggest(trial, name, parameter) for name, parameter in self.sweep.parameters.items()}
        same = [other.user_attrs for other in earlier if other.user_attrs.get("drawn") == values]
        seeds = {attrs.get("hyperparameters", {}).get("seed") for attrs in same}
        trial.set_user_attr("drawn", values)
        values = {"seed": next(seed for seed in itertools.count(self.seed) if seed not in seeds)} | values
        trial.set_user_attr("hyperparameters", values)

        def report(row):
            trial.report(row[self.sweep.metric], row["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned

        data = datasets[values.get("dataset", "fashion_mnist")]
        config = Config.from_dict({name: value for name, value in values.items() if name != "dataset"})
        trainer = Trainer(data, config)
        trainer.fit(log=report, progress=False)
        return best_value([row[self.sweep.metric] for row in trainer.finished.history], self.sweep)


def suggest(trial, name, parameter):
    """Return the trial's value of a hyperparameter."""
    distribution, low, high = parameter["distribution"], parameter.get("min"), parameter.get("max")
    if distribution == "constant":
        return parameter["value"]
    if distribution == "categorical":  # as JSON, because Optuna accepts no lists
        return json.loads(trial.suggest_categorical(name, list(dict.fromkeys(map(json.dumps, parameter["values"])))))
    if distribution == "int_uniform":
        return trial.suggest_int(name, low, high)
    return trial.suggest_float(name, low, high, step=parameter.get("q"), log=distribution == "log_uniform_values")


def load_silently(name, allow_sample):
    """Return the data set, without the line that `load_data` prints."""
    from helpers.data import load_data  # slow to import

    with contextlib.redirect_stdout(io.StringIO()):
        return load_data(name, allow_sample=allow_sample)
