"""The search of sweep.yaml on this machine, with no server and no account: python -m helpers.sweep sweep.yaml

Optuna chooses the configurations (for bayes TPE, after a quarter of the trials, at most forty, at random) and ends the
hopeless ones early (Hyperband). Its storage is an SQLite file, so a killed sweep goes on where it stopped; with the URL
of a database server several machines share one.
"""

import argparse
import contextlib
import io
import itertools
import json
import math
import multiprocessing
import sys
import time
from pathlib import Path

from helpers import checks, console, space
from helpers.atomic import replacing
from helpers.study import again, best, finished, grid, open_study, refuse_another, table


def search(
    source, *, trials=None, workers=1, seed=0, storage=None, results=None, data=None, allow_sample=False,
    progress=True,
):  # fmt: skip
    """Run a sweep until it has `trials` finished trials in all, and return them as a data frame, a row a trial.

    source: the path of a sweep.yaml, or a dict of the same form. trials: by default the file's run_cap, or 20; trials
    that the storage already holds count. workers: processes that train at once, one BLAS thread each. storage: a
    database URL; by default the memory of this process. results: a CSV file that is kept up to date. data: a Dataset,
    for a single worker; by default each worker calls load_data, with this allow_sample.
    Raises ValueError for a source, a storage or a results file that does not fit.
    """
    import optuna

    spec = space.read(source)
    trials = checks.whole("trials", trials if trials is not None else spec.run_cap or 20)
    workers = checks.whole("workers", workers)
    if spec.method == "grid":
        trials = min(trials, math.prod(len(values) for values in grid(spec).values()))
    if workers > 1 and (storage is None or data is not None):
        raise ValueError(f"workers={workers} need a storage that they share, and load their own data")
    if storage is None:
        storage = optuna.storages.InMemoryStorage()
    startup = min(40, trials // 4)
    study = open_study(spec, storage, seed, startup)
    if results:
        refuse_another(results, spec)
    bar = _Progress(study, spec, trials, results, progress)
    left = trials - len(finished(study))
    if workers == 1:
        _work(spec, study, itertools.repeat(None, left), seed, data, allow_sample, after=bar.show)
    while workers > 1 and left > 0:  # again for what a killed worker left over
        before = left
        _share(spec, storage, left, workers, seed, startup, allow_sample, after=bar.show)
        left = trials - len(finished(study))
        if left == before:
            raise ChildProcessError("every worker was killed before it had finished a trial")
    bar.show()
    bar.bar.close()
    return table(study, spec)


# ---- one trial ----


def _work(spec, study, tickets, seed, data, allow_sample, after=lambda: None):
    """Run a trial for each ticket."""
    import optuna

    from helpers.data import load_data
    from helpers.learner import TrainingDiverged
    from helpers.training import model_train

    datasets = spec.parameters.get("dataset", {"values": ["fashion_mnist"]})
    with contextlib.redirect_stdout(io.StringIO()):
        names = datasets.get("values", [datasets.get("value")])
        loaded = {name: data or load_data(name, allow_sample=allow_sample) for name in names}

    def objective(trial):
        try:
            return attempt(trial)
        except KeyboardInterrupt:  # when the search goes on, this comes first
            again(study, study.get_trials(deepcopy=False)[trial.number])
            raise

    def attempt(trial):
        settings = {name: _suggest(trial, name, parameter) for name, parameter in spec.parameters.items()}
        others = study.get_trials(deepcopy=False)[: trial.number]
        lost = [other.state.name == "FAIL" and "reason" not in other.user_attrs for other in others]  # killed, stopped
        tried = [other.user_attrs.get("tried") for other, gone in zip(others, lost) if not gone]
        trial.set_user_attr("tried", dict(settings))
        # the same once more would be the same result: it gets another seed, and shows how much chance there is in it
        settings = {"seed": seed + tried.count(settings)} | settings
        trial.set_user_attr("settings", dict(settings))
        dataset = loaded[settings.pop("dataset", "fashion_mnist")]

        def report(row):
            trial.report(row[spec.metric], row["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            _, history = model_train(dataset, **settings, log=report, progress=False)
        except TrainingDiverged as error:
            trial.set_user_attr("reason", str(error).split(":")[0])
            raise
        except ValueError as error:  # settings that do not go together
            trial.set_user_attr("reason", str(error))
            raise
        if history.attrs["interrupted"]:
            raise KeyboardInterrupt
        return best(history[spec.metric], spec)

    for _ in tickets:
        study.optimize(objective, n_trials=1, catch=(TrainingDiverged, ValueError))
        after()


def _suggest(trial, name, parameter):
    distribution, low, high = parameter["distribution"], parameter.get("min"), parameter.get("max")
    if distribution == "constant":
        return parameter["value"]
    if distribution == "categorical":  # Optuna takes no lists: hand it JSON
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in parameter["values"]]))
    if distribution == "int_uniform":
        return trial.suggest_int(name, low, high)
    return trial.suggest_float(name, low, high, step=parameter.get("q"), log=distribution == "log_uniform_values")


# ---- several workers, and what is shown ----


def _share(spec, storage, left, workers, seed, startup, allow_sample, after):
    """Let `workers` processes run `left` trials between them; call `after` twice a second.

    Fewer are run if a worker is killed. ChildProcessError if one ends with an error.
    """
    context = multiprocessing.get_context("spawn")
    tickets = context.Value("i", left)
    shared = (tickets, spec, storage, seed, startup, allow_sample)
    processes = [context.Process(target=_worker, args=(number + 1, *shared)) for number in range(workers)]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            time.sleep(0.5)
            after()
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    if any(process.exitcode > 0 for process in processes):
        raise ChildProcessError(f"the workers ended with exit codes {[process.exitcode for process in processes]}")


def _worker(number, tickets, spec, storage, seed, startup, allow_sample):
    """What each process does: take a ticket, run a trial, until there is no ticket left."""

    def take():
        while True:
            held = tickets.get_lock().acquire(timeout=5)  # in vain if a worker was killed while it held the lock
            count = tickets.get_obj()  # tickets.value would wait for the lock
            count.value -= 1
            over = count.value < 0
            if held:
                tickets.get_lock().release()
            if over:
                return
            yield

    try:
        _work(spec, open_study(spec, storage, seed, startup, number), take(), seed, None, allow_sample)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


class _Progress:
    """A bar with the best trial so far; and the CSV file, replaced whole after each trial."""

    def __init__(self, study, spec, trials, results, progress):
        from helpers.training import progress_bar

        self.study, self.spec, self.results, self.shown = study, spec, results, None
        self.bar = progress_bar(progress, "trial")
        self.bar.reset(total=trials)

    def show(self):
        trials = finished(self.study)
        if len(trials) == self.shown:
            return
        self.shown = len(trials)
        if self.results:
            with replacing(self.results) as file:
                table(self.study, self.spec).to_csv(file, index=False)
        whole = [trial for trial in trials if trial.state.name == "COMPLETE"]
        if whole:
            top = (max if self.spec.goal == "maximize" else min)(whole, key=lambda trial: trial.value)
            words = f"best {self.spec.metric} {top.value:.4f} in trial {top.number}"
            self.bar.set_description(words, refresh=False)
        self.bar.update(self.shown - self.bar.n)


def main(arguments=None):
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.sweep", description=__doc__, allow_abbrev=False)
    parser.add_argument("file", help="the search: sweep.yaml")
    parser.add_argument("--trials", type=int, help="finished trials in all; by default the file's run_cap, or 20")
    parser.add_argument("--workers", type=int, default=1, help="processes that train at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--storage", help="a database URL (default: an SQLite file in sweeps/, named like the file)")
    parser.add_argument("--results", help="a CSV file, a row a trial (default: beside the SQLite file)")
    parser.add_argument("--allow_sample", action="store_true", help="use the small sample where there is no full data")
    given = parser.parse_args(arguments)
    folder, stem = Path("sweeps"), Path(given.file).stem
    try:
        spec = space.read(given.file)
        if spec.left_out:
            print(f"Not used here, only by W&B: {', '.join(spec.left_out)}", file=sys.stderr)
        if not (given.storage and given.results):
            folder.mkdir(exist_ok=True)
        storage = given.storage or f"sqlite:///{folder / stem}.db"
        results = given.results or str(folder / f"{stem}.csv")
        frame = search(
            given.file, trials=given.trials, workers=given.workers, seed=given.seed, storage=storage, results=results,
            allow_sample=given.allow_sample,
        )  # fmt: skip
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from here.", file=sys.stderr)
        return 130
    ranked = (
        frame.sort_values(spec.metric, ascending=spec.goal == "minimize").head(10).drop(columns=["reason", "sweep"])
    )
    print(ranked.to_string(index=False, float_format="{:.4f}".format))
    print(f"All {len(frame)} trials are in {results}")
    return 0


if __name__ == "__main__":
    console.run(main)
