"""Files that survive: a training run as it stands, and a trained network. Arrays and JSON, no pickle.

A file is one line of text (format, version, SHA-256 of the rest) and then NumPy's .npz. At any instant the old file or
the new one is there, whole (see atomic.py).
"""

import hashlib
import io
import json
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from helpers.atomic import replacing
from helpers.config import Config
from helpers.network import as_params, layer_sizes

VERSION = 1


def write(path, kind, facts, arrays):
    """Write the facts (what JSON can hold) and the arrays {name: array}. Raises OSError; the old file is then whole."""
    payload = io.BytesIO()
    np.savez(payload, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
    payload = payload.getvalue()
    with replacing(path) as file:
        file.write(_head(kind, VERSION, payload) + payload)


def read(path, kind):
    """Return (facts, arrays) of a file that `write` made; ValueError if it is another kind, version, or damaged."""
    try:
        head, _, payload = Path(path).read_bytes().partition(b"\n")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    words = head.split(b" ")
    if len(words) != 4 or words[0] != b"DA6401":
        raise ValueError(f"{path} is no {kind} of this project")
    if words[1] != kind.encode():
        raise ValueError(f"{path} is a {words[1].decode('ascii', 'replace')}, not a {kind}")
    if words[2] != str(VERSION).encode():
        version = words[2].decode("ascii", "replace")
        raise ValueError(f"{path} has the format's version {version}; this code reads {VERSION}")
    if head + b"\n" != _head(kind, VERSION, payload):
        raise ValueError(f"{path} is damaged: its content does not have the checksum that it was written with")
    with np.load(io.BytesIO(payload), allow_pickle=False) as file:
        arrays = dict(file)
    return json.loads(arrays.pop("facts").tobytes()), arrays


def _head(kind, version, payload):
    return f"DA6401 {kind} {version} {hashlib.sha256(payload).hexdigest()}\n".encode()


def save_model(path, params, config, class_names):
    """Write a trained network, what it takes to use it, and the names of its classes. Raises OSError."""
    inputs = params.layers[0][0].shape[0]
    facts = {"config": asdict(config), "class_names": list(class_names), "inputs": inputs}
    write(path, "model", facts, {"theta": params.theta})


def load_model(path):
    """Return (params, config, class_names) that save_model wrote; ValueError if the file is no model, or damaged."""
    facts, arrays = read(path, "model")
    try:
        config, names = Config.of(**facts["config"]), [str(name) for name in facts["class_names"]]
        sizes = layer_sizes(config.num_layers, config.hidden_size, facts["inputs"], len(names))
        return as_params(arrays["theta"], sizes), config, names
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a network: {error}") from None


def save_training(path, learner):
    """Write a learner as it stands at the end of an epoch. Raises OSError."""
    facts = {
        "config": asdict(learner.config), "data": learner.fingerprint, "t": learner.t, "rows": learner.rows,
        "random": learner.rng.bit_generator.state, "best_epoch": learner.best_epoch,
    }  # fmt: skip
    memory = {f"memory_{k}": vector for k, vector in enumerate(learner.memory)}
    write(path, "checkpoint", facts, {"theta": learner.params.theta, "best": learner.best, **memory})


def resume_training(path, learner):
    """Bring a new learner to where the checkpoint's was. ValueError, with what differs, if it is another training's."""
    facts, arrays = read(path, "checkpoint")
    now = {**asdict(learner.config), **learner.fingerprint}
    then = {**facts["config"], **facts["data"]}
    differences = [
        f"{name} is {then.get(name)!r} there and {now.get(name)!r} here"
        for name in {**then, **now}
        if json.dumps(then.get(name)) != json.dumps(now.get(name))
    ]
    if differences:
        raise ValueError(f"{path} is the checkpoint of another training: {'; '.join(differences)}")
    learner.params.theta[:] = arrays["theta"]
    for k, vector in enumerate(learner.memory):
        vector[:] = arrays[f"memory_{k}"]
    learner.t, learner.rows, learner.best_epoch = facts["t"], facts["rows"], facts["best_epoch"]
    learner.last, learner.best = arrays["theta"].copy(), arrays["best"]
    learner.rng.bit_generator.state = facts["random"]


def fingerprint(data):
    """What tells one data set from another: shapes, dtype and a checksum of the training and validation arrays."""
    parts = {name: getattr(data, name) for name in ("x_train", "y_train", "x_val", "y_val")}
    return {
        name: None if array is None else [*array.shape, str(array.dtype), zlib.crc32(np.ascontiguousarray(array))]
        for name, array in parts.items()
    }
