"""Two more update rules, beyond the six of the assignment."""

import numpy as np

from helpers.nn.optimizers import optimizer


@optimizer
def adagrad(theta, g, t, v, *, learning_rate=0.01, epsilon=1e-8):
    """v ← v + g²;  θ ← θ − η g / (√v + ε)      Duchi et al. 2011"""
    v += g**2
    theta -= learning_rate * g / (np.sqrt(v) + epsilon)


@optimizer
def adadelta(theta, g, t, v, w, *, learning_rate=1.0, beta=0.9, epsilon=1e-6):
    """v ← βv + (1−β)g²;  δ = g √(w + ε) / √(v + ε);  w ← βw + (1−β)δ²;  θ ← θ − ηδ      Zeiler 2012, Algorithm 1"""
    v *= beta
    v += (1 - beta) * g**2
    delta = g * np.sqrt((w + epsilon) / (v + epsilon))
    w *= beta
    w += (1 - beta) * delta**2
    theta -= learning_rate * delta
