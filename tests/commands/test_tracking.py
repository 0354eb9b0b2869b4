"""W&B's real client, sweep and agent against a stand-in server; and without server, account or network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.wandb_server import SWEEP, serving

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WANDB = Path(sys.executable).parent / "wandb"
SMALL = {"epochs": 2, "hidden_size": 16, "batch_size": 128}


def environment(folder, url=None):
    """Return the environment of a machine with an account at `url`, or without an account."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    clean |= {
        "HOME": str(folder), "NETRC": str(folder / "no-netrc"), "WANDB_DIR": str(folder), "CI": "true",
        "WANDB_CACHE_DIR": str(folder / "cache"), "WANDB_CONFIG_DIR": str(folder / "config"),
        "WANDB_DATA_DIR": str(folder / "data"), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "WANDB_ERROR_REPORTING": "false",
    }  # fmt: skip
    if url:
        clean |= {"WANDB_BASE_URL": url, "WANDB_API_KEY": "k" * 40, "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "0.1"}
    return clean


def call(command, env, timeout=250):
    return subprocess.run(
        [*map(str, command)], env=env, cwd=ROOT, capture_output=True, text=True, timeout=timeout,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def train(env, *flags, **settings):
    flags = [*flags, *(f"--{name}={value}" for name, value in (SMALL | settings).items())]
    return call([sys.executable, "-m", "helpers.train", "--allow_sample", *flags], env)


def parameters(**settings):
    return {name: {"value": value} for name, value in (SMALL | settings).items()}


def run_agent(env, count):
    """Make the sweep, and start its agent for `count` runs."""
    made = call([WANDB, "sweep", "sweep.yaml"], env)
    assert made.returncode == 0, made.stderr
    path = re.search(rf"wandb agent (\S*{SWEEP})", made.stderr + made.stdout).group(1)
    agent = call([WANDB, "agent", "--count", count, path], env, timeout=280)
    assert agent.returncode == 0, agent.stderr


def epochs(run):
    """Return the rows of a run's epochs."""
    return [row for row in run["history"] if "train_loss" in row]


def test_agent_runs_sweep_parameters(tmp_path):
    """The second of three runs is better than the first, the third is worse: its weights are not uploaded."""
    rates = 1e-4, 3e-3, 1e-5
    with serving([parameters(learning_rate=rate, activation="tanh") for rate in rates]) as server:
        run_agent(environment(tmp_path, server.url), 3)
    assert server.handed == ["run0", "run1", "run2"]
    assert set(server.runs) == set(server.handed)
    assert server.unknown == []
    assert "val_accuracy" in re.search(r'"name": "(\w+)"|name: (\w+)', server.sweep).groups()
    for rate, name in zip(rates, server.handed, strict=True):
        run = server.runs[name]
        assert (run["sweep"], run["exit_code"]) == (SWEEP, 0)
        assert (run["config"]["learning_rate"], run["config"]["dataset"]) == (rate, "fashion_mnist")
        assert run["name"].startswith("hl_3_bs_128_ac_tanh_")
        rows = epochs(run)
        assert [row["epoch"] for row in rows] == [1, 2]
        assert all({"train_loss", "train_accuracy", "val_loss", "val_accuracy"} <= set(row) for row in rows)
        assert len(rows[0]["images"]["filenames"]) == 10
        assert any("confusion_matrix" in key for row in run["history"] for key in row)
        assert run["summary"]["val_accuracy"] == max(row["val_accuracy"] for row in rows)
        assert run["summary"]["epoch"] == 2
    first, second, third = (server.runs[name]["summary"]["val_accuracy"] for name in server.handed)
    assert second > first > third
    assert [name for name, kind in server.artifacts if kind == "model"] == [f"weights-{SWEEP}"] * 2


def test_single_run_with_gradients_weights_and_files(tmp_path):
    """The key of the account is written nowhere."""
    with serving() as server:
        env = environment(tmp_path, server.url)
        files = {name: tmp_path / f"run.{name}" for name in ("checkpoint", "model")}
        answer = train(env, "--log_gradients", "--log_weights", "--num_layers=2", **files)
    assert (answer.returncode, answer.stderr) == (0, "")
    (run,) = server.runs.values()
    names = {"gradient_norm/W1", "gradient_norm/W2", "gradient_norm/W3", "dead_units/layer1", "dead_units/layer2"}
    assert len(epochs(run)) == 2
    assert all(names <= set(row) for row in epochs(run))
    assert "gradient_norm" not in answer.stdout
    assert [kind for _, kind in server.artifacts].count("model") == 1
    assert all(path.exists() for path in files.values())
    key = env["WANDB_API_KEY"]
    assert key not in answer.stdout + str(server.runs)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not [path for path in written if key.encode() in path.read_bytes()]


def test_server_behind_a_proxy(tmp_path):
    """The server's name is known only to the proxy, as behind a company's firewall."""
    with serving() as server:
        env = environment(tmp_path, "http://wandb.invalid")
        proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"), server.url)
        result = train(env | proxy | {"no_proxy": "", "NO_PROXY": ""})
    assert result.returncode == 0, result.stderr
    assert "W&B records online" in result.stdout
    (run,) = server.runs.values()
    assert [row["epoch"] for row in epochs(run)] == [1, 2]
    assert run["exit_code"] == 0
    assert "model" not in [kind for _, kind in server.artifacts]


def test_training_continues_without_server(tmp_path):
    with serving() as server:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "helpers.train", "--allow_sample", "--epochs=8", "--hidden_size=128"],
            env=environment(tmp_path, server.url), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        begin = []
        for line in process.stdout:
            begin.append(line)
            if line.split()[:1] == ["3"]:  # the third epoch
                break
        server.vanish()
    rest, errors = process.communicate(timeout=250)
    assert process.returncode == 0, errors
    assert "validation accuracy" in rest
    assert "Traceback" not in errors
    folder = re.search(r"W&B records online; .*wandb sync (\S+)", "".join(begin)).group(1)
    assert (ROOT / folder / "files" / "history.csv").exists()


@pytest.mark.parametrize("trouble", ["401", "500", "hang", "unreachable", "nonsense"])
def test_failing_server_costs_only_upload(tmp_path, trouble):
    """Also one that does not exist, and an address that is none."""
    with serving(trouble=trouble) as server:
        url = {"unreachable": "http://127.0.0.1:9", "nonsense": "nonsense"}.get(trouble, server.url)
        answer = train(environment(tmp_path, url))
    assert answer.returncode == 0, answer.stderr
    assert "validation accuracy" in answer.stdout
    assert "Traceback" not in answer.stderr
    assert list(tmp_path.glob("wandb/*run-*/files/history.csv"))
    assert "wandb sync" in answer.stdout


@pytest.mark.parametrize("mode", [None, "offline"])
def test_no_account_records_offline(tmp_path, mode):
    env = environment(tmp_path) | ({"WANDB_MODE": mode} if mode else {})
    answer = train(env)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("W&B records offline") == 1
    folder = Path(re.search(r"wandb sync (\S+)", answer.stdout).group(1))
    assert (ROOT / folder / "files" / "weights.npz").exists()
    assert (ROOT / folder / "files" / "history.csv").read_text("utf-8").count("\n") == 3
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("flags", "more", "words"),
    [(["--wandb_project=a/b"], {}, "W&B records nothing ("), ([], {"WANDB_MODE": "disabled"}, "")],
)
def test_nothing_is_recorded(tmp_path, flags, more, words):
    """W&B refuses the name of the project; recording is disabled."""
    answer = train(environment(tmp_path) | {"TMPDIR": str(tmp_path)} | more, *flags)
    assert answer.returncode == 0, answer.stderr
    assert "validation accuracy" in answer.stdout
    assert answer.stdout.count("W&B") == bool(words)
    assert words in answer.stdout
    assert not list(tmp_path.rglob("history.csv"))


def test_sweep_parameters_override_flags(tmp_path):
    """The sweep's optimizer also decides the default learning rate."""
    (tmp_path / "parameters.yaml").write_text("optimizer: {value: adadelta}\nactivation: {value: tanh}\n", "utf-8")
    swept = {"WANDB_MODE": "offline", "WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "r"}
    swept["WANDB_SWEEP_PARAM_PATH"] = str(tmp_path / "parameters.yaml")
    answer = train(environment(tmp_path) | swept, "-o", "sgd")
    plain = train(environment(tmp_path) | {"WANDB_MODE": "offline"}, optimizer="adadelta", activation="tanh")
    rows = [
        [line.split()[:5] for line in out.stdout.splitlines() if re.match(r" +[12] ", line)] for out in (answer, plain)
    ]
    assert len(rows[0]) == 2, answer.stderr
    assert rows[0] == rows[1]


def test_run_that_early_termination_stops_keeps_its_accuracy(tmp_path):
    """Of three runs one ends, one is stopped in its middle, one diverges.

    W&B's Bayesian search (github.com/wandb/sweeps, ``bayes_search._construct_gp_data``) reads the best accuracy of a
    run whose exit code is 0; for another one, `metric.impute` decides.
    """

    def history(run):
        return [row["val_accuracy"] for row in run["history"] if "val_accuracy" in row]

    def stop(runs, name):
        return name == "run1" and len(history(runs[name])) >= 2

    wild = parameters(learning_rate=1e38, optimizer="sgd", activation="identity")
    queue = [parameters(learning_rate=1e-5), parameters(epochs=20_000), wild]
    with serving(queue, early_terminate=stop) as server:
        run_agent(environment(tmp_path, server.url), 3)
    ended, stopped, diverged = (server.runs[name] for name in ("run0", "run1", "run2"))
    assert [ended["exit_code"], stopped["exit_code"], diverged["exit_code"]] == [0, 0, 1]
    assert 2 <= len(history(stopped)) < 20_000
    assert (stopped["summary"].get("stopped"), ended["summary"].get("stopped")) == (True, None)
    assert stopped["summary"]["val_accuracy"] == max(history(stopped)) > max(history(ended)) > 0
    assert history(diverged) == []
    assert "no longer finite" in diverged["summary"]["failure"]
    assert server.unknown == []
