"""The update rules as the papers print them: the reference for the optimizers' tests.

Each function takes the initial parameters w, a function that returns the gradient at a point, and the number of steps.
It returns the parameters after the last step.
"""

import numpy as np


def sgd(w, gradient, steps, *, learning_rate):
    for _ in range(steps):
        w = w - learning_rate * gradient(w)
    return w


def momentum(w, gradient, steps, *, learning_rate, momentum):
    u = np.zeros_like(w)
    for _ in range(steps):
        u = momentum * u + gradient(w)
        w = w - learning_rate * u
    return w


def nag(w, gradient, steps, *, learning_rate, momentum):
    """The lecture's look-ahead form. Returns the look-ahead point, which is what the rule of this project stores."""
    u = np.zeros_like(w)
    for _ in range(steps):
        ahead = w - learning_rate * momentum * u
        u = momentum * u + gradient(ahead)
        w = w - learning_rate * u
    return w - learning_rate * momentum * u


def rmsprop(w, gradient, steps, *, learning_rate, beta, epsilon):
    v = np.zeros_like(w)
    for _ in range(steps):
        g = gradient(w)
        v = beta * v + (1 - beta) * g**2
        w = w - learning_rate * g / (np.sqrt(v) + epsilon)
    return w


def adagrad(w, gradient, steps, *, learning_rate, epsilon):
    v = np.zeros_like(w)
    for _ in range(steps):
        g = gradient(w)
        v = v + g**2
        w = w - learning_rate * g / (np.sqrt(v) + epsilon)
    return w


def adadelta(w, gradient, steps, *, learning_rate, beta, epsilon):
    v = d = np.zeros_like(w)
    for _ in range(steps):
        g = gradient(w)
        v = beta * v + (1 - beta) * g**2
        delta = np.sqrt(d + epsilon) / np.sqrt(v + epsilon) * g
        d = beta * d + (1 - beta) * delta**2
        w = w - learning_rate * delta
    return w


def adam(w, gradient, steps, *, learning_rate, beta1, beta2, epsilon):
    m = v = np.zeros_like(w)
    for t in range(1, steps + 1):
        g = gradient(w)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        w = w - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)
    return w


def nadam(w, gradient, steps, *, learning_rate, beta1, beta2, epsilon):
    m = v = np.zeros_like(w)
    for t in range(1, steps + 1):
        g = gradient(w)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_bar = beta1 * m / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        w = w - learning_rate * m_bar / (np.sqrt(v_hat) + epsilon)
    return w
