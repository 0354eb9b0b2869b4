"""Checkpoints and models: a stopped training ends as one that was not; a file that is not right is refused."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.checkpoint import load_model, read, save_model
from helpers.config import Config
from helpers.learner import Learner, TrainingDiverged
from helpers.network import intial_weights
from helpers.optimizers import OPTIMIZERS
from helpers.training import model_train
from tests.conftest import blobs

ALL = {
    "epochs": 4, "batch_size": 32, "num_layers": 2, "hidden_size": 12, "dropout": 0.2, "flip": 0.5, "mixup": 0.3,
    "receptive_field": 2, "schedule": "cosine", "warmup": 1.5, "decoupled_weight_decay": 0.05, "weight_decay": 0.001,
}  # fmt: skip


def same(a, b):
    (params_a, history_a), (params_b, history_b) = a, b
    np.testing.assert_array_equal(params_a.theta, params_b.theta)
    assert history_a.drop(columns="seconds").equals(history_b.drop(columns="seconds"))
    assert history_a.attrs == history_b.attrs


def stop_after(epoch):
    def log(row):
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    return log


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stopped_training_ends_bitwise_as_one_that_was_not(optimizer, tmp_path):
    data, file = blobs(inputs=25, dtype=np.float32), tmp_path / "run.ckpt"
    whole = model_train(data, **ALL, optimizer=optimizer)
    for epoch in (1, 3):
        model_train(data, **ALL, optimizer=optimizer, checkpoint=file, resume=True, log=stop_after(epoch))
    same(model_train(data, **ALL, optimizer=optimizer, checkpoint=file, resume=True), whole)
    same(model_train(data, **ALL, optimizer=optimizer, checkpoint=file, resume=True), whole)  # already at its end


def test_early_stopping_goes_on_counting(tmp_path):
    data, file = blobs(), tmp_path / "run.ckpt"
    few = {"epochs": 40, "hidden_size": 8, "learning_rate": 0.05, "patience": 3}
    whole = model_train(data, **few)
    assert len(whole[1]) < 40
    model_train(data, **few, checkpoint=file, log=stop_after(len(whole[1]) - 1))
    same(model_train(data, **few, checkpoint=file, resume=True), whole)


def test_a_resumed_training_that_diverges_keeps_the_last_epoch_before_the_stop(tmp_path):
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


def test_sizes_may_be_numpys_own(tmp_path):
    model_train(blobs(), epochs=1, hidden_size=np.int64(4), num_layers=np.int32(2), checkpoint=tmp_path / "run.ckpt")
    assert os.listdir(tmp_path) == ["run.ckpt"]


def test_the_rows_before_the_stop_are_logged_again(data, tmp_path):
    seen, file = [], tmp_path / "run.ckpt"
    model_train(data, epochs=3, hidden_size=4, checkpoint=file, log=stop_after(2))
    _, history = model_train(data, epochs=3, hidden_size=4, checkpoint=file, resume=True, log=seen.append)
    assert seen == history.to_dict("records")


@pytest.mark.parametrize("seed", range(5))
def test_a_process_that_is_killed_five_times_ends_as_one_that_was_left_alone(seed, tmp_path):
    """SIGKILL at 25 random moments in all, in an epoch or in a write."""
    program = (
        "import sys; from helpers.training import model_train; from tests.conftest import blobs; import numpy as np\n"
        "print('up', flush=True)\n"
        "p, h = model_train(blobs(2000, inputs=25), epochs=60, batch_size=8, hidden_size=16, dropout=0.1, flip=0.5,"
        "                   checkpoint=sys.argv[1], resume=True)\n"
        "np.save(sys.argv[2], p.theta); print('done', len(h), flush=True)\n"
    )
    rng = np.random.default_rng(seed)

    def start(name):
        command = [sys.executable, "-c", program, str(tmp_path / name), str(tmp_path / f"{name}.npy")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    for _ in range(5):
        process = start("killed")
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.25))
        assert process.poll() is None  # it is in the midst of it
        process.send_signal(signal.SIGKILL)
        process.communicate()
    for name in ("killed", "alone"):
        assert "done 60" in start(name).communicate(timeout=120)[0]
    np.testing.assert_array_equal(np.load(tmp_path / "killed.npy"), np.load(tmp_path / "alone.npy"))


def test_another_training_is_refused_with_what_differs(tmp_path):
    data, file = blobs(), tmp_path / "run.ckpt"
    model_train(data, epochs=2, hidden_size=4, checkpoint=file)
    again = {"epochs": 2, "hidden_size": 4, "checkpoint": file, "resume": True}
    for change, words in (
        ({"learning_rate": 0.5}, r"learning_rate is 0\.001 there and 0\.5 here$"),
        ({"epochs": 3, "seed": 1}, "epochs is 2 there and 3 here; seed is 0 there and 1 here"),
        ({"hidden_size": [4, 4, 4]}, r"hidden_size is 4 there and \(4, 4, 4\) here"),
    ):
        with pytest.raises(ValueError, match=words):
            model_train(data, **(again | change))
    other = dataclasses.replace(data, x_train=data.x_train + 1e-9)
    with pytest.raises(ValueError, match=r"x_train is \[200, 20, 'float64', \d+\] there"):
        model_train(other, **again)
    with pytest.raises(ValueError, match=r"resume=True goes on from it; or delete it"):
        model_train(data, **(again | {"resume": False}))
    with pytest.raises(ValueError, match="folder that does not exist"):
        model_train(data, epochs=1, checkpoint=tmp_path / "no" / "run.ckpt")
    with pytest.raises(ValueError, match="needs checkpoint="):
        model_train(data, epochs=1, resume=True)


def a_file(tmp_path):
    file = tmp_path / "a.model"
    save_model(file, intial_weights(1, 2, inputs=4, classes=3), Config(num_layers=1, hidden_size=2), "abc")
    return file


def test_a_model_comes_back_whole(tmp_path):
    params = intial_weights(2, [5, 4], inputs=9, classes=3, seed=3)
    config = Config(num_layers=2, hidden_size=(5, 4), activation="tanh", flip=0.5, learning_rate=0.1 + 0.2)
    save_model(tmp_path / "a.model", params, config, ("x", "y", "ö"))
    again, its_config, names = load_model(tmp_path / "a.model")
    np.testing.assert_array_equal(again.theta, params.theta)
    assert again.theta.dtype == np.float32
    assert [W.shape for W, _ in again.layers] == [(9, 5), (5, 4), (4, 3)]
    assert (its_config, names) == (config, ["x", "y", "ö"])


def test_every_flipped_bit_and_every_cut_is_refused(tmp_path):
    file = a_file(tmp_path)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for position in {*range(90), *rng.integers(0, len(whole), 200).tolist()}:
        spoiled = bytearray(whole)
        spoiled[position] ^= 1 << int(rng.integers(0, 8))
        file.write_bytes(spoiled)
        with pytest.raises(ValueError, match=r"a\.model"):
            load_model(file)
    for length in (0, 1, 20, 70, 90, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.model"):
            load_model(file)


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_random_bytes_are_no_model(content):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "x.model")
        with open(file, "wb") as out:
            out.write(content)
        with pytest.raises(ValueError, match=r"x\.model"):
            load_model(file)


def test_another_kind_version_or_no_file_is_named(tmp_path):
    file = a_file(tmp_path)
    with pytest.raises(ValueError, match=r"is a model, not a checkpoint"):
        read(file, "checkpoint")
    file.write_bytes(file.read_bytes().replace(b"model 1 ", b"model 9 ", 1))
    with pytest.raises(ValueError, match=r"version 9; this code reads 1"):
        load_model(file)
    with pytest.raises(ValueError, match=r"nothing\.model cannot be read: No such file"):
        load_model(tmp_path / "nothing.model")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        load_model(tmp_path)


def test_there_is_no_pickle_in_it(tmp_path):
    file = a_file(tmp_path)
    payload = file.read_bytes().partition(b"\n")[2]
    (tmp_path / "a.npz").write_bytes(payload)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert set(archive.namelist()) == {"facts.npy", "theta.npy"}
    facts = json.loads(np.load(tmp_path / "a.npz", allow_pickle=False)["facts"].tobytes())
    assert facts["class_names"] == ["a", "b", "c"]


def test_on_a_full_disk_the_training_goes_on_and_says_so(data, tmp_path):
    """A limit on the size of files (RLIMIT_FSIZE) stands for the full disk."""
    program = (
        "import resource, signal, sys; from helpers.training import model_train; from tests.conftest import blobs\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "p, h = model_train(blobs(), epochs=2, hidden_size=16, checkpoint=sys.argv[1]); print(len(h))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "run.ckpt")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "2\n"
    assert "could not be written" in done.stderr
    assert "the training goes on" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_checkpoint_that_cannot_be_written_costs_a_warning_an_epoch(data, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(
        UserWarning, match=r"run\.ckpt could not be written.*No space left.*the training goes on"
    ) as seen:
        _, history = model_train(data, epochs=3, hidden_size=4, checkpoint=tmp_path / "run.ckpt")
    assert len(history) == len(seen) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"checkpoint": 5}, "checkpoint=5 must be the name of a file"),
        ({"checkpoint": "a\0b"}, "checkpoint='a.*b' must be the name of a file"),
        ({"checkpoint": "nowhere/run.ckpt"}, "checkpoint='nowhere/run.ckpt' is in a folder that does not exist"),
        ({"resume": True}, "resume=True needs checkpoint="),
    ],
)
def test_a_checkpoint_s_name_is_checked_before_any_work(arguments, words, data, monkeypatch):
    monkeypatch.setattr(Learner, "train_epoch", None)
    with pytest.raises(ValueError, match=words):
        model_train(data, **arguments)
