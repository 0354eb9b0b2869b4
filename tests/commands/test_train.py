"""helpers.train: the course's flags, signals, files, and messages for invalid arguments."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import OPTIMIZERS, Config, evaluate, load_model, optimizer, train
from helpers.files import read_archive
from helpers.tracking import Recorder
from helpers.train import read_arguments, run_name
from tests.support.datasets import blobs
from tests.support.environment import run_python
from tests.support.fuzzing import many, numbers, words

SMALL = {"epochs": 2, "hidden_size": 8, "batch_size": 32}
COURSE = {  # long: (short, a value other than the default, as it is read)
    "wandb_project": ("-wp", "p", "p"), "wandb_entity": ("-we", "me", "me"), "dataset": ("-d", "MNIST", "mnist"),
    "epochs": ("-e", "7", 7), "batch_size": ("-b", "4", 4), "loss": ("-l", "mean_squared_error", "mean_squared_error"),
    "optimizer": ("-o", "SGD", "sgd"), "learning_rate": ("-lr", "0.1", 0.1), "momentum": ("-m", "0.5", 0.5),
    "beta": ("-beta", "0.5", 0.5), "beta1": ("-beta1", "0.5", 0.5), "beta2": ("-beta2", "0.5", 0.5),
    "epsilon": ("-eps", "0.000001", 1e-6), "weight_decay": ("-w_d", "0.0005", 0.0005),
    "weight_init": ("-w_i", "random", "random"), "num_layers": ("-nhl", "1", 1), "hidden_size": ("-sz", "4", 4),
    "activation": ("-a", "sigmoid", "sigmoid"),
}  # fmt: skip


@pytest.fixture
def offline(monkeypatch):
    """Small data, and no W&B."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("helpers.data.load_data", lambda name, allow_sample: blobs(inputs=784, seed=len(name)))


def flags(**settings):
    return [f"--{name}={value}" for name, value in (SMALL | settings).items()]


def printed(capsys, *more, **settings):
    """Return the table that a run prints, without the seconds."""
    assert train.main([*flags(**settings), *more]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    return [row[:5] for row in rows if row[0].isdigit()]


# --- flags


@pytest.mark.parametrize("name", COURSE)
def test_course_flags(name):
    short, text, value = COURSE[name]
    for arguments in ([short, text], [f"--{name}", text], [f"--{name}={text}"]):
        read, defaults = read_arguments(arguments), read_arguments([])
        assert read[name] == value
        assert {key for key, now in read.items() if now != defaults[key]} == {name}


def test_flag_defaults_match_config():
    assert train.make_config(read_arguments([])) == Config()


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["-wd", "0.5"], "weight_decay", 0.5),
        (["-l", "MSE"], "loss", "mean_squared_error"),
        (["-w_i", "xavier"], "weight_init", "Xavier"),
        (["-a", "relu"], "activation", "ReLU"),
        (["-o", "AdaDelta"], "optimizer", "adadelta"),
        (["-nhl", "2", "-sz", "64", "32"], "hidden_size", (64, 32)),
        (["-nhl", "2", "-sz", "[64, 32]"], "hidden_size", (64, 32)),
        (["-nhl", "2", "-sz", "64,32"], "hidden_size", (64, 32)),
        (["-nhl", "1", "-sz", "64"], "hidden_size", 64),
        (["-sz", "64", "32"], "hidden_size", (64, 32)),
        (["--patience", "none", "-lr", "1e-4"], "learning_rate", 1e-4),
        (["-d", "Fashion-MNIST"], "dataset", "fashion_mnist"),
    ],
)
def test_flags_in_other_spellings(arguments, name, value):
    assert read_arguments(arguments)[name] == value


@pytest.mark.parametrize(("text", "layers"), [("64", 3), ("64,", 1), ("[64]", 1), ("64,32", 2)])
def test_list_of_hidden_sizes_has_the_number_of_layers(text, layers):
    """A list of one, too, as the search prints it; the arguments are read twice."""
    assert train.make_config(read_arguments(["-sz", text])).num_layers == layers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "eve"], r"error: optimizer='eve' is unknown; choose one of: sgd, momentum"),
        (["-d", "cifar"], r"dataset='cifar' is unknown; choose one of: fashion_mnist, mnist"),
        (["-e", "0"], r"epochs=0 must be an integer, at least 1"),
        (["-e", "ten"], r"epochs='ten' must be an integer, at least 1"),
        (["-lr", "-1"], r"learning_rate=-1.0 must be a finite number, above 0"),
        (["-lr", "nan"], r"learning_rate=nan"),
        (["-sz", "big"], r"hidden_size='big' must be one or more integers, such as 128 or 512,256"),
        (["-sz", "64,32", "-nhl", "3"], r"hidden_size=.*64, 32.* must be one integer, or a list of 3"),
        (["--learning-rate", "0.1"], r"--learning-rate is an unknown flag; did you mean --learning_rate\?"),
        (["-bs", "16", "--lr=3"], r"-bs is an unknown .* --batch_size\?; --lr is .* --learning_rate\?"),
        (["--qqq", "16"], r"--qqq is an unknown flag; the names are: help, wandb_project"),
        (["-e", "0", "-d", "x", "-wd=-1"], r"(?s)3 problems:.*dataset='x'.*epochs=0.*weight_decay=-1"),
        (["--threads", "0"], r"threads=0 must be an integer, at least 1"),
        (["--resume"], r"resume=True needs checkpoint="),
        (["--checkpoint", "no/such/file"], r"checkpoint='no/such/file' is in a folder that does not exist"),
        (["--model", "no/such/file"], r"model='no/such/file' is in a folder that does not exist"),
        (["--checkpoint", "a.npz", "--model", "a.npz"], r"are the same file"),
    ],
)
def test_invalid_flags_exit_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        read_arguments(arguments)
    assert re.search(message, capsys.readouterr().err)


options = st.sampled_from([word for action in train.build_parser()._actions for word in action.option_strings])
texts = st.one_of(words, numbers.map(str), st.sampled_from(["", "-1", "nan", "1e999", "[64", "64,,", "٣", "0x10"]))


@pytest.mark.slow
@many
@given(st.lists(st.one_of(options, texts, st.tuples(options, texts).map("=".join)), max_size=6))
def test_random_arguments_are_read_or_refused_with_a_message(arguments):
    errors, code = io.StringIO(), 0
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            read_arguments(arguments)
        except SystemExit as end:
            code = end.code
    assert code in (0, 2)
    assert code == 0 or "error: " in errors.getvalue()


def test_hyperparameters_of_a_new_rule_are_flags(offline, monkeypatch, capsys):
    """A number and a truth value, in the help, in the record and in the training."""
    calls, configs = [], []

    def damped(theta, g, t, u, *, learning_rate=0.02, damping=0.3, reversed=False):
        calls.append((learning_rate, damping, reversed))
        theta -= learning_rate * g

    monkeypatch.setattr(Recorder, "update_config", lambda self, config: configs.append(config))
    optimizer(damped)
    try:
        printed(capsys, "-o", "damped", "--damping=0.25", "--reversed=true", "-lr=0.5", epochs=1)
        with pytest.raises(SystemExit, match="2"):
            read_arguments(["--damping=much"])
        with pytest.raises(SystemExit, match="0"):
            read_arguments(["--help"])
        assert "--damping" in capsys.readouterr().out
    finally:
        del OPTIMIZERS["damped"]
    assert set(calls) == {(0.5, 0.25, True)}
    assert (configs[0]["damping"], configs[0]["reversed"]) == (0.25, True)
    with pytest.raises(SystemExit, match="2"):
        read_arguments(["--damping=0.25"])


@pytest.mark.slow
def test_help_is_light():
    code = (
        "import sys, contextlib, helpers.train as t\n"
        "with contextlib.suppress(SystemExit): t.main(['--help'])\n"
        "print({'wandb', 'pandas', 'sklearn', 'keras', 'matplotlib', 'tqdm', 'scipy', 'numba'} & {*sys.modules})"
    )
    answer = run_python(code)
    assert answer.stdout.rstrip().endswith("set()"), answer.stderr
    assert "0.01 for sgd, momentum, nag, adagrad; 0.001 for" in " ".join(answer.stdout.split())


def test_run_name():
    assert run_name(Config(num_layers=3, batch_size=16, activation="tanh")).startswith("hl_3_bs_16_ac_tanh")
    a, b = (run_name(Config(num_layers=2, hidden_size=sizes)) for sizes in ([64, 32], [32, 64]))
    assert "64x32" in a
    assert a != b


def test_wandb_config_has_values_used(offline, monkeypatch):
    """Also those that the update rule's defaults gave."""
    config = {}
    monkeypatch.setattr(Recorder, "update_config", lambda self, values: config.update(values))
    assert train.main([*flags(epochs=1), "-o", "adadelta", "-beta", "0.8", "--threads=1"]) == 0
    used = {"learning_rate": 1.0, "epsilon": 1e-6, "beta": 0.8, "beta1": None}
    assert {name: config[name] for name in used} == used


@pytest.fixture
def agent(offline, monkeypatch):
    """A sweep whose values replace the flags: a dict to fill in. ``agent.said`` is what was recorded."""

    class Values(dict):
        def __init__(self):
            self.said = {}

    values, init = Values(), Recorder.__init__

    def start(self, project, entity, name, config, **options):
        init(self, project, entity, name, config, **options)
        self.config |= values

    monkeypatch.setenv("WANDB_SWEEP_ID", "one")
    monkeypatch.setattr(Recorder, "__init__", start)
    for name in ("rename", "failure"):
        own = getattr(Recorder, name)
        monkeypatch.setattr(
            Recorder, name, lambda self, text, name=name, own=own: values.said.update({name: text}) or own(self, text)
        )
    return values


def test_values_of_a_sweep_are_read_as_flags_are(agent, capsys):
    agent |= {"loss": "mse", "hidden_size": "8,4", "learning_rate": "1e-3", "epochs": 1, "optimizer": "nesterov"}
    assert train.main(["-e", "3", "-b", "32"]) == 0
    assert agent.said["rename"].startswith("hl_2_bs_32_ac_ReLU_sz_8x4_op_nag_lr_0.001_")
    assert len([line for line in capsys.readouterr().out.splitlines() if line.strip()[:1].isdigit()]) == 1


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        ({"hidden_size": [8, 4], "num_layers": 3}, 0, "hidden_size=(8, 4) must be one integer, or a list of 3"),
        ({"lr": 0.5, "resume": True}, 2, "lr is an unknown hyperparameter; did you mean learning_rate?; resume is an"),
    ],
)
def test_values_of_a_sweep_that_cannot_be_used(values, code, words, agent, capsys):
    """Under an agent, which gives up after three failures, values that do not fit together are no failure.

    It passes them as flags and, in the config of the run, with their types.
    """
    agent |= values
    given = flags() if code else flags(**{name: str(value) for name, value in values.items()})
    assert train.main(given) == code
    assert words in capsys.readouterr().err
    assert ("failure" in agent.said) == (code == 0)


def test_data_that_cannot_be_read_are_a_failure_under_an_agent(agent, monkeypatch, capsys):
    """As they are for the next values, too, the agent must give up after some runs."""

    def load_data(*arguments, **options):
        raise ValueError("DATASETS_DIR='/dat/fashion' is not a folder")

    monkeypatch.setattr("helpers.data.load_data", load_data)
    assert train.main(flags()) == 1
    assert "DATASETS_DIR='/dat/fashion' is not a folder" in capsys.readouterr().err
    assert "failure" not in agent.said


def test_resumed_run_uses_the_flags(offline, monkeypatch, capsys):
    """The config of an earlier run does not replace them: it is not a sweep's."""
    monkeypatch.setattr(
        Recorder, "__init__", lambda self, *a, own=Recorder.__init__: own(self, *a) or self.config.update(epochs=9)
    )
    assert len(printed(capsys)) == 2


def test_variables_name_project_and_run(offline, monkeypatch):
    made = []
    monkeypatch.setattr(Recorder, "__init__", lambda self, *arguments: made.append(arguments) or 1 / 0)
    for arguments in ([], ["-wp", "flag"]):
        for project, name in ((None, None), ("theirs", "mine")):
            for variable, value in {"WANDB_PROJECT": project, "WANDB_NAME": name}.items():
                monkeypatch.setenv(variable, value) if value else monkeypatch.delenv(variable, raising=False)
            with pytest.raises(ZeroDivisionError):
                train.main(arguments)
    assert [call[0] for call in made] == ["DA6401-assignment-1", "theirs", "flag", "flag"]
    assert [call[2] is None for call in made] == [False, True, False, True]


# --- files


def test_checkpoint_resume_and_model_file(offline, capsys, tmp_path):
    """The training of four epochs, interrupted after two, prints the same table; the model file has its network."""
    checkpoint, model = tmp_path / "run.ckpt", tmp_path / "a.npz"
    whole = printed(capsys, epochs=4, dropout=0.1)
    first = printed(capsys, epochs=2, dropout=0.1, checkpoint=checkpoint)
    with pytest.raises(SystemExit, match="2"):
        printed(capsys, checkpoint=checkpoint)
    assert re.search(
        r"checkpoint=.* exists: continue from it with resume=True \(--resume\), or delete it", capsys.readouterr().err
    )
    rest = printed(capsys, "--resume", epochs=4, dropout=0.1, checkpoint=checkpoint, model=model)
    assert first + rest == whole
    assert train.main([*flags(hidden_size=9, checkpoint=checkpoint), "--resume"]) == 2
    assert "hidden_size is 8 in the checkpoint and 9 here" in capsys.readouterr().err
    params, config, names, _ = load_model(model)
    data = blobs(inputs=784, seed=len("fashion_mnist"))
    _, share = evaluate(params, data.x_val, data.y_val, loss=config.loss, **config.prediction)
    assert share == pytest.approx(max(float(row[4]) for row in whole), abs=1e-3)
    assert names == list(data.class_names)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, where not even root can write, exists on Linux only")
def test_network_that_cannot_be_written(offline, capsys):
    assert train.main(flags(model="/proc/a.npz")) == 1
    said = capsys.readouterr()
    assert "error: the network could not be written: " in said.err
    assert "validation accuracy" in said.out


# --- trainings that end early


@pytest.mark.parametrize("agent", [False, True])
def test_diverged_training(offline, monkeypatch, capsys, agent):
    """An agent gives up after a few exit codes other than 0; W&B shows the run as failed."""
    closed = []
    monkeypatch.setattr(Recorder, "finish", lambda self, code: closed.append(code))
    if agent:
        monkeypatch.setenv("WANDB_SWEEP_ID", "one")
    assert train.main(flags(learning_rate=1e308, optimizer="sgd", activation="identity")) == (0 if agent else 1)
    assert closed == [1]
    assert "error: the loss is no longer finite in epoch 1" in capsys.readouterr().err


@pytest.mark.parametrize("agent", [False, True])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("moment", ["images", "log", "results", "finish"])
def test_signal_keeps_finished_epochs_and_closes_run(moment, name, agent, offline, monkeypatch, capsys, tmp_path):
    """Before the training, in its second epoch, after it, and while W&B closes.

    In the first epoch there is nothing to keep, and an older model file stays.
    """
    if not hasattr(signal, name):
        pytest.skip(f"this system has no {name}")
    closed, model, finish = [], tmp_path / "a.npz", Recorder.finish
    model.write_text("an older one")
    monkeypatch.setattr(Recorder, "finish", lambda self, code: finish(self, code) or closed.append(code))
    own = getattr(Recorder, moment)

    def signalled(self, *arguments, **options):
        own(self, *arguments, **options)
        signal.raise_signal(getattr(signal, name))

    monkeypatch.setattr(Recorder, moment, signalled)
    if agent:
        monkeypatch.setenv("WANDB_SWEEP_ID", "one")
    code = 128 + getattr(signal, name)
    assert train.main(flags(epochs=1 if moment == "results" else 3, model=model)) == (0 if agent else code)
    complete = moment in ("results", "finish") or (agent and moment == "log")
    assert closed == [0 if complete else code]
    assert (model.read_bytes() != b"an older one") == (moment != "images")
    assert ("Interrupted" in capsys.readouterr().out) == (moment in ("images", "log"))


@pytest.mark.slow
def test_sigterm_keeps_finished_epochs(tmp_path):
    """As sent by an agent or a cluster: the checkpoint is intact and W&B's run is closed."""
    checkpoint = tmp_path / "run.ckpt"
    command = [
        sys.executable, "-u", "-m", "helpers.train", "--allow_sample", "--hidden_size=32", "--epochs=5000",
        f"--checkpoint={checkpoint}", "--resume",
    ]  # fmt: skip
    surroundings = os.environ | {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "DATASETS_DIR": ""}
    process = subprocess.Popen(command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert any(line.startswith("    2 ") for line in process.stdout), process.communicate()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 143, err
    assert "Interrupted; the finished epochs are kept." in out
    assert "Traceback" not in err
    assert len(read_archive(checkpoint, "checkpoint")[0]["history"]) >= 2
    assert list(tmp_path.glob("wandb/offline-run-*/files/history.csv"))
