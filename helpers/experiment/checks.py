"""Checks of arguments. Each error message names the argument, its value and what is allowed."""

import math
import numbers
import os
from pathlib import Path

import numpy as np

from helpers.nn.functions import check_choice  # noqa: F401 (with the other checks)
from helpers.nn.network import check_int


def check_int_or_none(name, value):
    """Return None, or `value` as an int of at least 1."""
    return None if value is None else check_int(name, value)


def check_sizes(name, value):
    """Return `value` as an int of at least 1, or a list of such integers as a tuple."""
    if isinstance(value, str):
        raise ValueError(f"{name}={value!r} must be one or more integers, such as 128 or 512,256")
    return (
        tuple(check_int(name, size) for size in value) if isinstance(value, (list, tuple)) else check_int(name, value)
    )


def check_bool(name, value):
    """Return `value`, which must be True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} must be True or False")
    return value


def check_float(name, value, *, gt=-math.inf, ge=-math.inf, lt=math.inf):
    """Return `value` as a finite float with ``gt < value``, ``ge <= value`` and ``value < lt``."""
    try:
        finite = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        finite = False
    if finite and value > gt and ge <= value < lt:
        return float(value)
    limits = describe_limits(gt=gt, ge=ge, lt=lt)
    raise ValueError(f"{name}={value!r} must be a finite number{', ' if limits else ''}{limits}")


def check_float_or_none(name, value, **limits):
    """Return None, or `value` as `check_float` returns it."""
    return None if value is None else check_float(name, value, **limits)


def check_zero_or_min(name, value, ge):
    """Return `value` as a float that is 0 or at least `ge`."""
    if isinstance(value, numbers.Real) and 0 < value < ge:
        raise ValueError(f"{name}={value!r} must be 0, or a finite number, at least {ge}")
    return check_float(name, value, ge=0)


def describe_limits(*, gt=-math.inf, ge=-math.inf, lt=math.inf, **_):
    """Return the limits of `check_float` in words, such as "at least 0 and below 1"."""
    words = [f"above {gt:g}"] * (gt > -math.inf) + [f"at least {ge:g}"] * (ge > -math.inf)
    return " and ".join(words + [f"below {lt:g}"] * (lt < math.inf))


def image_width(name, columns):
    """Return d for ``columns = d * d``, the number of pixels of a square image."""
    d = math.isqrt(columns)
    if d * d != columns:
        raise ValueError(f"{name}: {columns} is not the number of pixels of a square image, such as 28 × 28 = 784")
    return d


def check_path(name, value):
    """Check that `value` can be the name of a file that is written: in a folder that exists, and not a folder."""
    if not isinstance(value, (str, os.PathLike)) or "\0" in str(value) or not Path(value).name:
        raise ValueError(f"{name}={value!r} must be the name of a file")
    try:
        if not Path(value).resolve().parent.is_dir():
            raise ValueError(f"{name}={str(value)!r} is in a folder that does not exist: create it first")
        if Path(value).is_dir():
            raise ValueError(f"{name}={str(value)!r} is a folder; name a file")
    except OSError as error:  # a folder of someone else, a name that is too long
        raise ValueError(f"{name}={str(value)!r} cannot be used: {error.strerror}") from None


def check_matrix(name, X, *, rows=None, columns=None, finite=False):
    """Check that X is a non-empty two-dimensional float array, with the given numbers of rows and columns, if any."""
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.dtype not in (np.float32, np.float64):
        kind = f"{X.dtype} array of shape {X.shape}" if isinstance(X, np.ndarray) else type(X).__name__
        raise ValueError(f"{name} is a {kind}; it must be a two-dimensional float32 or float64 array")
    if X.size == 0:
        raise ValueError(f"{name} has shape {X.shape}: it is empty; it needs at least one row and one column")
    if (rows or X.shape[0], columns or X.shape[1]) != X.shape:
        raise ValueError(f"{name} has shape {X.shape}; it must be ({rows or 'any'}, {columns or 'any'})")
    if finite and not (math.isfinite(X.min()) and math.isfinite(X.max())):  # NaN propagates through min and max
        raise ValueError(f"{name} contains NaN or infinity; every entry must be a finite number")


def check_one_hot(name, Y, *, rows=None, columns=None):
    """Check that Y is a float matrix with a single 1 in each row and zeros elsewhere."""
    check_matrix(name, Y, rows=rows, columns=columns)
    if not (np.isin(Y, (0, 1)).all() and (Y.sum(axis=1) == 1).all()):
        raise ValueError(f"{name} is not one-hot: each row must contain a single 1 and zeros elsewhere")
