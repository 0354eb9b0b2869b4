"""Sweep files: the project's own is read completely, and errors in others are named."""

import re
from pathlib import Path

import pytest
import yaml

from helpers.search.sweep_file import DISTRIBUTIONS, read_sweep
from helpers.train import read_arguments

ROOT = Path(__file__).parents[2]
SWEEP = ROOT / "sweep.yaml"
GOOD = {
    "method": "random",
    "metric": {"name": "val_accuracy", "goal": "maximize"},
    "parameters": {"learning_rate": {"min": 0.001, "max": 0.1}},
}


def test_project_sweep_is_course_grid():
    sweep = read_sweep(SWEEP)
    assert (sweep.method, sweep.metric, sweep.goal) == ("bayes", "val_accuracy", "maximize")
    values = {name: given["values"] for name, given in sweep.parameters.items()}
    assert values.pop("optimizer") == ["sgd", "momentum", "nag", "rmsprop", "adam", "nadam"]
    assert values == {
        "epochs": [5, 10], "num_layers": [3, 4, 5], "hidden_size": [32, 64, 128], "weight_decay": [0, 0.0005, 0.5],
        "learning_rate": [0.001, 0.0001], "batch_size": [16, 32, 64], "weight_init": ["random", "Xavier"],
        "activation": ["sigmoid", "tanh", "ReLU"],
    }  # fmt: skip
    assert sweep.early_terminate == {"min_iter": 2, "eta": 2}
    assert sweep.run_cap == 200
    assert sweep.target is None
    assert sweep.ignored == ("program", "command", "project", "metric.impute")


def test_project_sweep_values_are_valid_flags():
    for name, given in yaml.safe_load(SWEEP.read_text("utf-8"))["parameters"].items():
        for value in given["values"]:
            assert read_arguments([f"--{name}={value}"])[name] == value


def test_project_sweep_command():
    content = yaml.safe_load(SWEEP.read_text("utf-8"))
    assert content["command"] == ["${env}", "python", "-m", "helpers.train", "${args}"]
    assert (SWEEP.parent / content["program"]).exists()


@pytest.mark.parametrize(
    ("given", "distribution"),
    [
        ({"value": 3}, "constant"),
        ({"values": [1, 2]}, "categorical"),
        ({"min": 1, "max": 3}, "int_uniform"),
        ({"min": 1.0, "max": 3.0, "distribution": "q_uniform", "q": 1.0}, "q_uniform"),
        ({"min": 1.0, "max": 3.0, "distribution": "log_uniform_values"}, "log_uniform_values"),
    ],
)
def test_parameter_distribution_is_inferred(given, distribution):
    sweep = read_sweep(GOOD | {"parameters": {"learning_rate" if "distribution" in given else "epochs": given}})
    assert next(iter(sweep.parameters.values()))["distribution"] == distribution


@pytest.mark.parametrize(
    ("early", "ignored"),
    [
        ({"strict": True}, ()),
        ({"strict": False}, ("early_terminate.strict",)),
        ({"s": 2}, ("early_terminate.s",)),
        ({"s": 2, "max_iter": 27}, ()),
        ({"min_iter": 2, "max_iter": 27}, ("early_terminate.max_iter",)),
        ({"min_iter": None, "eta": None}, ()),
    ],
)
def test_ignored_keys_are_listed(early, ignored):
    """The local search is always strict."""
    more = {"metric": GOOD["metric"] | {"target": 0.9}, "early_terminate": {"type": "hyperband"} | early, "name": "x"}
    sweep = read_sweep(GOOD | more)
    assert sweep.ignored == ("name", *ignored)
    assert min(sweep.early_terminate.values()) >= 1  # also where a key is left blank


def test_what_wandb_accepts_is_read_as_there():
    """Numbers as text, names in other spellings, hyperband's other parameters, a finite range as a grid."""
    parameters = {
        "learning_rate": {"values": ["1e-3", "1E-4"]}, "hidden_size": {"values": ["128,64", [32, 16]]},
        "loss": {"values": ["mse", "crossentropy"]}, "optimizer": {"values": ["Nesterov", "ADAM"]},
        "weight_init": {"value": "glorot"}, "activation": {"values": ["relu"], "probabilities": [1]},
        "num_layers": {"min": 1, "max": 3}, "patience": {"values": [None, 3]}, "dataset": {"value": "Fashion-MNIST"},
    }  # fmt: skip
    early = {"type": "hyperband", "s": 2, "eta": 3, "max_iter": 27}
    sweep = read_sweep({"method": "grid", "parameters": parameters, "early_terminate": early})
    assert {name: given.get("values", given.get("value")) for name, given in sweep.parameters.items()} == {
        "learning_rate": [0.001, 0.0001], "hidden_size": [(128, 64), (32, 16)],
        "loss": ["mean_squared_error", "cross_entropy"], "optimizer": ["nag", "adam"], "weight_init": "Xavier",
        "activation": ["ReLU"], "num_layers": [1, 2, 3], "patience": [None, 3], "dataset": "fashion_mnist",
    }  # fmt: skip
    assert sweep.early_terminate == {"min_iter": 3, "eta": 3}
    assert (sweep.metric, sweep.goal) == ("val_accuracy", "maximize")
    assert sweep.ignored == ("parameters.activation.probabilities",)


NAMES = {  # as in other people's sweep files
    "hidden_layer_size": "hidden_size", "num_hidden_layers": "num_layers", "activation_function": "activation",
    "lr": "learning_rate", "num_epochs": "epochs", "hidden_layers": "num_layers", "opt": "optimizer",
    "weight_initialisation": "weight_init", "weight_initialization": "weight_init", "eta": "learning_rate",
    "batchSize": "batch_size", "Learning-Rate": "learning_rate", "optimizers": "optimizer",
    "weightDecay": "weight_decay", "neurons": "hidden_size", "no_of_layers": "num_layers", "n_epochs": "epochs",
    "init": "weight_init", "loss_function": "loss", "beta_1": "beta1",
}  # fmt: skip


def test_all_problems_are_named_at_once_with_what_was_meant(tmp_path):
    path = tmp_path / "other.yaml"
    content = {
        "method": "hyper", "metric": {"name": "validation_accuracy", "goal": "maximize"}, "run_cap": "many",
        "parameters": {name: {"values": [1]} for name in NAMES} | {"epochs": {"values": [0, 5, "ten"]}},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content), "utf-8")
    with pytest.raises(ValueError, match=r"other\.yaml: 25 problems:") as caught:
        read_sweep(path)
    lines = str(caught.value).splitlines()[1:]
    for name, meant in NAMES.items():
        assert f"  - parameters.{name} is an unknown hyperparameter; did you mean {meant}?" in lines
    for words in ("method='hyper'", "did you mean val_accuracy?", "run_cap='many'", "epochs=0", "epochs='ten'"):
        assert sum(words in line for line in lines) == 1


MORE_NAMES = {
    "learningRate": "learning_rate", "optimiser": "optimizer", "layers": "num_layers", "units": "hidden_size",
    "activation_fn": "activation", "l2_reg": "weight_decay", "loss_fn": "loss", "max_epochs": "epochs",
    "hidden_units": "hidden_size", "step_size": "learning_rate", "alpha": "learning_rate", "nhl": "num_layers",
    "sz": "hidden_size", "mini_batch_size": "batch_size", "ep": "epochs", "act": "activation", "wi": "weight_init",
    "reg": "weight_decay", "criterion": "loss", "beta_2": "beta2", "eps": "epsilon", "gamma": "momentum",
    "activations": "activation", "epoch": "epochs", "Learning Rate": "learning_rate", "Batch-Size": "batch_size",
    "Epochs": "epochs", "num_neurons": "hidden_size", "hidden_layer_sizes": "hidden_size", "dropout_rate": "dropout",
    "random_state": "seed", "lambda": "weight_decay", "n_hidden_layers": "num_layers", "bs": "batch_size",
    "wd": "weight_decay", "val_acc": "val_accuracy", "validation_accuracy": "val_accuracy", "accuracy": "val_accuracy",
    "Val/Accuracy": "val_accuracy", "valid_acc": "val_accuracy", "validation_loss": "val_loss",
}  # fmt: skip


def test_sweep_files_of_other_people_need_one_round_at_most():
    """Each is accepted, or one message names what is unknown in it; with the right names it is accepted."""
    known, right, unknown, accepted = NAMES | MORE_NAMES, 0, 0, 0
    for content in yaml.safe_load_all(Path(__file__).with_name("sweep_files.yaml").read_text("utf-8")):
        names = [*content["parameters"], content.get("metric", {}).get("name")]
        wrong = [name for name in names if name in known]
        try:
            read_sweep(content)
            accepted += 1
        except ValueError as error:
            lines = str(error).splitlines()
            for name in wrong:
                (line,) = [line for line in lines if f"{name} is an unknown" in line]
                right += f"did you mean {known[name]}?" in line
        unknown += len(wrong)
        content["parameters"] = {known.get(name, name): value for name, value in content["parameters"].items()}
        if "metric" in content:
            content["metric"]["name"] = known.get(content["metric"]["name"], content["metric"]["name"])
        assert read_sweep(content).parameters
    assert accepted >= 7
    assert right >= 0.9 * unknown
    assert unknown >= 50


# The keys of W&B's JSON schema of a sweep (github.com/wandb/sweeps, src/sweeps/config/schema.json)
SCHEMA = {
    "": "apiVersion kind controller description program job image_uri entity project method command name run_cap "
    "metric metrics early_terminate parameters scheduler",
    "metric.": "name goal target impute impute_while_running",
    "early_terminate.": "type max_iter min_iter s eta strict",
    "parameters.NAME.": "value values min max q mu sigma a b probabilities distribution parameters",
}


def test_table_has_every_key_of_wandb():
    table, prefix = set(), ""
    for row in (ROOT / "helpers/search/README.md").read_text("utf-8").splitlines():
        if row.startswith("| `program`"):
            ignored = re.findall(r"`(\w+)`", row)
            assert read_sweep(GOOD | dict.fromkeys(ignored, "x")).ignored == tuple(ignored)
        if row.startswith("| `"):
            for name in re.findall(r"`([^`]+)`", row.split("|")[1]):
                prefix = name.rpartition(".")[0] if "." in name or row.startswith(f"| `{name}`") else prefix
                table.add(name if "." in name or not prefix else f"{prefix}.{name}")
    for prefix, names in SCHEMA.items():
        missing = {prefix + name for name in names.split()} - table
        assert missing <= {"metric", "early_terminate", "parameters"}  # which have rows for their keys
    assert set(DISTRIBUTIONS) <= set(re.findall(r"`(\w+)`", (ROOT / "helpers/search/README.md").read_text("utf-8")))


def test_fingerprint_depends_only_on_what_is_searched():
    same = GOOD | {"program": "x.py", "run_cap": 3, "metric": GOOD["metric"] | {"target": 0.9, "impute": "best"}}
    other = GOOD | {"method": "bayes"}
    assert read_sweep(GOOD).fingerprint == read_sweep(same).fingerprint != read_sweep(other).fingerprint


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parameters": None}, "parameters is missing"),
        ({"parameters": {"learning_rate": {"values": ["1e-3x"]}}}, "learning_rate='1e-3x' must be a finite number"),
        (
            {
                "method": "grid",
                "parameters": {"seed": {"values": list(range(1001))}, "epochs": {"values": [*range(1, 1001)]}},
            },
            "the grid has 1,001,000 points; method grid allows 1,000,000: use random or bayes",
        ),
        (
            {"metric": {"name": "val_accuracy", "impute": "mean"}},
            "metric.impute='mean' is unknown; choose one of: latest, best, worst",
        ),
        ({"metric": {"name": "val_accuracy", "target": "high"}}, "metric.target='high' must be"),
        ({"early_terminate": {"type": "hyperband", "strict": "yes"}}, "early_terminate.strict='yes' must be"),
        ({"parameters": {}}, "parameters is missing"),
        ({"metric": {"name": "accuracy"}}, r"metric.name: accuracy is an unknown metric; did you mean val_accuracy\?"),
        ({"metric": {"name": "val_accuracy", "goal": "up"}}, "metric.goal='up'"),
        ({"metric": {"name": "val_accuracy"}}, "metric.goal is minimize, .* the worst val_accuracy; write goal: max"),
        ({"method": "bayes", "metric": None}, "metric is missing"),
        (
            {"parameters": {"weight_decay": {"min": 0.1, "max": 0.9, "distribution": "q_uniform"}}},
            "parameters.weight_decay: there is no multiple of q=1.0 between min=0.1 and max=0.9",
        ),
        ({"method": "hyper"}, "method='hyper' is unknown; choose one of: bayes, random, grid"),
        ({"method": None}, "method=None"),
        ({"method": "grid"}, "parameters.learning_rate has infinitely many values"),
        ({"budget": 3}, "budget is an unknown key"),
        ({"run_cap": 0}, "run_cap=0"),
        ({"early_terminate": {"type": "median"}}, "early_terminate=.*hyperband"),
        ({"early_terminate": {"type": "hyperband", "eta": 1}}, "early_terminate.eta=1"),
        (
            {"early_terminate": {"type": "hyperband", "min_iters": 5}},
            r"early_terminate.min_iters is .* mean min_iter\?",
        ),
        ({"parameters": {"lr": {"value": 1}}}, r"parameters.lr is an unknown .*; did you mean learning_rate\?"),
        ({"parameters": {"qqq": {"value": 1}}}, "parameters.qqq is an unknown .*; the names are: epochs"),
        ({"parameters": {"optimizer": {"values": ["eve"]}}}, "optimizer='eve' is unknown"),
        ({"parameters": {"optimizer": "adam"}}, "parameters.optimizer='adam' must have keys"),
        ({"parameters": {"optimizer": {"values": []}}}, "must be a list with at least one value"),
        (
            {"parameters": {"epochs": {"min": 3}}},
            "parameters.epochs has min; the distribution uniform needs min and max",
        ),
        ({"parameters": {"epochs": {"min": 3, "max": 1}}}, "min=3 must be below max=1"),
        ({"parameters": {"epochs": {"min": 0, "max": 4}}}, "epochs=0"),
        ({"parameters": {"epochs": {"mean": 4}}}, "parameters.epochs has mean; the distribution uniform"),
        ({"parameters": {"epochs": {"min": 1, "max": 4, "distribution": "normal"}}}, "distribution='normal'"),
        ({"parameters": {"optimizer": {"min": "adam", "max": "sgd"}}}, "optimizer cannot be uniform; use values"),
        ({"parameters": {"hidden_size": {"min": 8.5, "max": 9}}}, "hidden_size=8.5|hidden_size cannot be uniform"),
        ({"parameters": {"hidden_size": {"min": 8, "max": 9, "distribution": "uniform"}}}, "use int_uniform"),
        ({"parameters": {"patience": {"min": None, "max": 3}}}, "patience cannot be uniform; use int_uniform"),
        (
            {"parameters": {"weight_decay": {"min": 0, "max": 0.5, "distribution": "log_uniform_values"}}},
            "parameters.weight_decay: min must be above 0",
        ),
        ({"parameters": {"dataset": {"value": "cifar"}}}, "dataset='cifar'"),
        ({"parameters": {"hidden_size": {"values": [[8, 0]]}}}, "hidden_size=0"),
    ],
)
def test_read_sweep_rejects_invalid_content(change, words):
    with pytest.raises(ValueError, match=words):
        read_sweep(GOOD | change)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"method: [random\nmetric: 3", r"sweep\.yaml is not valid YAML: line 2"),
        (b"- a\n- b", r"sweep\.yaml: the content is list"),
        (b"\xff\xfe\x00", r"sweep\.yaml: 'utf-8' codec can't decode"),
        (b"", r"sweep\.yaml: the content is NoneType"),
        (b"!!python/object/apply:os.system ['true']", r"sweep\.yaml is not valid YAML"),
        (None, r"sweep\.yaml cannot be read: No such file"),
    ],
)
def test_read_sweep_rejects_invalid_file(tmp_path, content, words):
    path = tmp_path / "sweep.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_sweep(path)


@pytest.mark.parametrize("source", [None, 3, ["sweep.yaml"]])
def test_read_sweep_rejects_other_types(source):
    with pytest.raises(ValueError, match=r"source=.* must be the path"):
        read_sweep(source)
