"""Checkpoints and models: a resumed training equals an uninterrupted one; invalid files are refused."""

import dataclasses
import json
import os
import signal
import subprocess
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from helpers.nn import optimizers
from helpers.nn.checkpoint import load_checkpoint, load_model, save_checkpoint, save_model
from helpers.nn.config import Config
from helpers.nn.initialization import intial_weights
from helpers.nn.optimizers import OPTIMIZERS
from helpers.nn.training import Trainer, TrainingDiverged, model_train
from helpers.storage import read_archive, write_archive
from tests.support.datasets import blobs
from tests.support.environment import run_python, start_python, wait_until
from tests.support.fuzzing import value_error_names

ALL = {
    "epochs": 4, "batch_size": 32, "num_layers": 2, "hidden_size": 12, "dropout": 0.2, "flip_probability": 0.5,
    "mixup": 0.3, "receptive_field": 2, "schedule": "cosine", "warmup": 1.5, "decoupled_weight_decay": 0.05,
    "weight_decay": 0.001, "max_shift": 1,
}  # fmt: skip


def assert_same(a, b):
    (params_a, history_a), (params_b, history_b) = a, b
    np.testing.assert_array_equal(params_a.theta, params_b.theta)
    assert history_a.drop(columns="seconds").equals(history_b.drop(columns="seconds"))
    assert history_a.attrs == history_b.attrs


def stop_after(epoch):
    def log(row):
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    return log


# ---- resumed training ----


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resumed_training_equals_uninterrupted_training(optimizer, tmp_path):
    data, file = blobs(inputs=25, dtype=np.float32), tmp_path / "run.ckpt"
    expected = model_train(data, **ALL, optimizer=optimizer)
    for epoch in (1, 3):
        model_train(data, **ALL, optimizer=optimizer, checkpoint=file, resume=True, log=stop_after(epoch))
    assert_same(model_train(data, **ALL, optimizer=optimizer, checkpoint=file, resume=True), expected)
    assert_same(model_train(data, **ALL, optimizer=optimizer, checkpoint=file, resume=True), expected)  # at its end


def test_resumed_training_without_validation_data(tmp_path):
    """The history then holds NaN."""
    data, file = blobs(validation=False), tmp_path / "run.ckpt"
    few = {"epochs": 3, "hidden_size": 4}
    expected = model_train(data, **few)
    model_train(data, **few, checkpoint=file, log=stop_after(2))
    assert_same(model_train(data, **few, checkpoint=file, resume=True), expected)


def test_resumed_training_continues_early_stopping(tmp_path):
    data, file = blobs(), tmp_path / "run.ckpt"
    few = {"epochs": 40, "hidden_size": 8, "learning_rate": 0.05, "patience": 3}
    expected = model_train(data, **few)
    assert len(expected[1]) < 40
    model_train(data, **few, checkpoint=file, log=stop_after(len(expected[1]) - 1))
    assert_same(model_train(data, **few, checkpoint=file, resume=True), expected)


def test_resumed_training_that_diverges_has_last_epoch_before_interrupt(tmp_path):
    data, file = blobs(), tmp_path / "run.ckpt"
    few = {"epochs": 4, "hidden_size": 8, "batch_size": 32}
    two, _ = model_train(data, **(few | {"epochs": 2}))
    model_train(data, **few, checkpoint=file, log=stop_after(2))

    def spoil(row):
        data.x_train[:] = np.nan

    with pytest.raises(TrainingDiverged) as caught:
        model_train(data, **few, checkpoint=file, resume=True, log=spoil)
    assert len(caught.value.history) == 2
    np.testing.assert_array_equal(caught.value.params.theta, two.theta)


def test_resumed_training_logs_finished_epochs_again(data, tmp_path):
    seen, file = [], tmp_path / "run.ckpt"
    model_train(data, epochs=3, hidden_size=4, checkpoint=file, log=stop_after(2))
    _, history = model_train(data, epochs=3, hidden_size=4, checkpoint=file, resume=True, log=seen.append)
    assert seen == history.to_dict("records")


def test_resumed_training_log_gets_copy_of_rows(data, tmp_path):
    file = tmp_path / "run.ckpt"
    expected = model_train(data, epochs=3, hidden_size=4)
    model_train(data, epochs=3, hidden_size=4, checkpoint=file, log=stop_after(2))
    resumed = model_train(data, epochs=3, hidden_size=4, checkpoint=file, resume=True, log=dict.clear)
    assert_same(resumed, expected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_resumed_training_after_five_kills_equals_uninterrupted_training(seed, tmp_path):
    """SIGKILL at 25 random moments in all, in an epoch or in a write."""
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from helpers.nn.training import model_train; from tests.support.datasets import blobs\n"
        "Path(sys.argv[3]).touch()\n"
        "p, h = model_train(blobs(2000, inputs=25), epochs=60, batch_size=8, hidden_size=16, dropout=0.1,"
        "                   flip_probability=0.5, checkpoint=sys.argv[1], resume=True)\n"
        "np.save(sys.argv[2], p.theta); print('done', len(h), flush=True)\n"
    )
    rng = np.random.default_rng(seed)
    started = tmp_path / "started"

    def start(name):
        started.unlink(missing_ok=True)
        return start_python(program, tmp_path / name, tmp_path / f"{name}.npy", started, stdout=subprocess.PIPE)

    for _ in range(5):
        process = start("killed")
        try:
            wait_until(lambda process=process: started.exists() or process.poll() is not None)
            time.sleep(rng.uniform(0, 0.15))
            assert process.poll() is None  # still training
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
    for name in ("killed", "alone"):
        process = start(name)
        try:
            assert "done 60" in process.communicate(timeout=120)[0]
        finally:
            process.kill()
            process.wait(timeout=60)
    np.testing.assert_array_equal(np.load(tmp_path / "killed.npy"), np.load(tmp_path / "alone.npy"))


# ---- checkpoint files ----


def test_checkpoint_with_numpy_sizes(tmp_path):
    model_train(blobs(), epochs=1, hidden_size=np.int64(4), num_layers=np.int32(2), checkpoint=tmp_path / "run.ckpt")
    assert os.listdir(tmp_path) == ["run.ckpt"]


def test_checkpoint_records_hyperparameters_used(data, tmp_path):
    file = tmp_path / "run.ckpt"
    _, history = model_train(data, epochs=1, hidden_size=4, optimizer="adadelta", checkpoint=file)
    metadata, arrays = read_archive(file, "checkpoint")
    assert metadata["config"] == history.attrs["config"]
    assert (metadata["config"]["learning_rate"], metadata["config"]["epsilon"]) == (1.0, 1e-6)
    assert sorted(arrays) == ["best_theta", "state_v", "state_w", "theta"]


def test_checkpoint_of_other_training_refused_with_differences(tmp_path):
    data, file = blobs(), tmp_path / "run.ckpt"
    model_train(data, epochs=2, hidden_size=4, checkpoint=file)
    again = {"epochs": 2, "hidden_size": 4, "checkpoint": file, "resume": True}
    for change, message in (
        ({"learning_rate": 0.5}, r"learning_rate is 0\.001 in the checkpoint and 0\.5 here$"),
        ({"epochs": 3, "seed": 1}, "epochs is 2 in the checkpoint and 3 here; seed is 0 in the checkpoint and 1 here"),
        ({"hidden_size": [4, 4, 4]}, r"hidden_size is 4 in the checkpoint and \(4, 4, 4\) here"),
    ):
        with pytest.raises(ValueError, match=message):
            model_train(data, **(again | change))
    other = dataclasses.replace(data, x_train=data.x_train + 1e-9)
    with pytest.raises(ValueError, match=r"x_train is \[200, 20, 'float64', \d+\] in the checkpoint"):
        model_train(other, **again)
    with pytest.raises(ValueError, match=r"x_val is .* in the checkpoint and None here"):
        model_train(dataclasses.replace(data, x_val=None, y_val=None), **again)


def test_checkpoint_sizes_given_as_list_accepted_again(data, tmp_path):
    """JSON turns the tuple of sizes into a list."""
    few = {"epochs": 2, "num_layers": 2, "hidden_size": [4, 3]}
    model_train(data, **few, checkpoint=tmp_path / "run.ckpt", log=stop_after(1))
    _, history = model_train(data, **few, checkpoint=tmp_path / "run.ckpt", resume=True)
    assert len(history) == 2


def longer(theta, g, t, u, extra, *, learning_rate=0.01, momentum=0.9):
    theta -= learning_rate * g


def shorter(theta, g, t, *, learning_rate=0.01, momentum=0.9):
    theta -= learning_rate * g


def renamed(theta, g, t, velocity, *, learning_rate=0.01, momentum=0.9):
    theta -= learning_rate * g


@pytest.mark.parametrize(("rule", "needs"), [(longer, "u, extra"), (shorter, "none"), (renamed, "velocity")])
def test_checkpoint_with_other_optimizer_state_refused(data, tmp_path, monkeypatch, rule, needs):
    """The rule of the same name has one vector more, one fewer, or another one than the checkpoint."""
    few = {"epochs": 2, "hidden_size": 4, "optimizer": "momentum", "checkpoint": tmp_path / "run.ckpt"}
    model_train(data, **few, log=stop_after(1))
    monkeypatch.setitem(optimizers.OPTIMIZERS, "momentum", rule)
    with pytest.raises(ValueError, match=rf"run\.ckpt has the optimizer state u, but momentum needs {needs}:"):
        model_train(data, **few, resume=True)


def test_checkpoint_without_optimizer_state_refused(data, tmp_path, monkeypatch):
    few = {"epochs": 2, "hidden_size": 4, "optimizer": "sgd", "checkpoint": tmp_path / "run.ckpt"}
    model_train(data, **few, log=stop_after(1))

    def sgd(theta, g, t, u, *, learning_rate=0.01):
        theta -= learning_rate * g

    monkeypatch.setitem(optimizers.OPTIMIZERS, "sgd", sgd)
    with pytest.raises(ValueError, match=r"run\.ckpt has the optimizer state none, but sgd needs u:"):
        model_train(data, **few, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda metadata, arrays: metadata.pop("t"), "does not hold a training state: 't' is missing"),
        (lambda metadata, arrays: metadata.pop("config"), "does not hold a training state: 'config' is missing"),
        (lambda metadata, arrays: arrays.pop("theta"), "does not hold a training state: 'theta' is missing"),
        (lambda metadata, arrays: metadata.update(rng=None), "does not hold a training state: state must be a dict"),
        (lambda metadata, arrays: metadata.update(config=[1]), "does not hold a training state: .*not a mapping"),
        (lambda metadata, arrays: arrays.update(theta=np.zeros(3)), r"run\.ckpt has parameters that are not float64"),
        (lambda metadata, arrays: arrays.update(state_m=np.zeros((2, 2))), "parameters that are not float64 vectors"),
        (lambda metadata, arrays: arrays.update(theta=np.zeros(1)), "parameters that are not float64 vectors"),
        (lambda metadata, arrays: arrays.update(theta=arrays["theta"] > 0), "parameters that are not float64 vectors"),
        (lambda metadata, arrays: metadata.update(t="x"), r"run\.ckpt has 'x' updates, which are not 1 epochs of"),
        (lambda metadata, arrays: metadata.update(t=-5), r"run\.ckpt has -5 updates, which are not 1 epochs of"),
        (lambda metadata, arrays: metadata.update(history=None), "does not hold a training state"),
        (lambda metadata, arrays: metadata.update(history=[1]), "history whose row 1 does not hold the numbers of"),
        (lambda metadata, arrays: metadata.update(history=[{}]), "history whose row 1 does not hold the numbers of"),
        (lambda metadata, arrays: metadata["history"][0].update(epoch=7), "history whose row 1 does not hold the num"),
        (lambda metadata, arrays: metadata["history"][0].update(val_loss=10**400), "history whose row 1 does not hold"),
        (lambda metadata, arrays: metadata.update(history=[], t=0), r"run\.ckpt has a best epoch but no history"),
        (lambda metadata, arrays: arrays["best_theta"].fill(np.nan), r"run\.ckpt has parameters that are not finite"),
        (lambda metadata, arrays: metadata.update(best_epoch=99), r"run\.ckpt best_epoch=99 must be an integer"),
        (lambda metadata, arrays: metadata.update(best_epoch="x"), r"run\.ckpt best_epoch='x' must be an integer"),
        (lambda metadata, arrays: metadata["rng"]["state"].update(state=2**200), "does not hold a training state"),
    ],
)
def test_load_checkpoint_invalid_content_refused(data, tmp_path, change, message):
    file = tmp_path / "run.ckpt"
    model_train(data, epochs=10, hidden_size=4, checkpoint=file, log=stop_after(1))
    metadata, arrays = read_archive(file, "checkpoint")
    change(metadata, arrays)
    write_archive(file, "checkpoint", metadata, arrays)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(file, Trainer(data, Config(hidden_size=4)))


def test_load_checkpoint_model_refused(data, tmp_path):
    with pytest.raises(ValueError, match="is a model, not a checkpoint"):
        load_checkpoint(model_file(tmp_path), Trainer(data, Config(hidden_size=4)))


def test_load_checkpoint_with_infinite_optimizer_state(data, tmp_path):
    """A mean squared gradient may overflow; its updates are then zero, and the parameters stay finite."""
    file = tmp_path / "run.ckpt"
    model_train(data, epochs=10, hidden_size=4, checkpoint=file, log=stop_after(1))
    metadata, arrays = read_archive(file, "checkpoint")
    arrays["state_v"][0] = np.inf
    write_archive(file, "checkpoint", metadata, arrays)
    load_checkpoint(file, Trainer(data, Config(hidden_size=4)))


def test_load_checkpoint_before_first_epoch(data, tmp_path):
    """A Trainer that has no finished epoch can be saved, too."""
    file, trainer = tmp_path / "run.ckpt", Trainer(data, Config(hidden_size=4, epochs=1))
    save_checkpoint(file, trainer)
    other = Trainer(data, Config(hidden_size=4, epochs=1))
    load_checkpoint(file, other)
    for each in (trainer, other):
        each.fit(progress=False)
    np.testing.assert_array_equal(other.best_params().theta, trainer.best_params().theta)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checkpoint": 5}, "checkpoint=5 must be the name of a file"),
        ({"checkpoint": "a\0b"}, "checkpoint='a.*b' must be the name of a file"),
        ({"checkpoint": "nowhere/run.ckpt"}, "checkpoint='nowhere/run.ckpt' is in a folder that does not exist"),
        ({"resume": True}, "resume=True needs checkpoint="),
    ],
)
def test_model_train_invalid_checkpoint_name_refused_before_training(arguments, message, data, monkeypatch):
    monkeypatch.setattr(Trainer, "train_epoch", None)
    with pytest.raises(ValueError, match=message):
        model_train(data, **arguments)


def test_model_train_existing_checkpoint_refused_without_resume(data, tmp_path):
    file = tmp_path / "run.ckpt"
    file.write_bytes(b"precious")
    with pytest.raises(ValueError, match=r"run\.ckpt' exists: continue from it with resume=True, or delete it"):
        model_train(data, epochs=1, hidden_size=4, checkpoint=file)
    assert file.read_bytes() == b"precious"


@pytest.mark.slow
def test_model_train_continues_on_full_disk_with_warning(tmp_path):
    """A limit on the size of files (RLIMIT_FSIZE) has the effect of a full disk."""
    program = (
        "import resource, signal, sys\n"
        "from helpers.nn.training import model_train; from tests.support.datasets import blobs\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "p, h = model_train(blobs(), epochs=2, hidden_size=16, checkpoint=sys.argv[1]); print(len(h))\n"
    )
    result = run_python(program, tmp_path / "run.ckpt")
    assert result.stdout == "2\n"
    assert "could not be written" in result.stderr
    assert "training continues" in result.stderr
    assert os.listdir(tmp_path) == []


def test_model_train_warns_once_per_epoch_if_checkpoint_cannot_be_written(data, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = r"run\.ckpt' could not be written.*No space left.*training continues"
    with pytest.warns(UserWarning, match=message) as warned:
        _, history = model_train(data, epochs=3, hidden_size=4, checkpoint=tmp_path / "run.ckpt")
    assert len(history) == len(warned) == 3
    assert {warning.filename for warning in warned} == {__file__}  # the caller of model_train


# ---- model files ----


def model_file(tmp_path):
    file = tmp_path / "a.model"
    save_model(file, intial_weights(1, 2, inputs=4, classes=3), Config(num_layers=1, hidden_size=2), "abc")
    return file


def test_model_round_trip(tmp_path):
    params = intial_weights(2, [5, 4], inputs=9, classes=3, seed=3)
    config = Config(num_layers=2, hidden_size=(5, 4), activation="tanh", flip_probability=0.5, learning_rate=0.1 + 0.2)
    save_model(tmp_path / "a.model", params, config, ("x", "y", "ö"))
    loaded, loaded_config, names = load_model(tmp_path / "a.model")
    np.testing.assert_array_equal(loaded.theta, params.theta)
    assert loaded.theta.dtype == np.float32
    assert [W.shape for W, _ in loaded.layers] == [(9, 5), (5, 4), (4, 3)]
    assert all(np.shares_memory(part, loaded.theta) for layer in loaded.layers for part in layer)
    assert (loaded_config, names) == (config, ["x", "y", "ö"])


def test_model_round_trip_float64(tmp_path):
    params = intial_weights(1, 2, inputs=4, classes=3, dtype=np.float64)
    save_model(tmp_path / "a.model", params, Config(num_layers=1, hidden_size=2), "abc")
    loaded, _, _ = load_model(tmp_path / "a.model")
    assert loaded.theta.dtype == np.float64
    np.testing.assert_array_equal(loaded.theta, params.theta)


def test_model_opens_with_numpy(tmp_path):
    params = intial_weights(1, 2, inputs=4, classes=3)
    with np.load(model_file(tmp_path), allow_pickle=False) as file:
        assert sorted(file) == ["W_1", "W_2", "b_1", "b_2", "metadata"]
        for k, (W, b) in enumerate(params.layers, 1):
            np.testing.assert_array_equal(file[f"W_{k}"], W)
            np.testing.assert_array_equal(file[f"b_{k}"], b)
        content = json.loads(file["metadata"].item())["content"]
    assert content["class_names"] == ["a", "b", "c"]
    assert content["config"]["learning_rate"] == 0.001


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, a: a.update(W_1=np.full((4, 2), np.nan, np.float32)), "must be finite"),
        (lambda m, a: a.update(b_2=np.full(3, np.inf, np.float32)), "must be finite"),
        (lambda m, a: a.update(W_1=np.zeros((2, 4), np.float32)), "does not hold a network"),
        (lambda m, a: a.update({name: array.astype(int) for name, array in a.items()}), "floating-point"),
        (lambda m, a: a.update(b_1=np.zeros((1, 2), np.float32)), "the shapes of its layers do not fit"),
        (lambda m, a: a.update(b_1=np.zeros(3, np.float32)), "theta has shape"),
        (lambda m, a: a.update(W_2=np.zeros((3, 2), np.float32)), "the shapes of its layers do not fit"),
        (lambda m, a: a.update(W_1=np.float32(1)), "does not hold a network"),
        (lambda m, a: a.update(W_1=np.array("a")), "does not hold a network"),
        (lambda m, a: a.pop("b_2"), "does not hold a network: 'b_2'"),
        (lambda m, a: m.update(class_names=["a", "b"]), "theta has shape"),
        (lambda m, a: m.update(class_names=None), "does not hold a network"),
        (lambda m, a: m.pop("class_names"), "does not hold a network: 'class_names'"),
        (lambda m, a: m["config"].update(num_layers=2), "does not hold a network"),
        (lambda m, a: m["config"].update(hidden_size=10**9), "parameters; at most"),
        (lambda m, a: m["config"].update(unknown=1), "unknown is an unknown hyperparameter"),
        (lambda m, a: m.update(config=[]), "does not hold a network"),
    ],
)
def test_load_model_invalid_content_refused(tmp_path, change, message):
    file = model_file(tmp_path)
    metadata, arrays = read_archive(file, "model")
    change(metadata, arrays)
    write_archive(file, "model", metadata, arrays)
    with pytest.raises(ValueError, match=rf"a\.model does not hold a network: .*{message}|a\.model {message}"):
        load_model(file)


def test_load_model_damaged_file_refused(tmp_path):
    """Each cut, and flipped bits: a ValueError, or exactly the original (a flip in a time stamp is harmless)."""
    file = model_file(tmp_path)
    original, (params, config, names) = file.read_bytes(), load_model(file)
    for length in range(0, len(original), 7):
        file.write_bytes(original[:length])
        with pytest.raises(ValueError, match=r"a\.model"):
            load_model(file)
    rng = np.random.default_rng(1)
    for position in rng.integers(0, len(original), 300).tolist():
        damaged = bytearray(original)
        damaged[position] ^= 1 << int(rng.integers(0, 8))
        file.write_bytes(damaged)
        with value_error_names("a.model"):
            loaded, loaded_config, loaded_names = load_model(file)
            np.testing.assert_array_equal(loaded.theta, params.theta)
            assert (loaded_config, loaded_names) == (config, names)


def test_load_model_checkpoint_or_missing_file_refused(data, tmp_path):
    save_checkpoint(tmp_path / "run.ckpt", Trainer(data, Config(hidden_size=4)))
    with pytest.raises(ValueError, match=r"run\.ckpt is a checkpoint, not a model"):
        load_model(tmp_path / "run.ckpt")
    with pytest.raises(ValueError, match=r"nothing\.model cannot be read: No such file"):
        load_model(tmp_path / "nothing.model")


def test_checkpoint_of_running_training_is_refused(tmp_path):
    """The second training ends before its first step; the first one, and its file, are not affected."""
    path, refused = tmp_path / "run.ckpt", []

    def log(row):
        if row["epoch"] == 1:
            path.unlink()  # so that only the lock can tell
            with pytest.raises(ValueError, match=r"run\.ckpt' is in use by another training"):
                model_train(blobs(), checkpoint=path, hidden_size=3, epochs=1)
            refused.append(path.exists())

    params, _ = model_train(blobs(), checkpoint=path, log=log, hidden_size=4, epochs=3)
    assert refused == [False]
    alone, _ = model_train(blobs(), hidden_size=4, epochs=3)
    np.testing.assert_array_equal(params.theta, alone.theta)
    assert os.listdir(tmp_path) == ["run.ckpt"]
    model_train(blobs(), checkpoint=path, resume=True, hidden_size=4, epochs=3)


@pytest.mark.parametrize("resume", [False, True])
def test_checkpoint_that_another_training_wrote_in_the_meantime_is_refused(data, tmp_path, resume):
    """It began and ended after this training had looked at the file, and before it held the lock."""
    path, few = tmp_path / "run.ckpt", {"hidden_size": 4, "epochs": 4}
    late = Trainer(data, Config(**few))
    if resume:
        model_train(data, **few, checkpoint=path, log=stop_after(2))
        load_checkpoint(path, late)
    model_train(data, **few, checkpoint=path, resume=resume)
    with pytest.raises(ValueError, match=r"run\.ckpt' has 4 epochs, .*: another training has written it"):
        late.fit(checkpoint=path, progress=False)
    assert len(read_archive(path, "checkpoint")[0]["history"]) == 4


@pytest.mark.slow
def test_trainings_in_two_processes_share_no_checkpoint(tmp_path):
    code = (
        "import sys; from helpers.nn import model_train; from tests.support.datasets import blobs\n"
        "model_train(blobs(), checkpoint=sys.argv[1], hidden_size=4, epochs=10**6)"
    )
    path = tmp_path / "run.ckpt"
    process = start_python(code, path, cwd=Path(__file__).parents[2])
    try:
        wait_until(path.exists)
        with pytest.raises(ValueError, match="is in use by another training"):
            model_train(blobs(), checkpoint=path, resume=True, hidden_size=4, epochs=10**6)
        process.kill()
        process.wait(timeout=60)
        trainer = Trainer(blobs(), Config(hidden_size=4, epochs=10**6))
        load_checkpoint(path, trainer)
        assert len(trainer.finished.history) >= 1
        with pytest.raises(ValueError, match="exists: continue from it"):
            model_train(blobs(), checkpoint=path, hidden_size=4)
    finally:
        process.kill()


def test_compressed_archive_is_refused_before_it_is_read(tmp_path):
    """A small file that would become 800 MB in memory."""
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, metadata=np.array("{}"), W_1=np.zeros(10**8))
    assert path.stat().st_size < 10**6
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"bomb\.npz is damaged, or not a model"):
            load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 10**8
    finally:
        tracemalloc.stop()


def test_class_names_that_control_the_terminal_are_refused(tmp_path):
    params = intial_weights(1, 4, inputs=4, classes=2)
    save_model(tmp_path / "a.npz", params, Config(num_layers=1, hidden_size=4), ["coat", "\x1b[2J"])
    with pytest.raises(ValueError, match=r"a\.npz does not hold a network: its class names have characters"):
        load_model(tmp_path / "a.npz")
