"""sweep.yaml: what is searched, read and checked before any training."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from helpers import checks
from helpers.config import SETTINGS, Config
from helpers.files import FOLDERS

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
METHODS = ("bayes", "random", "grid")
GOALS = ("maximize", "minimize")
DISTRIBUTIONS = {  # and what each needs
    "constant": ("value",), "categorical": ("values",), "int_uniform": ("min", "max"), "uniform": ("min", "max"),
    "q_uniform": ("min", "max", "q"), "log_uniform_values": ("min", "max"),
}  # fmt: skip
UNDERSTOOD = {  # keys of the file, and of what lies below them
    "": ("method", "metric", "parameters", "early_terminate", "run_cap"),
    "metric": ("name", "goal"),
    "early_terminate": ("type", "min_iter", "eta"),
}
FOR_WANDB = ("program", "command", "project", "entity", "name", "description")


@dataclass(frozen=True)
class Space:
    """A sweep: how to search, for what, and among what."""

    method: str  # bayes, random or grid
    metric: str  # a column of the history
    goal: str  # maximize or minimize
    parameters: dict  # {setting: {"distribution": …, and its "value", or "values", or "min", "max" and perhaps "q"}}
    early_terminate: dict | None  # {"min_iter": epochs before the first cut, "eta": 1/eta of the trials go on}
    run_cap: int | None  # how many trials, where nobody says
    left_out: tuple  # keys of the file that mean nothing without W&B's server

    @property
    def fingerprint(self):
        """Eight letters that tell this search from any other."""
        search = [self.method, self.metric, self.goal, self.parameters, self.early_terminate]
        return hashlib.sha256(json.dumps(search, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def datasets(self):
        """The names of the data sets that a trial may ask for."""
        given = self.parameters.get("dataset", {"value": "fashion_mnist"})
        return tuple(given.get("values", [given.get("value")]))


def read(source):
    """Read a sweep from a file's path, or from a dict of the same form; ValueError names what is wrong."""
    if isinstance(source, dict):
        return _space(source)
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"source={source!r} must be the path of a file, or a dict of what such a file holds")
    try:
        return _space(yaml.safe_load(Path(source).read_text("utf-8")))
    except OSError as error:
        raise ValueError(f"{source} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{source} is not YAML: {line}{getattr(error, 'problem', error)}") from None
    except ValueError as error:  # of _space, or no UTF-8
        raise ValueError(f"{source}: {error}") from None


def _space(content):
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}, not keys and values such as method: bayes")
    for key in content:
        if key not in UNDERSTOOD[""] + FOR_WANDB:
            raise ValueError(f"{key} is an unknown key; the keys are: {', '.join(UNDERSTOOD[''] + FOR_WANDB)}")
    metric, parameters = content.get("metric"), content.get("parameters")
    early, run_cap = content.get("early_terminate"), content.get("run_cap")
    if not isinstance(metric, dict) or "name" not in metric:
        raise ValueError("metric is missing; give it a name, such as val_accuracy, and a goal")
    if not isinstance(parameters, dict) or not parameters:
        raise ValueError("parameters is missing; it says what is searched, such as optimizer: {values: [adam, nadam]}")
    if early is not None and (not isinstance(early, dict) or early.get("type") != "hyperband"):
        raise ValueError(f"early_terminate={early!r} must have type: hyperband")
    space = Space(
        method=checks.choice("method", content.get("method"), METHODS),
        metric=checks.choice("metric.name", metric["name"], METRICS),
        goal=checks.choice("metric.goal", metric.get("goal", "minimize"), GOALS),
        parameters={name: _parameter(name, given) for name, given in parameters.items()},
        early_terminate=early and {
            "min_iter": checks.whole("early_terminate.min_iter", early.get("min_iter", 1)),
            "eta": checks.whole("early_terminate.eta", early.get("eta", 3), least=2),
        },
        run_cap=checks.whole_or_none("run_cap", run_cap),
        left_out=tuple(
            f"{part}.{key}".lstrip(".")
            for part, understood in UNDERSTOOD.items()
            for key in (content.get(part) or () if part else content)
            if key not in understood
        ),
    )  # fmt: skip
    for name, parameter in space.parameters.items():
        if space.method == "grid" and parameter["distribution"] not in ("constant", "categorical"):
            raise ValueError(f"parameters.{name} has no end of values; method grid needs value or values")
    return space


def _parameter(name, given):
    """Return the parameter with its distribution spelt out, every value in it checked."""
    where = f"parameters.{name}"
    if name not in (*SETTINGS, "dataset"):
        raise ValueError(f"{where} is unknown; the settings are: dataset, {', '.join(SETTINGS)}")
    if not isinstance(given, dict):
        raise ValueError(f"{where}={given!r} must be keys such as value, values, or min and max")
    range_ = "int_uniform" if all(isinstance(given.get(key), int) for key in ("min", "max")) else "uniform"
    implied = "constant" if "value" in given else "categorical" if "values" in given else range_
    distribution = checks.choice(f"{where}.distribution", given.get("distribution", implied), DISTRIBUTIONS)
    needed = DISTRIBUTIONS[distribution]
    if set(given) - {"distribution"} != set(needed):
        has = ", ".join(map(str, given)) or "nothing"
        raise ValueError(f"{where} has {has}; for the distribution {distribution} it must have {' and '.join(needed)}")
    values = given["values"] if distribution == "categorical" else [given[key] for key in needed if key != "q"]
    if not isinstance(values, list) or not values:
        raise ValueError(f"{where}.values={values!r} must be a list with something in it")
    for value in values:
        _check_value(name, value)
    if "min" in needed:
        _check_range(where, name, distribution, **{key: given[key] for key in needed})
    return {"distribution": distribution, **{key: given[key] for key in needed}}


def _check_value(name, value):
    """Raise ValueError if the setting may not have this value."""
    if name == "dataset":
        checks.choice(name, value, FOLDERS)
    else:
        layers = len(value) if isinstance(value, list) else 1  # whether they fit shows when they are put together
        Config(**({"num_layers": layers} if name == "hidden_size" else {}) | {name: value})


def _check_range(where, name, distribution, min, max, q=1):
    """Raise ValueError if the setting has no such range."""
    kind = str if name == "dataset" else SETTINGS[name].type
    ranges = {float: ("uniform", "q_uniform", "log_uniform_values"), str: ()}.get(kind, ("int_uniform",))
    if distribution not in ranges:
        raise ValueError(f"{where} cannot be {distribution}; use {' or '.join(ranges) or 'values'}")
    for key, value in {"min": min, "max": max, "q": q}.items():
        checks.number(f"{where}.{key}", value)
    if min >= max:
        raise ValueError(f"{where}: min={min} must be below max={max}")
    if q <= 0 or (min <= 0 and distribution == "log_uniform_values"):
        raise ValueError(f"{where}: {'q' if q <= 0 else 'min'} must be above 0 for {distribution}")
