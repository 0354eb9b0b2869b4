"""The hyperparameters of a training: name, default, allowed values, command-line flag and help text."""

from dataclasses import dataclass
from types import SimpleNamespace

from helpers.experiment import more_optimizers  # noqa: F401 (registers its rules)
from helpers.experiment.checks import (
    check_bool,
    check_choice,
    check_float,
    check_int,
    check_sizes,
    check_zero_or_min,
    describe_limits,
)
from helpers.experiment.regularization import MIN_RECEPTIVE_FIELD
from helpers.experiment.values import Problems, read_choice, read_number, read_sizes, unknown
from helpers.nn.functions import ACTIVATIONS, LOSSES
from helpers.nn.initialization import WEIGHT_INITS
from helpers.nn.network import layer_sizes
from helpers.nn.optimizers import OPTIMIZERS, SCHEDULES
from helpers.nn.optimizers import hyperparameters as rule_hyperparameters


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter: its type, default, short flags of the course, help text, and what values it may have."""

    type: type
    default: object
    flags: str
    help: str
    checker: object  # called with name, value and the limits
    limits: dict
    optional: bool = False  # whether it may be None

    def check(self, name, value):
        """Return the checked value, which may be given as a text; ValueError if it is not allowed."""
        if self.checker is check_sizes:
            value = read_sizes(value)
        elif self.type is str:
            value = read_choice(name, value, self.limits["allowed"])
        else:
            value = read_number(value, self.type)
        return None if value is None and self.optional else self.checker(name, value, **self.limits)

    def describe(self, name):
        """Return the help text: description, allowed values, default."""
        allowed = f": {', '.join(self.limits['allowed'])}" if "allowed" in self.limits else ""
        words = [describe_limits(**self.limits)] if describe_limits(**self.limits) else []
        defaults = {
            rule: rule_hyperparameters(function)[name]
            for rule, function in OPTIMIZERS.items()
            if name in rule_hyperparameters(function)
        }
        each = [
            f"{value} for {', '.join(rule for rule, own in defaults.items() if own == value)}"
            for value in dict.fromkeys(defaults.values())
        ]
        words.append(f"default: {'; '.join(each) or ('none' if self.default is None else self.default)}")
        return f"{self.help}{allowed} ({'; '.join(words)})"


def _choice(default, flags, help, allowed):
    return Hyperparameter(str, default, flags, help, check_choice, {"allowed": allowed})


def _integer(default, flags, help, **limits):
    return Hyperparameter(int, default, flags, help, check_int, limits, optional=default is None)


def _number(default, flags, help, **limits):
    return Hyperparameter(float, default, flags, help, check_float, limits, optional=default is None)


OWN = {  # those that do not belong to an update rule
    "epochs": _integer(10, "-e", "passes over the training set"),
    "batch_size": _integer(64, "-b", "images per update"),
    "loss": _choice("cross_entropy", "-l", "training loss", LOSSES),
    "optimizer": _choice("nadam", "-o", "update rule", OPTIMIZERS),
    "weight_decay": _number(
        0.0, "-w_d -wd", "L2 regularisation: adds half of this times the sum of squared weights", ge=0
    ),
    "weight_init": _choice("Xavier", "-w_i", "initialisation of the weights", WEIGHT_INITS),
    "num_layers": _integer(3, "-nhl", "hidden layers"),
    "hidden_size": Hyperparameter(
        int, 128, "-sz", "units in each hidden layer: one number for all, or one per layer", check_sizes, {}
    ),
    "activation": _choice("ReLU", "-a", "activation of the hidden layers", ACTIVATIONS),
    "receptive_field": Hyperparameter(
        float, 0.0, "", "sigma in pixels of Gaussian masks on the initial first-layer weights; 0: none",
        check_zero_or_min, {"ge": MIN_RECEPTIVE_FIELD},
    ),
    "schedule": _choice("constant", "", "learning-rate schedule", SCHEDULES),
    "warmup": _number(0.0, "", "epochs of linear learning-rate warm-up", ge=0),
    "decoupled_weight_decay": _number(
        0.0, "", "decoupled weight decay: each update multiplies weights by 1 - learning rate x this", ge=0
    ),
    "dropout": _number(0.0, "", "probability of dropping a hidden unit", ge=0, lt=1),
    "flip_probability": _number(
        0.0, "", "probability of a horizontal flip; above 0, predictions average over both orientations", ge=0, lt=1
    ),
    "max_shift": _integer(
        0, "", "random shift of each image, at most this many pixels; above 0, predictions average over shifts by one "
        "pixel", ge=0,
    ),
    "affine": _number(
        0.0, "", "random rotation, scaling and shear: how much each entry of the matrix may change; 0: none",
        ge=0, lt=0.5,
    ),
    "mixup": _number(0.0, "", "alpha of mixup's Beta(alpha, alpha); 0: no mixup", ge=0),
    "patience": _integer(
        None, "", "early stopping: stop after this many epochs without a better validation accuracy"
    ),
    "seed": _integer(0, "", "seed of the initial weights, batch order, dropout and augmentation", ge=0),
}  # fmt: skip

RULES = {  # what is known of the usual hyperparameters of update rules; None stands for the default of the rule
    "learning_rate": _number(None, "-lr", "learning rate", gt=0),
    "momentum": _number(None, "-m", "decay rate of the velocity", ge=0, lt=1),
    "beta": _number(None, "-beta", "decay rate of the mean squared gradient", ge=0, lt=1),
    "beta1": _number(None, "-beta1", "decay rate of the first moment", ge=0, lt=1),
    "beta2": _number(None, "-beta2", "decay rate of the second moment", ge=0, lt=1),
    "epsilon": _number(None, "-eps", "added to the denominator for stability", ge=1e-30),
}


def hyperparameters():
    """Return ``{name: Hyperparameter}``, those of all registered update rules included."""
    found = OWN | RULES
    for rule, function in OPTIMIZERS.items():
        for name, default in rule_hyperparameters(function).items():
            boolean = isinstance(default, bool)
            checker, kind = (check_bool, bool) if boolean else (check_float, float)
            found.setdefault(name, Hyperparameter(kind, None, "", f"of {rule}", checker, {}, optional=True))
    return found


class Config(SimpleNamespace):
    """The hyperparameters of one training, as attributes; ``vars(config)`` is a dict of them.

    Every hyperparameter of every update rule is accepted. One that is not given, or None, takes the default of the
    chosen rule; if that rule has no such hyperparameter, it stays None. Without `num_layers`, a list of hidden sizes
    has one for each layer. A value may be a text that means it, as in a flag or a sweep file: "1e-4", "64,32", "mse".

    Raises
    ------
    ValueError
        If a name is unknown or a value is not allowed; the message lists all of them.
    """

    def __init__(self, /, **values):
        known, problems, checked = hyperparameters(), Problems(), {}
        problems += [unknown("hyperparameter", name, known) for name in values if name not in known]
        for name, entry in known.items():
            with problems.noted():
                checked[name] = entry.check(name, values.get(name, entry.default))
        sizes = checked.get("hidden_size")
        if isinstance(sizes, tuple) and "num_layers" not in values:
            checked["num_layers"] = len(sizes)
        elif isinstance(sizes, tuple) and len(sizes) == 1 != checked.get("num_layers"):
            checked["hidden_size"] = sizes[0]  # of each layer
        if not problems:
            with problems.noted():
                layer_sizes(checked["num_layers"], checked["hidden_size"], inputs=1, classes=2)
        problems.report()
        for name, default in rule_hyperparameters(OPTIMIZERS[checked["optimizer"]]).items():
            if checked[name] is None:
                checked[name] = default
        super().__init__(**checked)

    @property
    def rule(self):
        """The update rule, a function."""
        return OPTIMIZERS[self.optimizer]

    @property
    def rule_options(self):
        """The hyperparameters of the update rule: ``{name: value}``."""
        return {name: getattr(self, name) for name in rule_hyperparameters(self.rule)}

    @property
    def prediction(self):
        """The arguments of `predict` that belong to a network trained with this configuration."""
        flips, shifts = self.flip_probability > 0, self.max_shift > 0
        return {"activation": self.activation, "flip_tta": flips, "shift_tta": shifts}
