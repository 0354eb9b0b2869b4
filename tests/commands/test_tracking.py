"""W&B's real client, sweep and agent against a stand-in server; and without server, account or network."""

import os
import re
import signal
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


def call(command, env, timeout=180, cwd=ROOT):
    return subprocess.run(
        [*map(str, command)], env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def train(env, *flags, **settings):
    flags = [*flags, *(f"--{name}={value}" for name, value in (SMALL | settings).items())]
    return call([sys.executable, "-m", "helpers.train", "--allow_sample", *flags], env)


def parameters(**settings):
    return {name: {"value": value} for name, value in (SMALL | settings).items()}


def test_agent_runs_sweep_parameters(tmp_path):
    queue = [parameters(learning_rate=rate, activation="tanh", num_layers=3) for rate in (0.001, 0.002, 0.003)]
    with serving(queue) as server:
        env = environment(tmp_path, server.url)
        made = call([WANDB, "sweep", "sweep.yaml"], env)
        assert made.returncode == 0, made.stderr
        path = re.search(rf"wandb agent (\S*{SWEEP})", made.stderr + made.stdout).group(1)
        agent = call([WANDB, "agent", "--count", "3", path], env)
        assert agent.returncode == 0, agent.stderr
    assert server.handed == ["run0", "run1", "run2"]
    assert set(server.runs) == set(server.handed), agent.stdout + agent.stderr
    assert server.unknown == []
    metric = re.search(r'"name": "(\w+)"|name: (\w+)', server.sweep)
    assert "val_accuracy" in metric.groups()
    for rate, name in zip((0.001, 0.002, 0.003), server.handed, strict=True):
        run = server.runs[name]
        assert run["sweep"] == SWEEP
        assert run["config"]["learning_rate"] == rate
        assert run["config"]["dataset"] == "fashion_mnist"
        assert run["name"].startswith("hl_3_bs_128_ac_tanh_")
        rows = [row for row in run["history"] if "train_loss" in row]
        assert [row["epoch"] for row in rows] == [1, 2]
        assert all({"train_loss", "train_accuracy", "val_loss", "val_accuracy"} <= set(row) for row in rows)
        assert len(rows[0]["images"]["filenames"]) == 10
        assert any("confusion_matrix" in key for row in run["history"] for key in row)
        assert run["exit_code"] == 0
        assert run["summary"]["val_accuracy"] == max(row["val_accuracy"] for row in rows)
        assert run["summary"]["epoch"] == 2


def test_weights_of_the_best_run_of_a_sweep_are_uploaded(tmp_path):
    """The second of three runs is better than the first; the third is worse, and uploads nothing."""
    with serving([parameters(learning_rate=rate) for rate in (1e-4, 3e-3, 1e-5)]) as server:
        env = environment(tmp_path, server.url)
        call([WANDB, "sweep", "sweep.yaml"], env)
        agent = call([WANDB, "agent", "--count", "3", f"me/DA6401-assignment-1/{SWEEP}"], env)
        assert agent.returncode == 0, agent.stderr
    first, second, third = (server.runs[name]["summary"]["val_accuracy"] for name in server.handed)
    assert second > first > third
    models = [name for name, kind in server.artifacts if kind == "model"]
    assert models == [f"weights-{SWEEP}"] * 2
    assert server.unknown == []


@pytest.mark.parametrize("flags", [[], ["--log_weights"]])
def test_weights_of_a_single_run_are_uploaded_if_asked(tmp_path, flags):
    with serving() as server:
        answer = train(environment(tmp_path, server.url), *flags)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert [kind for _, kind in server.artifacts].count("model") == len(flags)
    assert list(tmp_path.glob("wandb/*run-*/files/weights.npz"))


def test_log_gradients(tmp_path):
    with serving() as server:
        answer = train(environment(tmp_path, server.url), "--log_gradients", "--num_layers=2")
    assert answer.returncode == 0, answer.stderr
    (run,) = server.runs.values()
    rows = [row for row in run["history"] if "train_loss" in row]
    names = {"gradient_norm/W1", "gradient_norm/W2", "gradient_norm/W3", "dead_units/layer1", "dead_units/layer2"}
    assert len(rows) == 2
    assert all(names <= set(row) for row in rows)
    assert "gradient_norm" not in answer.stdout


def test_diverged_run_does_not_stop_agent(tmp_path):
    wild = parameters(learning_rate=1e38, optimizer="sgd", activation="identity")
    with serving([wild, wild, wild, parameters()]) as server:
        env = environment(tmp_path, server.url)
        call([WANDB, "sweep", "sweep.yaml"], env)
        agent = call([WANDB, "agent", "--count", "4", f"me/DA6401-assignment-1/{SWEEP}"], env)
        assert agent.returncode == 0, agent.stderr
    assert [server.runs[name]["exit_code"] for name in server.handed] == [1, 1, 1, 0]


def test_training_continues_without_server(tmp_path):
    with serving() as server:
        env = environment(tmp_path, server.url)
        process = subprocess.Popen(
            [sys.executable, "-m", "helpers.train", "--allow_sample", "--epochs=8", "--hidden_size=128"],
            env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        begin = []
        for line in process.stdout:
            begin.append(line)
            if line.split()[:1] == ["3"]:  # the third epoch
                break
        server.vanish()
    rest, errors = process.communicate(timeout=170)
    assert process.returncode == 0, errors
    assert "validation accuracy" in rest
    assert "Traceback" not in errors
    folder = re.search(r"W&B records online; .*wandb sync (\S+)", "".join(begin)).group(1)
    assert (ROOT / folder / "files" / "history.csv").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, which lists a process's children, is Linux's")
@pytest.mark.parametrize("word", ["W&B", "3"], ids=["before scikit-learn is imported", "in the third epoch"])
def test_killed_process_of_wandb_costs_only_recording(tmp_path, word):
    """A signal to all processes, such as a cluster sends, kills W&B's own process too."""
    command = [sys.executable, "-u", "-m", "helpers.train", "--allow_sample", "--epochs=8", "--hidden_size=128"]
    env = environment(tmp_path) | {"WANDB_MODE": "offline"}
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    next(line for line in process.stdout if line.split()[:1] == [word])
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    children = [int(child) for path in children for child in path.read_text("utf-8").split()]
    (service,) = [child for child in children if b"wandb-core" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(service, signal.SIGKILL)
    rest, errors = process.communicate(timeout=170)
    assert process.returncode == 0, errors
    assert "validation accuracy" in rest
    assert "Traceback" not in errors


def test_api_key_is_not_written(tmp_path):
    """Neither in W&B's folders, nor in the checkpoint, the model file or the output."""
    with serving() as server:
        env = environment(tmp_path, server.url)
        files = {name: tmp_path / f"run.{name}" for name in ("checkpoint", "model")}
        answer = train(env, *(f"--{name}={path}" for name, path in files.items()))
    assert answer.returncode == 0, answer.stderr
    assert all(path.exists() for path in files.values())
    key = env["WANDB_API_KEY"]
    assert key not in answer.stdout + answer.stderr + str(server.runs)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not [path for path in written if key.encode() in path.read_bytes()]


@pytest.mark.parametrize("trouble", ["401", "500", "hang"])
def test_failing_server_costs_only_upload(tmp_path, trouble):
    with serving(trouble=trouble) as server:
        answer = train(environment(tmp_path, server.url))
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


def test_disabled_writes_nothing(tmp_path):
    answer = train(environment(tmp_path) | {"WANDB_MODE": "disabled", "TMPDIR": str(tmp_path)})
    assert answer.returncode == 0, answer.stderr
    assert "W&B" not in answer.stdout
    assert answer.stderr == ""
    assert not list(tmp_path.rglob("history.csv"))


@pytest.mark.parametrize(
    ("flags", "more", "words"),
    [
        (["--wandb_project=a/b"], {}, "W&B records nothing"),
        ([], {"WANDB_BASE_URL": "nonsense"}, "W&B records"),
        ([], {"WANDB_BASE_URL": "http://localhost:99999"}, "W&B records"),
    ],
)
def test_invalid_wandb_settings_cost_only_recording(tmp_path, flags, more, words):
    answer = train(environment(tmp_path) | more, *flags)
    assert answer.returncode == 0, answer.stderr
    assert words in answer.stdout
    assert "validation accuracy" in answer.stdout


def test_unreachable_server_records_offline(tmp_path):
    answer = train(environment(tmp_path, "http://127.0.0.1:9"))
    assert answer.returncode == 0, answer.stderr
    assert "http://127.0.0.1:9 does not answer" in answer.stdout


def test_proxy_is_respected(tmp_path):
    """The server's name is known only to the proxy, as behind a company's firewall."""
    with serving() as server:
        env = environment(tmp_path, "http://wandb.invalid")
        proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"), server.url)
        result = train(env | proxy | {"no_proxy": "", "NO_PROXY": ""})
    assert result.returncode == 0, result.stderr
    assert "W&B records online" in result.stdout
    (run,) = server.runs.values()
    assert [row["epoch"] for row in run["history"] if "train_loss" in row] == [1, 2]
    assert run["exit_code"] == 0


def test_proxy_without_server_records_offline(tmp_path):
    """The proxy itself is not running."""
    proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    result = train(environment(tmp_path, "https://wandb.invalid") | proxy)
    assert result.returncode == 0, result.stderr
    assert "W&B records offline (https://wandb.invalid does not answer" in result.stdout


def test_sweep_optimizer_gets_its_own_defaults(tmp_path):
    """The sweep's optimizer decides the default learning rate, not the one of the flags."""
    (tmp_path / "parameters.yaml").write_text("optimizer: {value: adadelta}\n", "utf-8")
    swept = {"WANDB_MODE": "offline", "WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "r"}
    swept["WANDB_SWEEP_PARAM_PATH"] = str(tmp_path / "parameters.yaml")
    result = train(environment(tmp_path) | swept)
    plain = train(environment(tmp_path) | {"WANDB_MODE": "offline"}, optimizer="adadelta", learning_rate=1.0)
    losses = [re.findall(r"best epoch.*", output.stdout) for output in (result, plain)]
    assert losses[0] == losses[1] != []


def test_sweep_parameters_override_flags(tmp_path):
    (tmp_path / "parameters.yaml").write_text("learning_rate: {value: 0.0123}\nactivation: {value: tanh}\n", "utf-8")
    swept = {"WANDB_MODE": "offline", "WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "r"}
    swept["WANDB_SWEEP_PARAM_PATH"] = str(tmp_path / "parameters.yaml")
    answer = train(environment(tmp_path) | swept)
    plain = train(environment(tmp_path) | {"WANDB_MODE": "offline"}, learning_rate=0.0123, activation="tanh")
    rows = [[line for line in out.stdout.splitlines() if re.match(r" +[12] ", line)] for out in (answer, plain)]
    cells = [[line.split()[:5] for line in lines] for lines in rows]
    assert len(cells[0]) == 2
    assert cells[0] == cells[1]


@pytest.mark.parametrize(
    ("mode", "records", "warned"),
    [
        ("", "online", False),
        (" Online", "online", False),
        ("OFFLINE", "offline", False),
        ("sometimes", "offline", True),
    ],
)
def test_spelling_of_wandb_mode(tmp_path, mode, records, warned):
    with serving() as server:
        answer = train(environment(tmp_path, server.url) | {"WANDB_MODE": mode})
    assert answer.returncode == 0, answer.stderr
    assert f"W&B records {records}" in answer.stdout
    assert bool(server.runs) == (records == "online")
    named = "WANDB_MODE='sometimes' is unknown; the modes are: online, offline, disabled"
    assert (named in answer.stderr) == warned
