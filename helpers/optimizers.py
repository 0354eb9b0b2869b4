"""The optimizers, in order of increasing complexity: each is one function over the vector of all parameters.

    rule(theta, g, t, *memory, **hyperparameters)       updates theta (P,) in place from the gradient g (P,)

t counts the updates from 1. The names between t and * are the rule's memory: vectors like theta, zero at first
(`memory` makes them), of which s and r only hold intermediate results: `out=` writes there instead of allocating
a new vector at every step. The names after * are hyper-parameters. In the equations g is the gradient at θ and
η the learning rate.
"""

import inspect
import math

import numpy as np

OPTIMIZERS = {}


def optimizer(rule):
    """Enter the rule into OPTIMIZERS under its name."""
    OPTIMIZERS[rule.__name__] = rule
    return rule


def memory(rule, theta):
    """Return the rule's memory for the parameters theta: one vector of zeros for each name between t and *."""
    names = inspect.getfullargspec(rule).args[3:]
    return [np.zeros_like(theta) for _ in names]


def hyperparameters(rule):
    """Return the rule's hyper-parameters and their defaults: {name: value}."""
    return dict(inspect.getfullargspec(rule).kwonlydefaults or {})


def accumulate(total, beta, x):
    """total ← β total + x: a sum that forgets. (1 − β) total is the papers' running mean β mean + (1 − β) x.

    Keeping the sum saves a pass over the vector at every step; the factor 1 − β goes into numbers instead.
    """
    total *= beta
    total += x


def scaled_step(theta, x, v, rate, epsilon, s):
    """θ ← θ − rate · x / (√v + ε): the step of every rule that divides by the size of recent gradients."""
    np.sqrt(v, out=s)
    s += epsilon
    np.divide(x, s, out=s)
    s *= rate
    theta -= s


@optimizer
def sgd(theta, g, t, s, *, learning_rate=0.01):
    """θ ← θ − η g"""
    theta -= np.multiply(g, learning_rate, out=s)


@optimizer
def momentum(theta, g, t, u, s, *, learning_rate=0.01, momentum=0.9):
    """u ← βu + g;  θ ← θ − ηu      Polyak 1964, not damped; β is `momentum`"""
    accumulate(u, momentum, g)
    theta -= np.multiply(u, learning_rate, out=s)


@optimizer
def nag(theta, g, t, u, s, *, learning_rate=0.01, momentum=0.9):
    """u ← βu + g;  θ ← θ − η(g + βu)      Nesterov 1983; β is `momentum`

    The lecture takes the gradient at the point looked ahead to, w − ηβu. Here θ is that point: with
    θ = w − ηβu the two forms take the same steps, and no gradient is needed anywhere but at θ.
    """
    accumulate(u, momentum, g)
    np.multiply(u, momentum, out=s)
    s += g
    s *= learning_rate
    theta -= s


@optimizer
def rmsprop(theta, g, t, v, s, *, learning_rate=0.001, beta=0.9, epsilon=1e-8):
    """v ← βv + (1−β)g²;  θ ← θ − η g / (√v + ε)      Tieleman & Hinton 2012, lecture 6.5

    What is kept is v/(1−β) (see accumulate): numerator and denominator are both multiplied by c = 1/√(1−β).
    """
    accumulate(v, beta, np.square(g, out=s))
    c = (1 - beta) ** -0.5
    scaled_step(theta, g, v, learning_rate * c, c * epsilon, s)


@optimizer
def adagrad(theta, g, t, v, s, *, learning_rate=0.01, epsilon=1e-8):
    """v ← v + g²;  θ ← θ − η g / (√v + ε)      Duchi et al. 2011"""
    v += np.square(g, out=s)
    scaled_step(theta, g, v, learning_rate, epsilon, s)


@optimizer
def adadelta(theta, g, t, v, w, s, r, *, learning_rate=1.0, beta=0.9, epsilon=1e-6):
    """v ← βv + (1−β)g²;  δ = g √(w + ε) / √(v + ε);  w ← βw + (1−β)δ²;  θ ← θ − ηδ      Zeiler 2012, Algorithm 1

    The paper's η is 1. What is kept is v/(1−β) and w/(1−β) (see accumulate), so ε is divided by 1−β too.
    """
    accumulate(v, beta, np.square(g, out=s))
    epsilon = epsilon / (1 - beta)
    np.add(w, epsilon, out=s)
    s /= np.add(v, epsilon, out=r)
    np.sqrt(s, out=s)
    s *= g
    accumulate(w, beta, np.square(s, out=r))
    s *= learning_rate
    theta -= s


@optimizer
def adam(theta, g, t, m, v, s, *, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²;  m̂ = m/(1−β₁ᵗ);  v̂ = v/(1−β₂ᵗ);  θ ← θ − η m̂ / (√v̂ + ε)

    Kingma & Ba 2015, Algorithm 1. What is kept is m/(1−β₁) and v/(1−β₂) (see accumulate). Numerator and denominator
    are both multiplied by c = √((1−β₂ᵗ)/(1−β₂)), so that √v̂ + ε becomes √v + cε and the corrections cost nothing
    (section 2 of the paper).
    """
    accumulate(m, beta1, g)
    accumulate(v, beta2, np.square(g, out=s))
    b, c = (1 - beta1) / (1 - beta1**t), ((1 - beta2**t) / (1 - beta2)) ** 0.5
    scaled_step(theta, m, v, learning_rate * b * c, c * epsilon, s)


@optimizer
def nadam(theta, g, t, m, v, s, r, *, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """m, v, v̂ as in adam;  m̄ = β₁m/(1−β₁ᵗ⁺¹) + (1−β₁)g/(1−β₁ᵗ);  θ ← θ − η m̄ / (√v̂ + ε)

    Dozat 2016, with a constant β₁: adam that looks ahead as nag does. With the m that is kept, m̄ = b (a·m + g).
    """
    accumulate(m, beta1, g)
    accumulate(v, beta2, np.square(g, out=s))
    a, b = beta1 * (1 - beta1**t) / (1 - beta1 ** (t + 1)), (1 - beta1) / (1 - beta1**t)
    c = ((1 - beta2**t) / (1 - beta2)) ** 0.5
    np.multiply(m, a, out=r)
    r += g
    scaled_step(theta, r, v, learning_rate * b * c, c * epsilon, s)


# ---- the learning rate's course: its factor when a share p of the training is over, 0 < p ≤ 1 ----

SCHEDULES = {
    "constant": lambda p: 1.0,
    # half a cosine wave, from 1 to 0: Loshchilov & Hutter 2017, equation 5, in one cycle
    "cosine": lambda p: (1 + math.cos(math.pi * p)) / 2,
}
