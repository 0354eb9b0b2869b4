"""Files for a training state (a checkpoint) and for a trained network (a model)."""

import os
from dataclasses import asdict

import numpy as np

from helpers.nn.config import Config
from helpers.nn.network import layer_sizes, unflatten
from helpers.storage import read_archive, write_archive


def save_model(path, params, config, class_names):
    """Write a trained network to an ``.npz`` file, with its configuration and class names.

    Parameters
    ----------
    path : str or path-like
        The file to write. It is replaced atomically.
    params : Params
        The parameters. They are stored as the arrays ``W_1``, ``b_1``, …
    config : Config
        The hyperparameters that the network was trained with.
    class_names : sequence of str
        The names of the classes.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    write_archive(path, "model", {"config": asdict(config), "class_names": list(class_names)}, layer_arrays(params))


def layer_arrays(params):
    """Return the parameters by name: ``{"W_1": W_1, "b_1": b_1, …}``."""
    arrays = {}
    for k, (W, b) in enumerate(params.layers, 1):
        arrays |= {f"W_{k}": W, f"b_{k}": b}
    return arrays


def load_model(path):
    """Return ``(params, config, class_names)`` of a file that `save_model` wrote.

    Raises
    ------
    ValueError
        If the file cannot be read, is damaged, is not a model, or has the format of an older version.
    """
    metadata, arrays = read_archive(path, "model")
    try:
        config = Config.from_dict(metadata["config"])
        names = [str(name) for name in metadata["class_names"]]
        if not all(name.isprintable() for name in names):
            raise ValueError("its class names have characters that cannot be printed")
        layers = [(arrays[f"W_{k}"], arrays[f"b_{k}"]) for k in range(1, config.num_layers + 2)]
        sizes = layer_sizes(config.num_layers, config.hidden_size, layers[0][0].shape[0], len(names))
        floating = all(array.dtype in (np.float32, np.float64) for layer in layers for array in layer)
        theta = np.concatenate([array.ravel() for layer in layers for array in layer]) if floating else None
        if not floating or not np.isfinite(theta).all():
            raise ValueError("its parameters must be finite floating-point numbers")
        params = unflatten(theta, sizes)
        if [(W.shape, b.shape) for W, b in params.layers] != [(W.shape, b.shape) for W, b in layers]:
            raise ValueError("the shapes of its layers do not fit its configuration")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} does not hold a network: {error}") from None
    return params, config, names


def save_checkpoint(path, trainer):
    """Write the state of a `Trainer` at the end of an epoch. Raises OSError; an existing file is then unchanged."""
    state = trainer.state_dict()
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    write_archive(path, "checkpoint", {name: value for name, value in state.items() if name not in arrays}, arrays)


def stored_epochs(path):
    """Return the number of epochs in a checkpoint, or 0 if there is none. Raises ValueError if it is damaged."""
    if not os.path.exists(path):
        return 0
    metadata, _ = read_archive(path, "checkpoint")
    try:
        return len(metadata["history"])
    except (KeyError, TypeError):
        raise ValueError(f"{path} does not hold a training state: it has no history") from None


def load_checkpoint(path, trainer):
    """Restore the state in the file into a new `Trainer`.

    Raises
    ------
    ValueError
        If the file cannot be read, is damaged, or belongs to another training run; the message lists the differences.
    """
    metadata, arrays = read_archive(path, "checkpoint")
    try:
        trainer.load_state_dict(metadata | arrays)
    except KeyError as error:
        raise ValueError(f"{path} does not hold a training state: {error} is missing") from None
    except (AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} does not hold a training state: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
