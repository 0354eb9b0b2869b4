"""The optimizers and the learning-rate schedules, in order of increasing complexity.

Each optimizer is one function, its update rule, as ``rule(theta, g, t, v, *, learning_rate=0.1)``, over the vector of
all parameters. It updates theta (P,) and its state in place, given the gradient g (P,) and the number t of the update,
counted from 1. The parameters between ``t`` and ``*`` are its state: vectors like theta, initially zero. Those after
``*`` are its hyperparameters with their defaults, η the learning rate; ``loss``, without a default, receives the loss
of the batch.
"""

import inspect
import math

import numpy as np

from helpers.nn.functions import Registry

OPTIMIZERS = Registry("optimizer")
# Names of hyperparameters that `optimizer` refuses: they mean something else in a training, a command or a sweep file
RESERVED = """
    activation affine allow_sample batch_size checkpoint config data dataset decoupled_weight_decay dropout engine
    epochs flip_probability help hidden_size hooks log log_gradients log_weights max_shift mixup model name
    num_layers optimizer patience prediction progress receptive_field resume rule rule_options schedule seed test
    threads wandb_entity wandb_project warmup weight_decay weight_init
""".split()  # noqa: SIM905


def optimizer(rule):
    """Register the update rule in ``OPTIMIZERS`` under its name (a decorator); ValueError if it cannot be one."""
    spec = inspect.getfullargspec(rule)
    taken = [name for name in spec.kwonlyargs if name in RESERVED]
    if taken:
        raise ValueError(f"{rule.__name__}: {', '.join(taken)} already has another meaning; name it differently")
    own = {*spec.kwonlyargs} - {"loss"}  # and spec[1:4] are varargs, varkw and defaults
    if spec.args[:3] != ["theta", "g", "t"] or any(spec[1:4]) or own != {*hyperparameters(rule)}:
        raise ValueError(
            f"{rule.__name__} must have the form rule(theta, g, t, v, *, learning_rate=0.1): state after t, "
            "hyperparameters with defaults after *; only loss, which receives the loss of the batch, has none"
        )
    OPTIMIZERS[rule.__name__] = rule
    return rule


def state_names(rule):
    """Return the names of the rule's state vectors, in order."""
    return inspect.getfullargspec(rule).args[3:]


def init_state(rule, theta):
    """Return the initial state of the rule: one vector of zeros like theta for each of its state vectors."""
    return [np.zeros_like(theta) for _ in state_names(rule)]


def hyperparameters(rule):
    """Return the rule's hyperparameters and their defaults: ``{name: value}``."""
    return dict(rule.__kwdefaults__ or {})


@optimizer
def sgd(theta, g, t, *, learning_rate=0.01):
    """θ ← θ − η g      Stochastic gradient descent, Robbins & Monro 1951"""
    theta -= learning_rate * g


@optimizer
def momentum(theta, g, t, u, *, learning_rate=0.01, momentum=0.9):
    """u ← βu + g;  θ ← θ − ηu      Polyak 1964, no factor 1 − β; β is `momentum`"""
    u *= momentum
    u += g
    theta -= learning_rate * u


@optimizer
def nag(theta, g, t, u, *, learning_rate=0.01, momentum=0.9):
    """u ← βu + g;  θ ← θ − η(g + βu)      Nesterov 1983; β is `momentum`

    The lecture evaluates the gradient at the look-ahead point w − ηβu. Here θ is that
    point: with a constant η both forms take the same steps; g is needed only at θ.
    """
    u *= momentum
    u += g
    theta -= learning_rate * (g + momentum * u)


@optimizer
def rmsprop(theta, g, t, v, *, learning_rate=0.001, beta=0.9, epsilon=1e-8):
    """v ← βv + (1−β)g²;  θ ← θ − η g / (√v + ε)  Tieleman & Hinton 2012, lecture 6.5"""
    v *= beta
    v += (1 - beta) * g**2
    theta -= learning_rate * g / (np.sqrt(v) + epsilon)


@optimizer
def adam(
    theta, g, t, m, v, *, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8
):  # fmt: skip
    """m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²;  θ ← θ − η m̂ / (√v̂ + ε)

    Kingma & Ba 2015, Algorithm 1; m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ). Both parts of the
    fraction are multiplied by c = √(1−β₂ᵗ) (end of its section 2): √v̂ + ε → √v + cε.
    """
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g**2
    c = math.sqrt(1 - beta2**t)
    theta -= learning_rate * c / (1 - beta1**t) * m / (np.sqrt(v) + c * epsilon)


@optimizer
def nadam(
    theta, g, t, m, v, *, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8
):  # fmt: skip
    """m̄ = β₁m/(1−β₁ᵗ⁺¹) + (1−β₁)g/(1−β₁ᵗ);  θ ← θ − η m̄ / (√v̂ + ε)

    Dozat 2016; no β₂ in the numerator, as in Keras and Optax; otherwise as in `adam`.
    """
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g**2
    c = math.sqrt(1 - beta2**t)
    m_bar = beta1 / (1 - beta1 ** (t + 1)) * m + (1 - beta1) / (1 - beta1**t) * g
    theta -= learning_rate * c * m_bar / (np.sqrt(v) + c * epsilon)


SCHEDULES = Registry(  # the factor by which `loop.train` lowers η after a fraction p of the training, 0 ≤ p < 1
    "schedule",
    constant=lambda p: 1.0,
    # half a cosine wave from 1 towards 0: Loshchilov & Hutter 2017, equation 5, in one cycle
    cosine=lambda p: (1 + math.cos(math.pi * p)) / 2,
)
