"""The vocabulary: every setting of a training run, its meaning, its default and what it may be."""

from dataclasses import dataclass, fields

from helpers import checks
from helpers.functions import ACTIVATIONS, LOSSES
from helpers.network import SMALLEST_WINDOW, WEIGHT_INITS, layer_sizes
from helpers.optimizers import OPTIMIZERS, SCHEDULES


@dataclass(frozen=True)
class Config:
    """One training run's settings. ValueError if one of them is not what its comment says, or is unknown."""

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.001  # above 0; adadelta wants 1, with an epsilon of 1e-6
    schedule: str = "constant"  # a key of SCHEDULES, the learning rate's course: constant, cosine
    warmup: float = 0.0  # epochs in which the learning rate rises from 0, at least 0
    weight_decay: float = 0.0  # the λ of the L2 penalty (λ/2) Σ W², at least 0
    decoupled_weight_decay: float = 0.0  # the λ of W ← W − ηλW beside the optimizer's step, at least 0
    num_layers: int = 3  # hidden layers
    hidden_size: int | tuple = 128  # units in each hidden layer, or a list: one int a layer
    activation: str = "ReLU"  # a key of ACTIVATIONS: identity, sigmoid, tanh, ReLU
    weight_init: str = "Xavier"  # a key of WEIGHT_INITS: random, Xavier, He
    receptive_field: float = (
        0.0  # σ in pixels of what a first-layer unit sees at first, at least 0.5; 0: the whole image
    )
    loss: str = "cross_entropy"  # a key of LOSSES: cross_entropy, mean_squared_error
    optimizer: str = "nadam"  # a key of OPTIMIZERS: sgd, momentum, nag, rmsprop, adagrad, adadelta, adam, nadam
    momentum: float = 0.9  # of momentum and nag; this and the next three are at least 0 and below 1
    beta: float = 0.9  # of rmsprop and adadelta
    beta1: float = 0.9  # of adam and nadam
    beta2: float = 0.999  # of adam and nadam
    epsilon: float = 1e-8  # of rmsprop, adagrad, adadelta, adam and nadam; above 0
    dropout: float = 0.0  # share of each hidden layer's units left out at a step, at least 0 and below 1
    flip: float = 0.0  # share of images mirrored at a step, at least 0 and below 1; above 0, Ŷ is that of both images
    mixup: float = 0.0  # the α of mixup's Beta(α, α), at least 0; 0: images are not mixed
    patience: int | None = None  # stop after so many epochs without a better validation accuracy; None: never
    seed: int = 0  # of the first weights, the order of the samples, dropout and augmentation

    def __post_init__(self):
        _, *hidden, _ = layer_sizes(self.num_layers, self.hidden_size)  # raises where they do not fit
        checked = {
            "epochs": checks.whole("epochs", self.epochs),
            "batch_size": checks.whole("batch_size", self.batch_size),
            "learning_rate": checks.number("learning_rate", self.learning_rate, above=0),
            "schedule": checks.choice("schedule", self.schedule, SCHEDULES),
            "num_layers": checks.whole("num_layers", self.num_layers),
            "hidden_size": tuple(hidden) if isinstance(self.hidden_size, (list, tuple)) else hidden[0],
            "activation": checks.choice("activation", self.activation, ACTIVATIONS),
            "weight_init": checks.choice("weight_init", self.weight_init, WEIGHT_INITS),
            "loss": checks.choice("loss", self.loss, LOSSES),
            "optimizer": checks.choice("optimizer", self.optimizer, OPTIMIZERS),
            "epsilon": checks.number("epsilon", self.epsilon, above=0),
            "patience": None if self.patience is None else checks.whole("patience", self.patience),
            "receptive_field": checks.zero_or("receptive_field", self.receptive_field, least=SMALLEST_WINDOW),
            "seed": checks.whole("seed", self.seed, least=0),
        }
        for name in ("momentum", "beta", "beta1", "beta2", "dropout", "flip"):
            checked[name] = checks.number(name, getattr(self, name), least=0, below=1)
        for name in ("warmup", "weight_decay", "decoupled_weight_decay", "mixup"):
            checked[name] = checks.number(name, getattr(self, name), least=0)
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # the way a frozen dataclass sets its own fields

    @classmethod
    def of(cls, **settings):
        """Return a Config; an unknown name is a ValueError that lists the known ones."""
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise ValueError(f"{name} is an unknown setting; the settings are: {', '.join(known)}")
        return cls(**settings)
