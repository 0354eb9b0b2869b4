"""The two engines of a training step: NumPy functions, and compiled functions with the same results."""

import threading
import warnings

import numpy as np

from helpers.nn.network import backward_propagation, dropout_masks, forward_propagation
from helpers.nn.validation import check_choice

ENGINES = ("auto", "numpy", "numba")
IMPORT_LOCK = threading.Lock()  # threads that import at once a module that fails may get it half initialised


def flush_limit(dtype):
    """Return the magnitude below which the optimizer state is set to zero, every `CHECK_EVERY` steps.

    It is a million times the smallest normal number (1e-32 in float32). Fifty steps with β = 0.9 shrink a moving
    average to 1/194, and the learning rate shrinks its update further; both must remain normal until the next time.
    """
    return 1e6 * np.finfo(dtype).tiny


class NumpyEngine:
    """The functions that a `Trainer` calls in each step: the reference, in NumPy."""

    name = "numpy"
    forward_propagation = staticmethod(forward_propagation)
    backward_propagation = staticmethod(backward_propagation)
    dropout_masks = staticmethod(dropout_masks)

    def take(self, name, array, index):
        """Return a copy of the rows `index` of the array, which is called `name`."""
        return array[index]

    def update_rule(self, rule):
        """Return the function to call for this update rule."""
        return rule

    def flush_denormals(self, vector):
        """Set entries that are about to become denormal numbers to zero, in place.

        The moving average of a gradient that has become zero (a pixel at the border) shrinks at each step but never
        reaches zero, and many processors are a hundred times slower with denormal numbers.
        """
        vector[np.abs(vector) < flush_limit(vector.dtype)] = 0


def make_engine(engine, params):
    """Return the engine for a network.

    Parameters
    ----------
    engine : {"auto", "numpy", "numba"}
        "auto" uses Numba where it can be imported.
    params : Params
        The parameters of the network.

    Returns
    -------
    NumpyEngine or CompiledEngine

    Raises
    ------
    ValueError
        If the name is unknown, or if Numba is requested and cannot be imported.
    """
    engine = check_choice("engine", engine, ENGINES)
    if engine == "numpy":
        return NumpyEngine()
    try:
        with IMPORT_LOCK:
            from helpers.nn.compiled import CompiledEngine
    except Exception as error:  # a broken installation may raise anything
        reason = f"{type(error).__name__}: {error}"
        if engine == "numba":
            raise ValueError(f"engine='numba' needs Numba ({reason}); install it with: pip install numba") from None
        if not (isinstance(error, ModuleNotFoundError) and error.name == "numba"):
            warnings.warn(f"Numba is installed but cannot be imported ({reason}); training uses NumPy", stacklevel=2)
        return NumpyEngine()
    return CompiledEngine(params)
