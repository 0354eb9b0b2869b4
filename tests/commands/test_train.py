"""helpers.train: the course's flags, signals, files, and messages for invalid arguments."""

import importlib
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from helpers import cli, train
from helpers.nn import OPTIMIZERS, Config, Trainer, evaluate, load_model, save_model
from helpers.storage import read_archive
from helpers.tracking import Recorder
from helpers.train import read_arguments, run_name
from tests.support.datasets import blobs

COURSE = {  # long: (short, a value other than the default, as it is read)
    "wandb_project": ("-wp", "p", "p"), "wandb_entity": ("-we", "me", "me"), "dataset": ("-d", "MNIST", "mnist"),
    "epochs": ("-e", "7", 7), "batch_size": ("-b", "4", 4), "loss": ("-l", "mean_squared_error", "mean_squared_error"),
    "optimizer": ("-o", "SGD", "sgd"), "learning_rate": ("-lr", "0.1", 0.1), "momentum": ("-m", "0.5", 0.5),
    "beta": ("-beta", "0.5", 0.5), "beta1": ("-beta1", "0.5", 0.5), "beta2": ("-beta2", "0.5", 0.5),
    "epsilon": ("-eps", "0.000001", 1e-6), "weight_decay": ("-w_d", "0.0005", 0.0005),
    "weight_init": ("-w_i", "random", "random"), "num_layers": ("-nhl", "1", 1), "hidden_size": ("-sz", "4", 4),
    "activation": ("-a", "sigmoid", "sigmoid"),
}  # fmt: skip


@pytest.mark.parametrize("name", COURSE)
def test_course_flags(name):
    short, text, value = COURSE[name]
    for words in ([short, text], [f"--{name}", text], [f"--{name}={text}"]):
        given, defaults = read_arguments(words), read_arguments([])
        assert given[name] == value
        assert {key for key, now in given.items() if now != defaults[key]} == {name}


def test_flag_defaults_match_config():
    assert train.make_config(read_arguments([])) == Config()


@pytest.mark.parametrize("word", ["identity", "sigmoid", "tanh", "ReLU", "relu", "TANH"])
def test_flag_values_ignore_case(word):
    assert read_arguments(["-a", word])["activation"] == {"relu": "ReLU"}.get(word.lower(), word.lower())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer_flag_accepts_every_rule(optimizer):
    assert read_arguments(["-o", optimizer.upper()])["optimizer"] == optimizer


@pytest.mark.parametrize(
    ("words", "sizes"), [(["64"], 64), (["64,32"], (64, 32)), (["[64, 32]"], (64, 32)), (["64", "32"], (64, 32))]
)
def test_hidden_size_flag_accepts_lists(words, sizes):
    layers = len(sizes) if isinstance(sizes, tuple) else 1
    assert read_arguments(["-nhl", str(layers), "-sz", *words])["hidden_size"] == sizes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "eve"], r"error: optimizer='eve' is unknown; choose one of: sgd, momentum"),
        (["-a", "swish"], r"activation='swish' is unknown"),
        (["-d", "cifar"], r"dataset='cifar' is unknown; choose one of: fashion_mnist, mnist"),
        (["-e", "0"], r"epochs=0 must be an integer, at least 1"),
        (["-e", "ten"], r"argument -e/--epochs: invalid int value: 'ten'"),
        (["-lr", "-1"], r"learning_rate=-1.0 must be a finite number, above 0"),
        (["-lr", "nan"], r"learning_rate=nan"),
        (["--dropout", "1"], r"dropout=1.0"),
        (["-sz", "big"], r"'big' must be one or more integers, such as 128 or 512,256"),
        (["-sz", "64,32", "-nhl", "3"], r"hidden_size=\[64, 32\] must be one integer, or a list of 3"),
        (["-sz", "0"], r"hidden_size=0"),
        (["--learning", "0.1"], r"unrecognized arguments: --learning"),
        (["--lr", "0.1"], r"unrecognized arguments: --lr"),
        (["--threads", "0"], r"threads=0 must be an integer, at least 1"),
        (["--resume"], r"resume=True needs checkpoint="),
        (["--checkpoint", "no/such/file"], r"checkpoint='no/such/file' is in a folder that does not exist"),
        (["--model", "no/such/file"], r"model='no/such/file' is in a folder that does not exist"),
    ],
)
def test_invalid_flags_exit_code_2(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        read_arguments(words)
    assert caught.value.code == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["-w_d", "0.5"], "weight_decay", 0.5),
        (["-wd", "0.5"], "weight_decay", 0.5),
        (["-l", "mse"], "loss", "mean_squared_error"),
        (["-l", "MSE"], "loss", "mean_squared_error"),
        (["-w_i", "xavier"], "weight_init", "Xavier"),
        (["-w_i", "zeros"], "weight_init", "zeros"),
        (["-nhl", "2", "-sz", "64", "32"], "hidden_size", (64, 32)),
        (["-nhl", "2", "-sz", "[64, 32]"], "hidden_size", (64, 32)),
        (["-nhl", "2", "-sz", "64,32"], "hidden_size", (64, 32)),
        (["-sz", "64"], "hidden_size", 64),
    ],
)
def test_flags_in_the_spellings_of_the_course(words, name, value):
    assert read_arguments(words)[name] == value


@pytest.mark.slow
def test_help_is_light():
    code = (
        "import sys, contextlib, helpers.train as t\n"
        "with contextlib.suppress(SystemExit): t.main(['--help'])\n"
        "print({'wandb', 'pandas', 'sklearn', 'keras', 'matplotlib', 'tqdm', 'scipy'} & {*sys.modules})"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.rstrip().endswith("set()")
    assert "--learning_rate" in answer.stdout


def test_run_name():
    assert run_name(Config(num_layers=3, batch_size=16, activation="tanh")).startswith("hl_3_bs_16_ac_tanh")
    a, b = (run_name(Config(num_layers=2, hidden_size=sizes)) for sizes in ([64, 32], [32, 64]))
    assert "64x32" in a
    assert a != b


CHANGED_VALUES = {
    "dataset": "mnist", "epochs": 3, "batch_size": 16, "loss": "mean_squared_error", "optimizer": "adam",
    "learning_rate": 0.003, "momentum": 0.5, "beta": 0.5, "beta1": 0.5, "beta2": 0.5, "epsilon": 0.1,
    "weight_decay": 0.1, "weight_init": "random", "num_layers": 1, "hidden_size": "16,8,8", "activation": "tanh",
    "dropout": 0.3, "seed": 9, "schedule": "cosine", "warmup": 1, "decoupled_weight_decay": 0.5,
    "flip_probability": 0.5, "max_shift": 1, "mixup": 0.5, "receptive_field": 3,
}  # fmt: skip


def printed(monkeypatch, capsys, **settings):
    """Return the table that a run prints, without the seconds."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("helpers.data.load_data", lambda name, allow_sample: blobs(inputs=784, seed=len(name)))
    settings = {"epochs": 2, "hidden_size": 8, "batch_size": 32} | settings
    assert train.main([f"--{name}={value}" for name, value in settings.items()]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    return [row[:5] for row in rows if row[0].isdigit()]


@pytest.mark.parametrize("name", CHANGED_VALUES)
def test_every_flag_changes_training(name, monkeypatch, capsys):
    user = {"optimizer": {"momentum": "nag", "beta": "rmsprop"}.get(name, "nadam")}
    before = printed(monkeypatch, capsys, **user)
    assert len(before) == 2
    assert printed(monkeypatch, capsys, **(user | {name: CHANGED_VALUES[name]})) != before


def test_resume_and_model_file(monkeypatch, capsys, tmp_path):
    """The same command again prints the same table; the model file holds the trained network."""
    files = {"checkpoint": tmp_path / "run.ckpt", "model": tmp_path / "a.npz", "epochs": 4}
    first = printed(monkeypatch, capsys, **files)
    with pytest.raises(SystemExit):
        printed(monkeypatch, capsys, **files)
    assert re.search(r"checkpoint=.* exists: continue from it with resume=True, or delete it", capsys.readouterr().err)
    assert train.main(["--epochs=4", "--hidden_size=8", "--batch_size=32", "--resume",
                       f"--checkpoint={files['checkpoint']}"]) == 0  # fmt: skip
    rows = [line.split()[:5] for line in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row[0].isdigit()] == first
    params, config, names = load_model(files["model"])
    data = blobs(inputs=784, seed=len("fashion_mnist"))
    _, share = evaluate(params, data.x_val, data.y_val, activation=config.activation, loss=config.loss)
    assert share == pytest.approx(max(float(row[4]) for row in first), abs=1e-3)
    assert names == list(data.class_names)


def test_unwritable_model_file_keeps_run(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("helpers.data.load_data", lambda name, allow_sample: blobs(inputs=784))
    monkeypatch.setattr("os.fsync", full)
    assert train.main(["--epochs=1", "--hidden_size=8", f"--model={tmp_path / 'a.npz'}"]) == 1
    said = capsys.readouterr()
    assert "the network could not be written: [Errno 28] No space left on device" in said.err
    assert "validation accuracy" in said.out


def full(*_):
    raise OSError(28, "No space left on device")


def test_network_that_cannot_be_written_is_written_elsewhere(monkeypatch, capsys, tmp_path):
    def save(path, *arguments):
        return full() if path == "a.npz" else save_model(path, *arguments)

    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("helpers.data.load_data", lambda name, allow_sample: blobs(inputs=784))
    monkeypatch.setattr("helpers.nn.checkpoint.save_model", save)
    assert train.main(["--epochs=1", "--hidden_size=8", "--model=a.npz"]) == 1
    (path,) = tmp_path.glob("network-*/model.npz")
    assert f"No space left on device; it is in {path}\n" in capsys.readouterr().err
    assert load_model(path)[1].epochs == 1


@pytest.mark.parametrize(("epoch", "kept"), [(1, False), (2, True)])
def test_ctrl_c_keeps_finished_epochs(epoch, kept, monkeypatch, tmp_path, capsys):
    """In the first epoch there is nothing to keep, and an older model file stays."""
    step, model = Trainer.step, tmp_path / "a.npz"
    model.write_text("an older one")

    def stop(self, index):
        if len(self.finished.history) == epoch - 1 and self.t % 7 == 3:
            raise KeyboardInterrupt
        return step(self, index)

    monkeypatch.setattr(Trainer, "step", stop)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("helpers.data.load_data", lambda name, allow_sample: blobs(inputs=784))
    assert train.main(["--epochs=3", "--batch_size=32", "--hidden_size=8", f"--model={model}"]) == 130
    assert "Interrupted" in capsys.readouterr().out
    assert (model.read_bytes() != b"an older one") == kept


@pytest.mark.parametrize("moment", ["images", "results", "finish"])
def test_sigterm_outside_training_closes_run(moment, monkeypatch, tmp_path):
    """Before the training, after it, and while W&B closes; the model file is written before W&B records the results."""
    closed, model, finish = [], tmp_path / "a.npz", Recorder.finish
    monkeypatch.setattr(Recorder, "finish", lambda self, code: finish(self, code) or closed.append(code))
    own = getattr(Recorder, moment)

    def signalled(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        own(self, *arguments, **options)

    monkeypatch.setattr(Recorder, moment, signalled)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("helpers.data.load_data", lambda name, allow_sample: blobs(inputs=784))
    arguments = ["--epochs=1", "--hidden_size=8", f"--model={model}"]
    assert train.main(arguments) == 143
    assert closed == [0 if moment == "finish" else 143]  # while W&B closes it has its code already
    assert model.exists() == (moment != "images")
    monkeypatch.setenv("WANDB_SWEEP_ID", "one")  # an agent's stop is no failure of the agent's
    assert train.main(arguments) == 0


@pytest.mark.slow
def test_sigterm_keeps_finished_epochs(tmp_path):
    """As sent by an agent or a cluster: the checkpoint is intact and W&B's run is closed."""
    checkpoint = tmp_path / "run.ckpt"
    command = [
        sys.executable, "-m", "helpers.train", "--allow_sample", "--hidden_size=32", "--epochs=300",
        f"--checkpoint={checkpoint}", "--resume",
    ]  # fmt: skip
    surroundings = os.environ | {
        "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "DATASETS_DIR": "", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    process = subprocess.Popen(command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert any(line.startswith("    2 ") for line in process.stdout), process.communicate()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "Interrupted; the finished epochs are kept." in out
    assert len(read_archive(checkpoint, "checkpoint")[0]["history"]) >= 2
    assert list(tmp_path.glob("wandb/offline-run-*/files/history.csv"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checkpoint", "a.npz", "--model", "a.npz"], "are the same file"),
        (["--model", "folder"], "model='folder' is a folder; name a file"),
        (["--checkpoint", ""], "checkpoint='' must be the name of a file"),
    ],
)
def test_invalid_file_flags_exit_code_2(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(SystemExit) as caught:
        read_arguments(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("function", ["wandb.init", "helpers.tracking.reason_offline"])
def test_signal_during_wandb_init_closes_run(number, again, function, monkeypatch, capsys):
    """wandb.init may take half a minute; a second signal while the run closes changes nothing."""
    closed = []

    def init(**_):
        os.kill(os.getpid(), number)
        time.sleep(60)

    def teardown(exit_code):
        if again:
            os.kill(os.getpid(), number)
        closed.append(exit_code)

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(function, init)
    monkeypatch.setattr("wandb.teardown", teardown)
    assert train.main(["--epochs=1"]) == 128 + number
    assert closed == [130]
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def careless(tmp_path, monkeypatch):
    """The name of a module that sends SIGINT while it is imported, and catches everything."""
    code = (
        "import signal, time\ncaught = False\n"
        "try:\n    signal.raise_signal(signal.SIGINT)\n    time.sleep(0.01)\nexcept BaseException:\n    caught = True\n"
    )
    (tmp_path / "careless.py").write_text(code, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield "careless"
    sys.modules.pop("careless", None)


def test_signal_during_an_import_waits_for_its_end(careless):
    def work():
        assert not importlib.import_module(careless).caught
        time.sleep(60)

    with cli.signals() as signals, pytest.raises(KeyboardInterrupt):
        work()
    assert signals.exit_code == 130


def test_signal_during_an_import_does_not_outlive_the_command(careless):
    with cli.signals() as signals:
        importlib.import_module(careless)
    time.sleep(3 * cli.POLL_INTERVAL)  # a KeyboardInterrupt here would end pytest
    assert signals.exit_code == 130


def test_signal_that_is_sent_late_does_not_outlive_the_command(careless, monkeypatch):
    def send_late(number, send=cli.signal_main_thread):
        time.sleep(0.3)
        send(number)

    monkeypatch.setattr(cli, "signal_main_thread", send_late)
    monkeypatch.setattr(cli, "POLL_INTERVAL", 0)
    with cli.signals() as signals:
        importlib.import_module(careless)
        time.sleep(0.1)
    time.sleep(0.5)  # a KeyboardInterrupt here would end pytest
    assert signals.exit_code == 130


@pytest.mark.parametrize("name", ["numba.core.compiler", "multiprocessing.context"])
def test_signal_in_what_cannot_be_interrupted_waits_for_its_end(name):
    """A callback of LLVM loses a KeyboardInterrupt, and later Numba misses code; a process would be half started."""
    module = {"__name__": name, "signal": signal}
    exec("def function():\n    signal.raise_signal(signal.SIGINT)\n    finished.append(True)", module)
    module["finished"] = finished = []

    def work():
        module["function"]()
        time.sleep(60)

    with cli.signals() as signals, pytest.raises(KeyboardInterrupt):
        work()
    assert signals.exit_code == 130
    assert finished == [True]


def test_second_ctrl_c_does_not_stop_closing(monkeypatch):
    closed, finish = [], Recorder.finish

    def interrupted(self, code):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        finish(self, code)
        closed.append(code)

    monkeypatch.setattr(Recorder, "finish", interrupted)
    monkeypatch.setattr(Recorder, "images", lambda self, data: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("helpers.data.load_data", lambda name, allow_sample: blobs(inputs=784))
    assert train.main(["--epochs=1", "--hidden_size=8"]) == 130
    assert closed == [130]


def test_help_shows_default_of_each_rule(capsys):
    with pytest.raises(SystemExit):
        read_arguments(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "0.01 for sgd, momentum, nag, adagrad; 0.001 for rmsprop, adam, nadam; 1 for adadelta" in text


def test_wandb_config_has_values_used(monkeypatch):
    """Also those that the update rule's defaults gave."""
    configs = []
    monkeypatch.setattr(Recorder, "update_config", lambda self, config: configs.append(config))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("helpers.data.load_data", lambda name, allow_sample: blobs(inputs=784))
    assert train.main(["--epochs=1", "--hidden_size=8", "-o", "adadelta", "-beta", "0.8"]) == 0
    (config,) = configs
    assert {name: config[name] for name in ("learning_rate", "epsilon", "beta", "beta1")} == {
        "learning_rate": 1.0, "epsilon": 1e-6, "beta": 0.8, "beta1": None,
    }  # fmt: skip


def test_patience_flag_stops_early(monkeypatch, capsys):
    long = {"epochs": 60, "learning_rate": 0.1}
    assert len(printed(monkeypatch, capsys, **long, patience=1)) < 60
