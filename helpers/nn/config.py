"""The hyperparameters of a training run: name, default, allowed values, command-line flag and help text."""

from dataclasses import dataclass, field, fields
from functools import partial

from helpers.nn.functions import ACTIVATIONS, LOSSES
from helpers.nn.initialization import MIN_RECEPTIVE_FIELD, WEIGHT_INITS
from helpers.nn.network import layer_sizes
from helpers.nn.optimizers import OPTIMIZERS, SCHEDULES, hyperparameters
from helpers.nn.validation import (
    check_choice,
    check_float,
    check_float_or_none,
    check_int,
    check_int_or_none,
    check_sizes,
    check_zero_or_min,
)


def hyperparameter(default, check, flags, help, **limits):
    """Return a field of Config: `check` with its limits, the course's short flags (or None) and a help text."""
    return field(default=default, metadata={"check": partial(check, **limits), "flags": flags, "help": help})


@dataclass(frozen=True)
class Config:
    """The hyperparameters of one training run.

    A hyperparameter of the optimizer that is None takes the default of the update rule; if the rule has no such
    hyperparameter, it stays None. Raises ValueError for a value that is not allowed.
    """

    epochs: int = hyperparameter(10, check_int, "-e", "passes over the training set")
    batch_size: int = hyperparameter(64, check_int, "-b", "images per update")
    loss: str = hyperparameter("cross_entropy", check_choice, "-l", "training loss", allowed=LOSSES)
    optimizer: str = hyperparameter("nadam", check_choice, "-o", "update rule", allowed=OPTIMIZERS)
    learning_rate: float = hyperparameter(None, check_float_or_none, "-lr", "learning rate", gt=0)
    momentum: float = hyperparameter(None, check_float_or_none, "-m", "decay rate of the velocity", ge=0, lt=1)
    beta: float = hyperparameter(
        None, check_float_or_none, "-beta", "decay rate of the mean squared gradient", ge=0, lt=1
    )
    beta1: float = hyperparameter(None, check_float_or_none, "-beta1", "decay rate of the first moment", ge=0, lt=1)
    beta2: float = hyperparameter(None, check_float_or_none, "-beta2", "decay rate of the second moment", ge=0, lt=1)
    epsilon: float = hyperparameter(
        None, check_float_or_none, "-eps", "added to the denominator for stability", ge=1e-30
    )
    weight_decay: float = hyperparameter(
        0.0, check_float, "-w_d -wd", "L2 regularisation: adds half of this times the sum of squared weights", ge=0
    )
    weight_init: str = hyperparameter(
        "Xavier", check_choice, "-w_i", "initialisation of the weights", allowed=WEIGHT_INITS
    )
    num_layers: int = hyperparameter(3, check_int, "-nhl", "hidden layers")
    hidden_size: int | tuple = hyperparameter(
        128, check_sizes, "-sz", "units in each hidden layer: one number for all, or one per layer"
    )
    activation: str = hyperparameter("ReLU", check_choice, "-a", "activation of the hidden layers", allowed=ACTIVATIONS)
    receptive_field: float = hyperparameter(
        0.0, check_zero_or_min, None, "sigma in pixels of Gaussian masks on the initial first-layer weights; 0: none",
        ge=MIN_RECEPTIVE_FIELD,
    )  # fmt: skip
    schedule: str = hyperparameter("constant", check_choice, None, "learning-rate schedule", allowed=SCHEDULES)
    warmup: float = hyperparameter(0.0, check_float, None, "epochs of linear learning-rate warm-up", ge=0)
    decoupled_weight_decay: float = hyperparameter(
        0.0, check_float, None, "decoupled weight decay: each update multiplies weights by 1 - learning rate x this",
        ge=0,
    )  # fmt: skip
    dropout: float = hyperparameter(0.0, check_float, None, "probability of dropping a hidden unit", ge=0, lt=1)
    flip_probability: float = hyperparameter(
        0.0, check_float, None, "probability of a horizontal flip; above 0, predictions average over both orientations",
        ge=0, lt=1,
    )  # fmt: skip
    max_shift: int = hyperparameter(
        0, check_int, None,
        "random shift of each image, at most this many pixels; above 0, predictions average over shifts by one pixel",
        ge=0,
    )  # fmt: skip
    mixup: float = hyperparameter(0.0, check_float, None, "alpha of mixup's Beta(alpha, alpha); 0: no mixup", ge=0)
    patience: int | None = hyperparameter(
        None,
        check_int_or_none,
        None,
        "early stopping: stop after this many epochs without a better validation accuracy",
    )
    seed: int = hyperparameter(
        0, check_int, None, "seed of the initial weights, batch order, dropout and augmentation", ge=0
    )

    def __post_init__(self):
        layer_sizes(self.num_layers, self.hidden_size)
        for name, entry in HYPERPARAMETERS.items():
            value = entry.metadata["check"](name, getattr(self, name))
            object.__setattr__(self, name, value)  # how a frozen dataclass sets its own fields
        for name, default in hyperparameters(OPTIMIZERS[self.optimizer]).items():
            if name in HYPERPARAMETERS and getattr(self, name) is None:
                object.__setattr__(self, name, default)

    @classmethod
    def from_dict(cls, values):
        """Return the Config with these values; raise ValueError for an unknown name, listing the known ones."""
        for name in values:
            if name not in HYPERPARAMETERS:
                raise ValueError(f"{name} is an unknown hyperparameter; the names are: {', '.join(HYPERPARAMETERS)}")
        return cls(**values)

    @property
    def flip_tta(self):
        """Whether predictions average an image and its horizontal flip."""
        return self.flip_probability > 0

    @property
    def shift_tta(self):
        """Whether predictions average an image and its shifts by one pixel."""
        return self.max_shift > 0

    @property
    def prediction(self):
        """The arguments of `predict` that belong to a network trained with this configuration."""
        return {"activation": self.activation, "flip_tta": self.flip_tta, "shift_tta": self.shift_tta}


HYPERPARAMETERS = {entry.name: entry for entry in fields(Config)}


def rule_defaults(name):
    """Return ``{optimizer: default}`` for every update rule that has the hyperparameter `name`."""
    defaults = {rule: hyperparameters(function) for rule, function in OPTIMIZERS.items()}
    return {rule: values[name] for rule, values in defaults.items() if name in values}
