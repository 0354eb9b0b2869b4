"""The search of sweep.yaml on this machine, with no server and no account: python -m helpers.sweep sweep.yaml

Optuna chooses the configurations (TPE for bayes, after forty at random) and ends the hopeless ones early (Hyperband).
Its storage is an SQLite file, so a killed sweep goes on where it stopped; with the URL of a database server several
machines share one.
"""

import argparse
import contextlib
import io
import itertools
import json
import math
import multiprocessing
import os
import sys
import time
import warnings
from pathlib import Path

from helpers import checks, space
from helpers.config import Config


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
        trials = min(trials, math.prod(len(values) for values in _grid(spec).values()))
    if workers > 1 and (storage is None or data is not None):
        raise ValueError(f"workers={workers} need a storage that they share, and load their own data")
    if storage is None:
        storage = optuna.storages.InMemoryStorage()
    study = _open(spec, storage, seed)
    if results:
        _refuse_another(results, spec)
    bar = _Progress(study, spec, trials, results, progress)
    left = trials - len(_finished(study))
    if workers == 1:
        _work(spec, study, itertools.repeat(None, left), seed, data, allow_sample, after=bar.show)
    elif left > 0:
        _share(spec, storage, left, workers, seed, allow_sample, after=bar.show)
    bar.show()
    bar.bar.close()
    return table(study, spec)


def table(study, spec):
    """Return the finished trials of a study: trial, state, the metric, epochs, seconds, reason, and every setting."""
    import pandas as pd

    names = [*spec.parameters, *(["seed"] if "seed" not in spec.parameters else [])]
    rows = []
    for trial in _finished(study):
        settings = {name: trial.user_attrs.get("settings", {}).get(name) for name in names}
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower().replace("fail", "failed"),
                spec.metric: _best(trial.intermediate_values.values(), spec),
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


# ---- one trial ----


def _work(spec, study, tickets, seed, data, allow_sample, after=lambda: None):
    """Run a trial for each ticket."""
    import optuna

    from helpers.data import load_data
    from helpers.training import TrainingDiverged, model_train

    loaded = {}

    def objective(trial):
        settings = {name: _suggest(trial, name, parameter) for name, parameter in spec.parameters.items()}
        tried = [other.user_attrs.get("tried") for other in study.get_trials(deepcopy=False)[: trial.number]]
        trial.set_user_attr("tried", dict(settings))
        # the same once more would be the same result: it gets another seed, and shows how much chance there is in it
        settings = {"seed": seed + tried.count(settings)} | settings
        trial.set_user_attr("settings", dict(settings))
        dataset = settings.pop("dataset", "fashion_mnist")
        if data is None and dataset not in loaded:
            with contextlib.redirect_stdout(io.StringIO()):
                loaded[dataset] = load_data(dataset, allow_sample=allow_sample)

        def report(row):
            trial.report(row[spec.metric], row["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            _, history = model_train(loaded.get(dataset, data), **settings, log=report, progress=False)
        except TrainingDiverged as error:
            trial.set_user_attr("reason", str(error).split(":")[0])
            raise
        except ValueError as error:  # settings that do not go together
            trial.set_user_attr("reason", str(error))
            raise
        if history.attrs["interrupted"]:
            raise KeyboardInterrupt
        return _best(history[spec.metric], spec)

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


def _best(values, spec):
    values = [value for value in values if value is not None and math.isfinite(value)]
    return (max if spec.goal == "maximize" else min)(values) if values else None


# ---- the study: where trials are kept, and who may add to it ----


def _open(spec, storage, seed, worker=0):
    """Return the study in this storage; ValueError if the storage holds another search."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = _database(storage) if isinstance(storage, str) else storage
        study = optuna.create_study(storage=storage, study_name="sweep", direction=spec.goal, load_if_exists=True)
        if "fingerprint" not in study.user_attrs:
            study.set_user_attr("fingerprint", spec.fingerprint)
        known = study.user_attrs["fingerprint"]
    except Exception as error:  # whatever Optuna, SQLAlchemy, a driver or the file system raises
        raise ValueError(f"storage={storage!r} cannot be used: {str(error).splitlines()[0]}") from None
    if known != spec.fingerprint:
        raise ValueError(f"the storage holds another sweep ({known}, not {spec.fingerprint}); name another one")
    start = seed + 1000 * worker + len(study.get_trials(deepcopy=False))  # a resumed sweep draws anew
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if spec.method == "bayes":
            study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=40, multivariate=True, constant_liar=True, seed=start
            )
        elif spec.method == "random":
            study.sampler = optuna.samplers.RandomSampler(seed=start)
        else:
            study.sampler = optuna.samplers.GridSampler(_grid(spec), seed=seed)
    study.pruner = optuna.pruners.NopPruner()
    if spec.early_terminate:
        study.pruner = optuna.pruners.HyperbandPruner(
            spec.early_terminate["min_iter"], _longest(spec), spec.early_terminate["eta"]
        )
    return study


def _grid(spec):
    """Return {setting: its values, as JSON} for the settings that have several."""
    several = {name: given["values"] for name, given in spec.parameters.items() if "values" in given}
    return {name: [json.dumps(value) for value in values] for name, values in several.items()}


def _longest(spec):
    """Return the largest number of epochs that a trial may have."""
    given = spec.parameters.get("epochs", {"value": Config.epochs})
    return max(given.get("values", [given.get("value", given.get("max"))]))


def _database(url):
    """Return the storage behind a URL. A trial whose process was killed is marked as failed half a minute later."""
    import optuna

    connect = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RDBStorage(url, engine_kwargs=connect, heartbeat_interval=10, grace_period=30)


def _finished(study):
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _refuse_another(results, spec):
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


# ---- several workers, and what is shown ----


def _share(spec, storage, left, workers, seed, allow_sample, after):
    """Let `workers` processes run `left` trials between them; call `after` twice a second."""
    context = multiprocessing.get_context("spawn")
    tickets = context.Value("i", left)
    shared = (tickets, spec, storage, seed, allow_sample)
    processes = [context.Process(target=_worker, args=(number + 1, *shared)) for number in range(workers)]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            time.sleep(0.5)
            after()
    except KeyboardInterrupt:
        for process in processes:
            process.terminate()
        raise
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"a worker ended with exit code {[process.exitcode for process in processes]}")


def _worker(number, tickets, spec, storage, seed, allow_sample):
    """What each process does: take a ticket, run a trial, until there is no ticket left."""

    def take():
        while True:
            with tickets.get_lock():
                if tickets.value == 0:
                    return
                tickets.value -= 1
            yield

    with contextlib.suppress(KeyboardInterrupt):
        _work(spec, _open(spec, storage, seed, number), take(), seed, None, allow_sample)


class _Progress:
    """A bar with the best trial so far; and the CSV file, replaced whole after each trial."""

    def __init__(self, study, spec, trials, results, progress):
        from helpers.training import progress_bar

        self.study, self.spec, self.results, self.shown = study, spec, results, None
        self.bar = progress_bar(progress, "trial")
        self.bar.reset(total=trials)

    def show(self):
        finished = _finished(self.study)
        if len(finished) == self.shown:
            return
        self.shown = len(finished)
        if self.results:
            aside = Path(f"{self.results}.{os.getpid()}.tmp")
            table(self.study, self.spec).to_csv(aside, index=False)
            os.replace(aside, self.results)
        whole = [trial for trial in finished if trial.state.name == "COMPLETE"]
        if whole:
            best = (max if self.spec.goal == "maximize" else min)(whole, key=lambda trial: trial.value)
            words = f"best {self.spec.metric} {best.value:.4f} in trial {best.number}"
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
    best = frame.sort_values(spec.metric, ascending=spec.goal == "minimize").head(10).drop(columns=["reason", "sweep"])
    print(best.to_string(index=False, float_format="{:.4f}".format))
    print(f"All {len(frame)} trials are in {results}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
