"""Files for a training state (a checkpoint) and for a trained network (a model)."""

import zlib
from pathlib import Path

import numpy as np

from helpers.experiment.checks import check_path
from helpers.experiment.config import Config, hyperparameters
from helpers.files import read_archive, write_archive
from helpers.nn.network import Params, count_params, layer_sizes
from helpers.nn.optimizers import OPTIMIZERS, state_names


def save_model(path, params, config, data):
    """Write a trained network to an ``.npz`` file, with its configuration and what it was trained on.

    Parameters
    ----------
    path : str or path-like
        The file to write. It is replaced atomically.
    params : Params
        The parameters. They are stored as the arrays ``W_1``, ``b_1``, …
    config : Config
        The hyperparameters that the network was trained with.
    data : Dataset
        The data that it was trained on, of which the name and those of the classes are stored.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    metadata = {"config": vars(config), "class_names": list(data.class_names), "data": data.name}
    write_archive(path, "model", metadata, layer_arrays(params))


def layer_arrays(params):
    """Return the parameters by name: ``{"W_1": W_1, "b_1": b_1, …}``."""
    arrays = {}
    for k, (W, b) in enumerate(params.layers, 1):
        arrays |= {f"W_{k}": W, f"b_{k}": b}
    return arrays


def load_model(path):
    """Return ``(params, config, class_names, data_name)`` of a file that `save_model` wrote.

    Raises
    ------
    ValueError
        If the file cannot be read, is damaged, is not a model, or has the format of another version.
    """
    metadata, arrays = read_archive(path, "model")
    try:
        config = stored_config(metadata["config"])
        names = [str(name) for name in metadata["class_names"]]
        sizes = layer_sizes(config.num_layers, config.hidden_size, arrays["W_1"].shape[0], len(names))
        params = Params(np.zeros(count_params(sizes), arrays["W_1"].dtype), sizes)
        for name, array in layer_arrays(params).items():
            if arrays[name].shape != array.shape or arrays[name].dtype not in (np.float32, np.float64):
                raise ValueError(f"{name} is {arrays[name].dtype} of shape {arrays[name].shape}, not {array.shape}")
            array[:] = arrays[name]
        if not np.isfinite(params.theta).all():
            raise ValueError("its parameters are not finite")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} does not hold a network: {error}") from None
    return params, config, names, str(metadata.get("data", ""))


def stored_config(values):
    """Return the Config of these values; their update rule need not be known here, as predictions do not need it."""
    given = {name: value for name, value in values.items() if value is not None}  # None: of another rule
    if values["optimizer"] in OPTIMIZERS:
        return Config(**given)
    known = {*hyperparameters()} - {"optimizer"}
    config = Config(**{name: value for name, value in given.items() if name in known})
    vars(config).update(values, hidden_size=config.hidden_size)
    return config


def fingerprint(data):
    """Return shape, dtype and CRC-32 of each array of the training and validation data."""
    arrays = {name: getattr(data, name) for name in ("x_train", "y_train", "x_val", "y_val")}
    return {
        name: None if a is None else [*a.shape, str(a.dtype), zlib.crc32(np.ascontiguousarray(a))]
        for name, a in arrays.items()
    }


def check_checkpoint(path, resume):
    """Check the arguments `checkpoint` and `resume`; return whether there is a file to continue from."""
    if path is None:
        if resume:
            raise ValueError("resume=True needs checkpoint=, the file to continue from")
        return False
    check_path("checkpoint", path)
    if Path(path).exists() and not resume:
        raise ValueError(f"checkpoint={str(path)!r} exists: continue from it with resume=True (--resume), or delete it")
    return Path(path).exists()


def save_checkpoint(path, state, config, data, progress):
    """Write the state of a training at the end of an epoch.

    Parameters
    ----------
    path : str or path-like
        The file to write; OSError if that is not possible.
    state : TrainingState
        The parameters, the state of the update rule and of the random generator, the number of updates.
    config : Config
        The hyperparameters.
    data : dict
        The `fingerprint` of the data.
    progress : dict
        ``history``, ``best_epoch`` and ``best_theta``.
    """
    names = state_names(config.rule)
    arrays = {"theta": state.params.theta, "best_theta": progress["best_theta"]}
    arrays |= {f"state_{name}": vector for name, vector in zip(names, state.vectors, strict=True)}
    metadata = {name: value for name, value in progress.items() if name != "best_theta"}
    metadata |= {"config": vars(config), "data": data, "t": state.t, "rng": state.rng.bit_generator.state}
    write_archive(path, "checkpoint", metadata, arrays)


def load_checkpoint(path, state, config, data):
    """Continue from a checkpoint: restore `state`, and return the dict `progress` of `save_checkpoint`.

    Raises ValueError, with the differences, if the file is not the checkpoint of this training. The number of epochs
    may differ if the learning rate does not depend on it (a constant schedule).
    """
    stored, arrays = read_archive(path, "checkpoint")
    try:
        here, there = {**vars(config), **data}, {**stored["config"], **stored["data"]}
        differences = [
            f"{name} is {there.get(name)!r} in the checkpoint and {here.get(name)!r} here"
            for name in {**there, **here}
            if as_json(there.get(name)) != as_json(here.get(name))
            and not (name == "epochs" and config.schedule == "constant")
        ]
        if differences:
            raise ValueError(f"it belongs to another training: {'; '.join(differences)}")
        vectors = {"theta": state.params.theta}
        names = [f"state_{name}" for name in state_names(config.rule)]
        vectors |= dict(zip(names, state.vectors, strict=True))
        for name, vector in vectors.items():
            if arrays[name].shape != vector.shape or arrays[name].dtype != vector.dtype:
                raise ValueError(f"{name} is {arrays[name].dtype} of shape {arrays[name].shape}, not {vector.shape}")
            vector[:] = arrays[name]
        state.t, state.rng.bit_generator.state = stored["t"], stored["rng"]
        progress = {name: stored[name] for name in ("history", "best_epoch")}
        return progress | {"best_theta": arrays["best_theta"]}
    except KeyError as error:
        raise ValueError(f"{path} does not hold a training state: {error} is missing") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be continued: {error}") from None


def as_json(value):
    """Return `value` with tuples as lists, as it is after a round trip through JSON."""
    return list(value) if isinstance(value, tuple) else value
