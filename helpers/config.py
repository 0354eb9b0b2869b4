"""The vocabulary: every setting of a training run, with its default, what it may be, its flag and its meaning."""

from dataclasses import dataclass, field, fields
from functools import partial

from helpers.checks import choice, number, whole, whole_or_each, whole_or_none, zero_or
from helpers.functions import ACTIVATIONS, LOSSES
from helpers.network import SMALLEST_WINDOW, WEIGHT_INITS, layer_sizes
from helpers.optimizers import OPTIMIZERS, SCHEDULES


def setting(default, check, flag, meaning, **limits):
    """Return a field of Config: `check` is of checks.py, with its limits; `flag` the short one, of the course."""
    return field(default=default, metadata={"check": partial(check, **limits), "flag": flag, "meaning": meaning})


@dataclass(frozen=True)
class Config:
    """One training run's settings. ValueError if one of them is not what its line allows, or is unknown."""

    epochs: int = setting(10, whole, "-e", "how often every training image is shown")
    batch_size: int = setting(64, whole, "-b", "images a step")
    loss: str = setting("cross_entropy", choice, "-l", "what is made small", allowed=LOSSES)
    optimizer: str = setting("nadam", choice, "-o", "the rule of a step", allowed=OPTIMIZERS)
    learning_rate: float = setting(0.001, number, "-lr", "of a step (adadelta wants 1, sgd 0.1)", above=0)
    momentum: float = setting(0.9, number, "-m", "of momentum and nag", least=0, below=1)
    beta: float = setting(0.9, number, "-beta", "of rmsprop and adadelta", least=0, below=1)
    beta1: float = setting(0.9, number, "-beta1", "of adam and nadam", least=0, below=1)
    beta2: float = setting(0.999, number, "-beta2", "of adam and nadam", least=0, below=1)
    epsilon: float = setting(
        1e-8, number, "-eps", "of rmsprop, adagrad, adadelta (which wants 1e-6), adam and nadam", above=0
    )
    weight_decay: float = setting(0.0, number, "-w_d", "L2 penalty on the weights, half its sum of squares", least=0)
    weight_init: str = setting("Xavier", choice, "-w_i", "spread of the first weights", allowed=WEIGHT_INITS)
    num_layers: int = setting(3, whole, "-nhl", "hidden layers")
    hidden_size: int | tuple = setting(
        128, whole_or_each, "-sz", "units in each hidden layer: one number, or one a layer"
    )
    activation: str = setting("ReLU", choice, "-a", "of the hidden layers", allowed=ACTIVATIONS)
    receptive_field: float = setting(
        0.0, zero_or, None, "sigma of a first-layer unit's window at first, in pixels; 0: none", least=SMALLEST_WINDOW
    )
    schedule: str = setting("constant", choice, None, "the learning rate's course", allowed=SCHEDULES)
    warmup: float = setting(0.0, number, None, "epochs in which the learning rate rises from 0", least=0)
    decoupled_weight_decay: float = setting(
        0.0, number, None, "decay of the weights beside the optimizer's step", least=0
    )
    dropout: float = setting(0.0, number, None, "share of hidden units left out at a step", least=0, below=1)
    flip: float = setting(
        0.0, number, None, "share of images mirrored; above 0, predictions are over both images", least=0, below=1
    )
    mixup: float = setting(
        0.0, number, None, "the alpha of mixup's Beta(alpha, alpha); 0: images are not mixed", least=0
    )
    patience: int | None = setting(
        None, whole_or_none, None, "stop after so many epochs without a better validation accuracy; by default never"
    )
    seed: int = setting(0, whole, None, "of weights, order, dropout and augmentation", least=0)

    def __post_init__(self):
        layer_sizes(self.num_layers, self.hidden_size)  # raises where they do not fit
        for name, own in SETTINGS.items():
            value = own.metadata["check"](name, getattr(self, name))
            object.__setattr__(self, name, value)  # the way a frozen dataclass sets its own fields

    @classmethod
    def of(cls, **settings):
        """Return a Config; an unknown name is a ValueError that lists the known ones."""
        for name in settings:
            if name not in SETTINGS:
                raise ValueError(f"{name} is an unknown setting; the settings are: {', '.join(SETTINGS)}")
        return cls(**settings)


SETTINGS = {own.name: own for own in fields(Config)}
