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


def setting(default, check, flag, help, **limits):
    """Return a field of Config: `check` with its limits, the course's short flag (or None) and a help text."""
    return field(default=default, metadata={"check": partial(check, **limits), "flag": flag, "help": help})


@dataclass(frozen=True)
class Config:
    """The hyperparameters of one training run.

    A hyperparameter of the optimizer that is None takes the update rule's own default; where the rule has no such
    hyperparameter it stays None. Raises ValueError for an unknown name or a value that is not allowed.
    """

    epochs: int = setting(10, check_int, "-e", "passes over the training set")
    batch_size: int = setting(64, check_int, "-b", "images per update")
    loss: str = setting("cross_entropy", check_choice, "-l", "training loss", allowed=LOSSES)
    optimizer: str = setting("nadam", check_choice, "-o", "update rule", allowed=OPTIMIZERS)
    learning_rate: float = setting(None, check_float_or_none, "-lr", "learning rate", gt=0)
    momentum: float = setting(None, check_float_or_none, "-m", "decay of the velocity", ge=0, lt=1)
    beta: float = setting(None, check_float_or_none, "-beta", "decay of the squared gradients", ge=0, lt=1)
    beta1: float = setting(None, check_float_or_none, "-beta1", "decay of the first moment", ge=0, lt=1)
    beta2: float = setting(None, check_float_or_none, "-beta2", "decay of the second moment", ge=0, lt=1)
    epsilon: float = setting(None, check_float_or_none, "-eps", "added to denominators", gt=0)
    weight_decay: float = setting(
        0.0, check_float, "-w_d", "L2 penalty: half of this times the sum of squared weights", ge=0
    )
    weight_init: str = setting("Xavier", check_choice, "-w_i", "initialisation of the weights", allowed=WEIGHT_INITS)
    num_layers: int = setting(3, check_int, "-nhl", "hidden layers")
    hidden_size: int | tuple = setting(
        128, check_sizes, "-sz", "units in each hidden layer: one number, or one per layer"
    )
    activation: str = setting("ReLU", check_choice, "-a", "activation of the hidden layers", allowed=ACTIVATIONS)
    receptive_field: float = setting(
        0.0, check_zero_or_min, None, "sigma in pixels of Gaussian masks on the initial first-layer weights; 0: none",
        ge=MIN_RECEPTIVE_FIELD,
    )  # fmt: skip
    schedule: str = setting("constant", check_choice, None, "learning-rate schedule", allowed=SCHEDULES)
    warmup: float = setting(0.0, check_float, None, "epochs of linear learning-rate warm-up", ge=0)
    decoupled_weight_decay: float = setting(
        0.0, check_float, None, "decoupled weight decay: each update shrinks weights by learning rate x this",
        ge=0,
    )  # fmt: skip
    dropout: float = setting(0.0, check_float, None, "probability of dropping a hidden unit", ge=0, lt=1)
    flip_probability: float = setting(
        0.0, check_float, None, "probability of a horizontal flip; above 0, predictions average both orientations",
        ge=0, lt=1,
    )  # fmt: skip
    mixup: float = setting(0.0, check_float, None, "alpha of mixup's Beta(alpha, alpha); 0: no mixup", ge=0)
    patience: int | None = setting(
        None,
        check_int_or_none,
        None,
        "early stopping: epochs without a better validation accuracy before training ends",
    )
    seed: int = setting(0, check_int, None, "seed of weights, batch order, dropout and augmentation", ge=0)

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
        """Return the Config with these values; an unknown name is an error that lists the known ones."""
        for name in values:
            if name not in HYPERPARAMETERS:
                raise ValueError(f"{name} is an unknown hyperparameter; the names are: {', '.join(HYPERPARAMETERS)}")
        return cls(**values)

    @property
    def flip_tta(self):
        """Whether predictions average an image and its horizontal flip."""
        return self.flip_probability > 0

    @property
    def prediction(self):
        """The arguments of `predict` that belong to a network trained with this configuration."""
        return {"activation": self.activation, "flip_tta": self.flip_tta}


HYPERPARAMETERS = {entry.name: entry for entry in fields(Config)}


def rule_defaults(name):
    """Return ``{optimizer: default}`` for every update rule that has the hyperparameter `name`."""
    defaults = {rule: hyperparameters(function) for rule, function in OPTIMIZERS.items()}
    return {rule: values[name] for rule, values in defaults.items() if name in values}
