"""The search of sweep.yaml on this machine, with no server and no account: python -m helpers.sweep sweep.yaml

Optuna chooses the configurations (for bayes TPE, after a quarter of the trials, at most forty, at random) and ends the
hopeless ones early (Hyperband). Its storage is an SQLite file, so a killed sweep goes on where it stopped; with the URL
of a database server several machines share one.
"""

import argparse
import contextlib
import functools
import io
import itertools
import json
import sys
from pathlib import Path

from helpers import checks, console, grid, space
from helpers.atomic import replacing
from helpers.processes import share
from helpers.study import again, best, database, finished, lost, open_study, refuse_another, table


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

    from helpers.training import progress_bar

    spec = space.read(source)
    trials = checks.whole("trials", trials if trials is not None else spec.run_cap or 20)
    trials = min(trials, grid.size(spec)) if spec.method == "grid" else trials
    workers, seed = checks.whole("workers", workers), checks.whole("seed", seed, least=0)
    if workers > 1 and (storage is None or data is not None):
        raise ValueError(f"workers={workers} need a storage that they share, and load their own data")
    storage, startup = storage or optuna.storages.InMemoryStorage(), min(40, trials // 4)
    study = open_study(spec, storage, seed, startup)
    if results:
        refuse_another(results, spec)
    with progress_bar(progress, "trial") as bar:
        bar.reset(total=trials)
        show = functools.partial(_show, bar, study, spec, results)
        left = trials - show()
        datasets = dict.fromkeys(spec.datasets, data)
        if data is None and workers == 1 and left > 0:
            datasets = _load(spec.datasets, allow_sample)
        while left > 0:
            before = left
            if workers == 1:
                _run(spec, study, seed, datasets)
            else:
                calls = [(spec, storage, trials, seed, startup, allow_sample)] * left
                killed = share(_worker, calls, workers, after=lambda _: show())
                if len(killed) == left:
                    raise ChildProcessError("every worker was killed before it had finished a trial")
            left = trials - show()
            if left == before:
                break  # others have finished a grid's points, or taken over a trial that was stopped for long
    return table(study, spec)


def _show(bar, study, spec, results):
    """Bring the bar, with the best trial so far, and the CSV file up to date; return how many trials are finished."""
    trials = finished(study)
    if results:
        with replacing(results) as file:
            table(study, spec).to_csv(file, index=False)
    values = [trial.value for trial in trials if trial.state.name == "COMPLETE"]
    if values:
        bar.set_description(f"best {spec.metric} {best(values, spec):.4f}", refresh=False)
    bar.update(len(trials) - bar.n)
    return len(trials)


# ---- one trial ----


def _worker(spec, storage, trials, seed, startup, allow_sample):
    """Run one trial in a process that runs others too, unless another machine has finished the last one."""
    study = open_study(spec, _database_once(storage), seed, startup)
    study.sampler.reseed_rng()  # workers that start together draw apart
    if len(finished(study)) < trials:
        _run(spec, study, seed, _load_once(spec.datasets, allow_sample))


def _load(names, allow_sample):
    """Return {name: Dataset}, in silence."""
    from helpers.data import load_data

    with contextlib.redirect_stdout(io.StringIO()):
        return {name: load_data(name, allow_sample=allow_sample) for name in names}


_load_once, _database_once = functools.cache(_load), functools.cache(database)  # for a worker, which runs many trials


def _run(spec, study, seed, datasets):
    """Choose a configuration, train, and note in the study how it went."""
    import optuna

    from helpers.learner import TrainingDiverged
    from helpers.training import model_train

    failures = (TrainingDiverged, ValueError, MemoryError)  # ValueError: settings that do not go together

    def objective(trial):
        try:
            return attempt(trial)
        except KeyboardInterrupt:  # the search, when it goes on, tries this again
            again(study, study.get_trials(deepcopy=False)[trial.number])
            raise
        except failures as error:
            trial.set_user_attr("reason", getattr(error, "reason", str(error)))
            raise

    def attempt(trial):
        point = grid.claim(study, spec, trial, seed) if spec.method == "grid" else {}
        settings = {name: _suggest(trial, name, given, point) for name, given in spec.parameters.items()}
        others = study.get_trials(deepcopy=False)[: trial.number]
        tried = [other.user_attrs for other in others if not lost(other)]
        # the same once more would be the same result: it gets another seed, and shows how much chance there is in it
        seeds = {attrs.get("settings", {}).get("seed") for attrs in tried if attrs.get("tried") == settings}
        trial.set_user_attr("tried", dict(settings))
        settings = {"seed": next(another for another in itertools.count(seed) if another not in seeds)} | settings
        trial.set_user_attr("settings", dict(settings))
        dataset = datasets[settings.pop("dataset", "fashion_mnist")]

        def report(row):
            trial.report(row[spec.metric], row["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned

        _, history = model_train(dataset, **settings, log=report, progress=False)
        if history.attrs["interrupted"]:
            raise KeyboardInterrupt
        return best(history[spec.metric], spec)

    # of a trial that was stopped for so long that it counts as killed, Optuna takes no result
    with contextlib.suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError):
        study.optimize(objective, n_trials=1, catch=(*failures, grid.GridIsOver))


def _suggest(trial, name, parameter, point):
    distribution, low, high = parameter["distribution"], parameter.get("min"), parameter.get("max")
    if distribution == "constant":
        return parameter["value"]
    if name in point:
        return point[name]
    if distribution == "categorical":  # Optuna takes no lists: hand it JSON
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in parameter["values"]]))
    if distribution == "int_uniform":
        return trial.suggest_int(name, low, high)
    return trial.suggest_float(name, low, high, step=parameter.get("q"), log=distribution == "log_uniform_values")


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
