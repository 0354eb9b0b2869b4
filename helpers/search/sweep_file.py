"""Read a sweep.yaml and check every value before any training."""

import hashlib
import json
import math
import os
import re
from dataclasses import dataclass

import yaml

from helpers.data.sources import FOLDERS
from helpers.experiment import checks
from helpers.experiment.config import hyperparameters

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
METHODS = ("bayes", "random", "grid")
GOALS = ("maximize", "minimize")
DISTRIBUTIONS = {  # the keys that each requires
    "constant": ("value",), "categorical": ("values",), "int_uniform": ("min", "max"), "uniform": ("min", "max"),
    "q_uniform": ("min", "max", "q"), "log_uniform_values": ("min", "max"),
}  # fmt: skip
KEYS = ("method", "metric", "parameters", "early_terminate", "run_cap")
MAX_CHARACTERS, MAX_GRID = 100_000, 1_000_000
WANDB_KEYS = ("program", "command", "project", "entity", "name", "description")
SUBKEYS = {"metric": ("name", "goal", "target"), "early_terminate": ("type", "min_iter", "eta", "strict")}
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
        return parse_sweep(read_yaml(source))
    except OSError as error:
        raise ValueError(f"{source} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{source} is not valid YAML: {line}{getattr(error, 'problem', error)}") from None
    except ValueError as error:  # from parse_sweep, or text that is not UTF-8
        raise ValueError(f"{source}: {error}") from None


def read_yaml(path):
    """Return the content of a YAML file of at most 100 kB without aliases, which could expand."""
    with open(path, encoding="utf-8") as file:
        text = file.read(MAX_CHARACTERS + 1)
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"the file has more than {MAX_CHARACTERS:,} characters")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
        raise ValueError("aliases (*name) are not supported; write the values out")
    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise ValueError("lists and mappings are nested too deep") from None


def parse_sweep(content):
    """Return the Sweep of a dict."""
    if not isinstance(content, dict):
        raise ValueError(f"the content is {type(content).__name__}; it must have keys, such as method: bayes")
    for key in content:
        if key not in KEYS + WANDB_KEYS:
            raise ValueError(f"{key} is an unknown key; the keys are: {', '.join(KEYS + WANDB_KEYS)}")
    metric, parameters = content.get("metric"), content.get("parameters")
    if not isinstance(metric, dict) or "name" not in metric:
        raise ValueError("metric is missing; give it a name, such as val_accuracy, and a goal")
    if not isinstance(parameters, dict) or not parameters:
        raise ValueError("parameters is missing; list hyperparameters, such as optimizer: {values: [adam, nadam]}")
    checks.check_choice("metric.impute", metric.get("impute", "worst"), IMPUTE)
    early, loose = parse_early_terminate(content.get("early_terminate"))
    ignored = [key for key in content if key in WANDB_KEYS]
    for name, known in SUBKEYS.items():
        ignored += [f"{name}.{key}" for key in content.get(name) or () if key not in known]
    sweep = Sweep(
        method=checks.check_choice("method", content.get("method"), METHODS),
        metric=checks.check_choice("metric.name", metric["name"], METRICS),
        goal=checks.check_choice("metric.goal", metric.get("goal", "minimize"), GOALS),
        target=checks.check_float_or_none("metric.target", metric.get("target")),
        parameters={name: parse_parameter(name, parameter) for name, parameter in parameters.items()},
        early_terminate=early,
        run_cap=checks.check_int_or_none("run_cap", content.get("run_cap")),
        ignored=(*ignored, *loose),
    )
    for name, parameter in sweep.parameters.items():
        if sweep.method == "grid" and parameter["distribution"] not in ("constant", "categorical"):
            raise ValueError(f"parameters.{name} has infinitely many values; method grid needs value or values")
    if sweep.method == "grid" and sweep.grid_size > MAX_GRID:
        raise ValueError(
            f"the grid has {sweep.grid_size:,} points; method grid allows {MAX_GRID:,}: use random or bayes"
        )
    return sweep


def parse_early_terminate(early):
    """Return the checked numbers of early_terminate, or None; and the key that only W&B's server uses, if it is there.

    The local search compares the values of trials at the same epoch, which W&B calls strict.
    """
    if early is None:
        return None, ()
    if not isinstance(early, dict) or early.get("type") != "hyperband":
        raise ValueError(f"early_terminate={early!r} must have type: hyperband")
    strict = checks.check_bool("early_terminate.strict", early.get("strict", True))
    min_iter = checks.check_int("early_terminate.min_iter", early.get("min_iter", 1))
    eta = checks.check_int("early_terminate.eta", early.get("eta", 3), ge=2)
    return {"min_iter": min_iter, "eta": eta}, () if strict else ("early_terminate.strict",)


def parse_parameter(name, parameter):
    """Return the parameter with its distribution spelled out and every value checked."""
    where, known = f"parameters.{name}", hyperparameters()
    if name not in (*known, "dataset"):
        raise ValueError(f"{where} is unknown; the hyperparameters are: dataset, {', '.join(known)}")
    if not isinstance(parameter, dict):
        raise ValueError(f"{where}={parameter!r} must have keys such as value, values, or min and max")
    integers = all(isinstance(parameter.get(key), int) for key in ("min", "max"))
    implied = "constant" if "value" in parameter else "categorical" if "values" in parameter else None
    implied = implied or ("int_uniform" if integers else "uniform")
    distribution = checks.check_choice(f"{where}.distribution", parameter.get("distribution", implied), DISTRIBUTIONS)
    needed = DISTRIBUTIONS[distribution]
    if set(parameter) - {"distribution"} != set(needed):
        present = ", ".join(map(str, parameter)) or "nothing"
        raise ValueError(f"{where} has {present}; the distribution {distribution} needs {' and '.join(needed)}")
    values = parameter["values"] if distribution == "categorical" else [parameter[key] for key in needed if key != "q"]
    if not isinstance(values, list) or not values:
        raise ValueError(f"{where}.values={values!r} must be a list with at least one value")
    for value in values:
        if isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d{1,4}", value):
            mantissa, exponent = value.lower().split("e")
            raise ValueError(f"{where}: YAML reads {value} as text; write {mantissa}.0e{int(exponent):+}")
        if name == "dataset":
            checks.check_choice(name, value, FOLDERS)
        else:  # whether hidden_size fits num_layers is known only when a trial combines the two
            known[name].check(name, value)
    if "min" in needed:
        kind = str if name == "dataset" else known[name].type
        check_range(where, kind, distribution, **{key: parameter[key] for key in needed})
    return {"distribution": distribution, **{key: parameter[key] for key in needed}}


def check_range(where, kind, distribution, min, max, q=1):
    """Raise ValueError if a hyperparameter of this type may not have this range."""
    allowed = {float: ("uniform", "q_uniform", "log_uniform_values"), str: ()}.get(kind, ("int_uniform",))
    if distribution not in allowed:
        raise ValueError(f"{where} cannot be {distribution}; use {' or '.join(allowed) or 'values'}")
    for key, value in {"min": min, "max": max, "q": q}.items():
        checks.check_float(f"{where}.{key}", value)
    if min >= max:
        raise ValueError(f"{where}: min={min} must be below max={max}")
    if q <= 0 or (min <= 0 and distribution == "log_uniform_values"):
        raise ValueError(f"{where}: {'q' if q <= 0 else 'min'} must be above 0 for {distribution}")
