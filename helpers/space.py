"""sweep.yaml: what is searched, read and checked before any training."""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from helpers import checks
from helpers.config import Config

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
METHODS = ("bayes", "random", "grid")
GOALS = ("maximize", "minimize")
DISTRIBUTIONS = ("constant", "categorical", "int_uniform", "uniform", "q_uniform", "log_uniform_values")
FOR_WANDB = ("program", "command", "project", "entity", "name", "description")
SETTINGS = [field.name for field in fields(Config)]
WHOLE = {"epochs", "batch_size", "num_layers", "hidden_size", "patience", "seed"}
REAL = {name for name in SETTINGS if isinstance(getattr(Config, name), float)}


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


def read(source):
    """Read a sweep from a file's path, or from a dict of the same form; ValueError names what is wrong."""
    if isinstance(source, dict):
        return _space(source)
    try:
        content = yaml.safe_load(Path(source).read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{source} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not text in UTF-8: {error.reason}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{source} is not YAML: {line}{getattr(error, 'problem', error)}") from None
    try:
        return _space(content)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _space(content):
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}, not keys and values such as method: bayes")
    known = ("method", "metric", "parameters", "early_terminate", "run_cap", *FOR_WANDB)
    for key in content:
        if key not in known:
            raise ValueError(f"{key} is an unknown key; the keys are: {', '.join(known)}")
    metric = content.get("metric")
    if not isinstance(metric, dict) or "name" not in metric:
        raise ValueError("metric is missing; give it a name, such as val_accuracy, and a goal")
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise ValueError("parameters is missing; it says what is searched, such as optimizer: {values: [adam, nadam]}")
    run_cap = content.get("run_cap")
    left_out = [key for key in FOR_WANDB if key in content]
    early, unused = _early_terminate(content.get("early_terminate"))
    space = Space(
        method=checks.choice("method", content.get("method"), METHODS),
        metric=checks.choice("metric.name", metric["name"], METRICS),
        goal=checks.choice("metric.goal", metric.get("goal", "minimize"), GOALS),
        parameters={name: _parameter(name, given) for name, given in parameters.items()},
        early_terminate=early,
        run_cap=None if run_cap is None else checks.whole("run_cap", run_cap),
        left_out=(*left_out, *unused),
    )
    for name, parameter in space.parameters.items():
        if space.method == "grid" and parameter["distribution"] not in ("constant", "categorical"):
            raise ValueError(f"parameters.{name} has no end of values; method grid needs value or values")
    return space


def _parameter(name, given):
    """Return the parameter with its distribution spelt out, every value in it checked."""
    if name not in (*SETTINGS, "dataset"):
        raise ValueError(f"parameters.{name} is unknown; the settings are: dataset, {', '.join(SETTINGS)}")
    if not isinstance(given, dict):
        raise ValueError(f"parameters.{name}={given!r} must be keys such as value, values, or min and max")
    for key in given:
        if key not in ("value", "values", "min", "max", "q", "distribution"):
            raise ValueError(f"parameters.{name}.{key} is not understood; use value, values, min, max, q, distribution")
    whole = all(isinstance(given.get(key), int) for key in ("min", "max"))
    range_ = "int_uniform" if whole else "uniform"
    implied = "constant" if "value" in given else "categorical" if "values" in given else range_
    distribution = checks.choice(f"parameters.{name}.distribution", given.get("distribution", implied), DISTRIBUTIONS)
    needed = {"constant": ["value"], "categorical": ["values"], "q_uniform": ["min", "max", "q"]}
    needed = needed.get(distribution, ["min", "max"])
    if set(given) - {"distribution"} != set(needed):
        raise ValueError(f"parameters.{name} must have {' and '.join(needed)} for the distribution {distribution}")
    if distribution == "categorical" and (not isinstance(given["values"], list) or not given["values"]):
        raise ValueError(f"parameters.{name}.values={given['values']!r} must be a list with something in it")
    parameter = {"distribution": distribution, **{key: given[key] for key in needed}}
    for value in parameter.get("values", [parameter[key] for key in ("value", "min", "max") if key in parameter]):
        check_setting(name, value)
    if "min" in parameter:
        _check_range(name, **parameter)
    return parameter


def _check_range(name, distribution, min, max, q=1):
    """Raise ValueError if a setting has no such range."""
    whole = distribution == "int_uniform"
    if name not in (WHOLE if whole else REAL):
        better = "int_uniform, with whole numbers" if name in WHOLE else "uniform" if name in REAL else "values"
        raise ValueError(f"parameters.{name} cannot be {distribution}; use {better}")
    for key, value in {"min": min, "max": max, "q": q}.items():
        (checks.whole if whole else checks.number)(f"parameters.{name}.{key}", value)
    if min >= max:
        raise ValueError(f"parameters.{name}: min={min} must be below max={max}")
    if q <= 0 or (min <= 0 and distribution == "log_uniform_values"):
        raise ValueError(f"parameters.{name}: {'q' if q <= 0 else 'min'} must be above 0 for {distribution}")


def check_setting(name, value):
    """Raise ValueError if a setting may not have this value."""
    if name == "dataset":
        checks.choice(name, value, ("fashion_mnist", "mnist"))
    elif name == "hidden_size" and isinstance(value, list):
        Config(num_layers=len(value), hidden_size=value)
    else:
        Config(**{name: value})


def _early_terminate(given):
    """Return ({"min_iter": …, "eta": …} or None, the keys that have no meaning here)."""
    if given is None:
        return None, []
    if not isinstance(given, dict) or given.get("type") != "hyperband":
        raise ValueError(f"early_terminate={given!r} must have type: hyperband")
    early = {
        "min_iter": checks.whole("early_terminate.min_iter", given.get("min_iter", 1)),
        "eta": checks.whole("early_terminate.eta", given.get("eta", 3), least=2),
    }
    return early, [f"early_terminate.{key}" for key in given if key not in ("type", "min_iter", "eta")]
