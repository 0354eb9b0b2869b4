"""Read a sweep.yaml and check every value before any training."""

import hashlib
import json
import math
import os
from dataclasses import dataclass

import yaml

from helpers.data.sources import FOLDERS
from helpers.experiment import checks
from helpers.experiment.config import hyperparameters
from helpers.experiment.values import Problems, read_choice, read_number, unknown

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
METHODS = ("bayes", "random", "grid")
GOALS = ("maximize", "minimize")
DISTRIBUTIONS = {  # the keys that each requires
    "constant": ("value",), "categorical": ("values",), "int_uniform": ("min", "max"), "uniform": ("min", "max"),
    "q_uniform": ("min", "max", "q"), "log_uniform_values": ("min", "max"),
}  # fmt: skip
KEYS = ("method", "metric", "parameters", "early_terminate", "run_cap")
MAX_GRID = 1_000_000
WANDB_KEYS = (
    "program", "command", "project", "entity", "name", "description", "apiVersion", "kind", "controller", "job",
    "image_uri", "scheduler",
)  # fmt: skip
SUBKEYS = {
    "metric": ("name", "goal", "target", "impute", "impute_while_running"),
    "early_terminate": ("type", "min_iter", "max_iter", "s", "eta", "strict"),
}  # fmt: skip
IMPUTE = ("latest", "best", "worst")  # what W&B's search takes as the metric of a run that failed


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep.yaml, checked."""

    method: str  # bayes, random or grid
    metric: str  # a column of the history
    goal: str  # maximize or minimize
    target: float | None  # the search ends when a trial reaches this value of the metric
    parameters: dict  # {hyperparameter: {"distribution": …, and "value", "values", or "min", "max" and perhaps "q"}}
    early_terminate: dict | None  # {"min_iter": epochs before the first comparison, "eta": 1/eta of the trials go on}
    run_cap: int | None  # number of trials
    ignored: tuple  # keys that only W&B's server uses

    @property
    def fingerprint(self):
        """Eight hexadecimal digits that identify the sweep, whatever its run_cap and target."""
        content = [self.method, self.metric, self.goal, self.parameters, self.early_terminate]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    def choices(self, name, default):
        """Return the values of a hyperparameter, or the largest one of a range; the default if it is not searched."""
        parameter = self.parameters.get(name, {"value": default})
        return parameter.get("values", [parameter.get("value", parameter.get("max"))])

    @property
    def grid(self):
        """The axes of a grid, ``{hyperparameter: [value, …]}``, each value as JSON, without duplicates."""
        axes = {name: parameter["values"] for name, parameter in self.parameters.items() if "values" in parameter}
        return {name: list(dict.fromkeys(map(json.dumps, values))) for name, values in axes.items()}

    @property
    def grid_size(self):
        """The number of points of the grid."""
        return math.prod(map(len, self.grid.values()))


def read_sweep(source):
    """Return the Sweep in a file, or in a dict of the same form.

    Raises
    ------
    ValueError
        If the file cannot be read, is not YAML, or has a key or value that is not supported.
    """
    if isinstance(source, dict):
        return parse_sweep(source)
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"source={source!r} must be the path of a sweep file, or a dict with the same content")
    try:
        with open(source, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except OSError as error:
        raise ValueError(f"{source} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{source} is not valid YAML: {line}{getattr(error, 'problem', error)}") from None
    except (ValueError, RecursionError) as error:  # text that is not UTF-8; lists that are nested too deep
        raise ValueError(f"{source}: {error}") from None
    return parse_sweep(content, source)


def parse_sweep(content, where=""):
    """Return the Sweep of a dict; a ValueError names all its problems, and `where` they are."""
    problems, parameters = Problems(), {}
    if not isinstance(content, dict):
        problems.append(f"the content is {type(content).__name__}; it must have keys, such as method: bayes")
        problems.report(where)
    problems += [unknown("key", key, KEYS + WANDB_KEYS) for key in content if key not in KEYS + WANDB_KEYS]
    ignored = [key for key in content if key in WANDB_KEYS]
    for key, known in SUBKEYS.items():
        given = content.get(key) if isinstance(content.get(key), dict) else ()
        problems += [f"{key}.{unknown('key', name, known)}" for name in given if name not in known]
        ignored += [f"{key}.{name}" for name in given if name.startswith("impute")]
    method = metric = early = run_cap = None
    with problems.noted():
        method = checks.check_choice("method", content.get("method"), METHODS)
    with problems.noted():
        metric = parse_metric(content.get("metric"), method)
    with problems.noted():
        early, loose = parse_early_terminate(content.get("early_terminate"))
        ignored += loose
    with problems.noted():
        run_cap = checks.check_int_or_none("run_cap", content.get("run_cap"))
    if not isinstance(content.get("parameters"), dict) or not content["parameters"]:
        problems.append("parameters is missing; list hyperparameters, such as optimizer: {values: [adam, nadam]}")
    else:
        for name, parameter in content["parameters"].items():
            with problems.noted():
                parameters[name], loose = parse_parameter(name, parameter, method)
                ignored += loose
    problems.report(where)
    sweep = Sweep(method, *metric, parameters, early, run_cap, tuple(ignored))
    if method == "grid" and sweep.grid_size > MAX_GRID:
        problems.append(
            f"the grid has {sweep.grid_size:,} points; method grid allows {MAX_GRID:,}: use random or bayes"
        )
    problems.report(where)
    return sweep


def parse_metric(metric, method):
    """Return name, goal and target of the metric. Only bayes needs one; W&B, too, then minimises unless told."""
    if metric is None and method in ("random", "grid"):
        return "val_accuracy", "maximize", None
    if not isinstance(metric, dict) or "name" not in metric:
        raise ValueError("metric is missing; give it a name, such as val_accuracy, and a goal")
    if metric["name"] not in METRICS:
        raise ValueError(f"metric.name: {unknown('metric', metric['name'], METRICS)}")
    name, problems = metric["name"], Problems()
    goal = target = None
    with problems.noted():
        goal = checks.check_choice("metric.goal", metric.get("goal", "minimize"), GOALS)
        better = "maximize" if name.endswith("accuracy") else "minimize"
        if goal != better:
            raise ValueError(f"metric.goal is {goal}, which looks for the worst {name}; write goal: {better}")
    with problems.noted():
        target = checks.check_float_or_none("metric.target", read_number(metric.get("target"), float))
    with problems.noted():
        checks.check_choice("metric.impute", metric.get("impute", "worst"), IMPUTE)
    problems.report()
    return name, goal, target


def parse_early_terminate(early):
    """Return the checked numbers of early_terminate, or None; and the keys that only W&B's server uses.

    The local search compares the values of trials at the same epoch, which W&B calls strict. Of the two ways to say
    when the first comparison comes, ``max_iter`` and ``s`` mean ``min_iter = max_iter / eta^s``.
    """
    if early is None:
        return None, []
    if not isinstance(early, dict) or early.get("type") != "hyperband":
        raise ValueError(f"early_terminate={early!r} must have type: hyperband")
    where, problems, numbers = "early_terminate", Problems(), {}
    with problems.noted():
        strict = checks.check_bool(f"{where}.strict", early.get("strict", True))
    for name, default, least in (("eta", 3, 2), ("min_iter", 1, 1), ("max_iter", None, 1), ("s", None, 1)):
        with problems.noted():
            value = read_number(early.get(name), int)
            numbers[name] = default if value is None else checks.check_int(f"{where}.{name}", value, ge=least)
    problems.report()
    loose = [] if strict else [f"{where}.strict"]
    if early.get("min_iter") is None and numbers["max_iter"]:
        numbers["min_iter"] = max(1, int(numbers["max_iter"] / numbers["eta"] ** (numbers["s"] or 1)))
    else:
        loose += [f"{where}.{name}" for name in ("max_iter", "s") if numbers[name]]
    return {name: numbers[name] for name in ("min_iter", "eta")}, loose


def parse_parameter(name, parameter, method):
    """Return the parameter with its distribution spelled out and every value checked, and the keys that are ignored."""
    where, known = f"parameters.{name}", hyperparameters()
    if name not in (*known, "dataset"):
        raise ValueError(f"parameters.{unknown('hyperparameter', name, [*known, 'dataset'])}")
    if not isinstance(parameter, dict):
        raise ValueError(f"{where}={parameter!r} must have keys such as value, values, or min and max")
    given = {key: value for key, value in parameter.items() if key not in ("distribution", "probabilities")}
    integers = all(isinstance(given.get(key), int) for key in ("min", "max"))
    implied = "constant" if "value" in given else "categorical" if "values" in given else None
    implied = implied or ("int_uniform" if integers else "uniform")
    distribution = checks.check_choice(f"{where}.distribution", parameter.get("distribution", implied), DISTRIBUTIONS)
    needed = DISTRIBUTIONS[distribution]
    if distribution == "q_uniform":
        given.setdefault("q", 1)
    if set(given) != set(needed):
        present = ", ".join(map(str, given)) or "nothing"
        raise ValueError(f"{where} has {present}; the distribution {distribution} needs {' and '.join(needed)}")
    if "values" in given and not (isinstance(given["values"], list) and given["values"]):
        raise ValueError(f"{where}.values={given['values']!r} must be a list with at least one value")

    def check(value):  # whether hidden_size fits num_layers is known only when a trial combines the two
        if name == "dataset":
            return checks.check_choice(name, read_choice(name, value, FOLDERS), FOLDERS)
        return known[name].check(name, value)

    problems, checked = Problems(), {}
    for key in needed:
        with problems.noted():
            if key == "q":
                checked[key] = checks.check_float(f"{where}.q", read_number(given[key], float), gt=0)
            elif key == "values":
                values = Problems()
                checked[key] = []
                for value in given[key]:
                    with values.noted():
                        checked[key].append(check(value))
                values.report()
            else:
                checked[key] = check(given[key])
    problems.report()
    if "min" in needed:
        kind = str if name == "dataset" else known[name].type
        check_range(where, kind, distribution, **checked)
        if method == "grid" and distribution == "int_uniform" and checked["max"] - checked["min"] < MAX_GRID:
            distribution, checked = "categorical", {"values": list(range(checked["min"], checked["max"] + 1))}
        elif method == "grid":
            raise ValueError(f"{where} has infinitely many values; method grid needs value or values")
    return {"distribution": distribution, **checked}, [f"{where}.probabilities"] if "probabilities" in parameter else []


def check_range(where, kind, distribution, min, max, q=1):
    """Raise ValueError if a hyperparameter of this type may not have this range."""
    allowed = {float: ("uniform", "q_uniform", "log_uniform_values"), str: ()}.get(kind, ("int_uniform",))
    if distribution not in allowed:
        raise ValueError(f"{where} cannot be {distribution}; use {' or '.join(allowed) or 'values'}")
    for key, value in {"min": min, "max": max}.items():
        checks.check_float(f"{where}.{key}", value)
    if min >= max:
        raise ValueError(f"{where}: min={min} must be below max={max}")
    if min <= 0 and distribution == "log_uniform_values":
        raise ValueError(f"{where}: min must be above 0 for {distribution}")
    if distribution == "q_uniform" and math.ceil(min / q) > math.floor(max / q):
        raise ValueError(f"{where}: there is no multiple of q={q} between min={min} and max={max}")
