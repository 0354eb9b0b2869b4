"""Checks of arguments. Every message names the argument, its value and what is allowed."""

import math
import numbers

import numpy as np


def choice(name, value, allowed):
    """Return the member of `allowed` that `value` spells (case does not matter); ValueError if there is none."""
    if isinstance(value, str) and value in allowed:
        return value  # at once: the training loop asks at every step
    for word in allowed:
        if isinstance(value, str) and value.lower() == word.lower():
            return word
    raise ValueError(f"{name}={value!r} is unknown; choose one of: {', '.join(allowed)}")


def whole(name, value, least=1, most=math.inf):
    """Return `value` as an int with least <= value <= most; ValueError for anything else (True and 3.0 included)."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and least <= value <= most:
        return int(value)
    limit = "" if most == math.inf else f" and at most {most:,}"
    raise ValueError(f"{name}={value!r} must be a whole number, at least {least}{limit}")


def whole_or_none(name, value):
    """Return None, or `value` as an int of at least 1; ValueError for anything else."""
    return None if value is None else whole(name, value)


def whole_or_each(name, value):
    """Return `value` as an int of at least 1, or a list of such as a tuple; ValueError for anything else."""
    return tuple(whole(name, one) for one in value) if isinstance(value, (list, tuple)) else whole(name, value)


def number(name, value, *, above=-math.inf, least=-math.inf, below=math.inf):
    """Return `value` as a float with above < value, least <= value < below; ValueError for anything else."""
    try:
        real = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        real = False
    if real and value > above and least <= value < below:
        return float(value)
    allowed = limits(above=above, least=least, below=below)
    raise ValueError(f"{name}={value!r} must be a finite number{' ' if allowed else ''}{allowed}")


def limits(*, above=-math.inf, least=-math.inf, below=math.inf):
    """Return in words what `number` allows with these limits."""
    words = [f"above {above:g}"] * (above > -math.inf) + [f"at least {least:g}"] * (least > -math.inf)
    return " and ".join(words + [f"below {below:g}"] * (below < math.inf))


def zero_or(name, value, least):
    """Return `value` as a float that is 0 or at least `least`; ValueError for anything else."""
    if isinstance(value, numbers.Real) and 0 < value < least:
        raise ValueError(f"{name}={value!r} must be 0, or a finite number at least {least}")
    return number(name, value, least=0)


def square(name, columns):
    """Return d of columns = d², the width of a square image; ValueError if there is none."""
    d = math.isqrt(columns)
    if d * d != columns:
        raise ValueError(f"{name}: {columns} columns are no square image, such as 28 × 28 = 784")
    return d


def matrix(name, X, *, rows=None, columns=None, finite=False):
    """Check that X is a float array of two dimensions that is not empty; ValueError if it is not."""
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.dtype not in (np.float32, np.float64):
        kind = f"{X.dtype} array of shape {X.shape}" if isinstance(X, np.ndarray) else type(X).__name__
        raise ValueError(f"{name} is a {kind}; it must be a float32 or float64 array of two dimensions")
    if X.size == 0:
        raise ValueError(f"{name} has shape {X.shape}: it is empty; it needs at least one row and one column")
    if (rows or X.shape[0], columns or X.shape[1]) != X.shape:
        raise ValueError(f"{name} has shape {X.shape}; it must be ({rows or 'any'}, {columns or 'any'})")
    if finite and not (math.isfinite(X.min()) and math.isfinite(X.max())):  # min and max pass NaN on
        raise ValueError(f"{name} holds NaN or infinity; every entry must be a finite number")


def one_hot(name, Y, *, rows=None, columns=None):
    """Check that Y is a float matrix whose rows hold a single 1 and otherwise 0; ValueError if it is not."""
    matrix(name, Y, rows=rows, columns=columns)
    if not (np.isin(Y, (0, 1)).all() and (Y.sum(axis=1) == 1).all()):
        raise ValueError(f"{name} is not one-hot: every row must hold a single 1 and otherwise 0")
