"""sweep.yaml: this project's is understood word by word, and what is wrong in another is named."""

from pathlib import Path

import pytest
import yaml

from helpers import space
from helpers.train import read_arguments

SWEEP = Path(__file__).parent.parent / "sweep.yaml"
GOOD = {
    "method": "random",
    "metric": {"name": "val_accuracy", "goal": "maximize"},
    "parameters": {"learning_rate": {"min": 0.001, "max": 0.1}},
}


def test_the_projects_sweep_is_the_courses_grid():
    spec = space.read(SWEEP)
    assert (spec.method, spec.metric, spec.goal) == ("bayes", "val_accuracy", "maximize")
    values = {name: given["values"] for name, given in spec.parameters.items()}
    assert values.pop("optimizer") == ["sgd", "momentum", "nag", "rmsprop", "adam", "nadam"]
    assert values == {
        "epochs": [5, 10], "num_layers": [3, 4, 5], "hidden_size": [32, 64, 128], "weight_decay": [0, 0.0005, 0.5],
        "learning_rate": [0.001, 0.0001], "batch_size": [16, 32, 64], "weight_init": ["random", "Xavier"],
        "activation": ["sigmoid", "tanh", "ReLU"],
    }  # fmt: skip
    assert spec.early_terminate == {"min_iter": 2, "eta": 2}
    assert spec.run_cap == 200
    assert spec.left_out == ("program", "command", "project")


def test_every_name_and_value_of_the_sweep_is_a_flag_of_the_command_line():
    for name, given in yaml.safe_load(SWEEP.read_text("utf-8"))["parameters"].items():
        for value in given["values"]:
            assert read_arguments([f"--{name}={value}"])[name] == value


def test_the_agents_command_starts_this_module_from_the_root():
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
def test_the_distribution_follows_from_what_is_given(given, distribution):
    spec = space.read(GOOD | {"parameters": {"learning_rate" if "distribution" in given else "epochs": given}})
    assert next(iter(spec.parameters.values()))["distribution"] == distribution


def test_what_only_w_and_b_honours_is_named():
    more = {"metric": GOOD["metric"] | {"target": 0.9}, "early_terminate": {"type": "hyperband", "s": 2}, "name": "x"}
    assert space.read(GOOD | more).left_out == ("name", "metric.target", "early_terminate.s")


def test_a_fingerprint_tells_searches_apart_and_ignores_what_does_not_matter():
    same = GOOD | {"program": "x.py", "run_cap": 3}
    other = GOOD | {"method": "bayes"}
    assert space.read(GOOD).fingerprint == space.read(same).fingerprint != space.read(other).fingerprint


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parameters": None}, "parameters is missing"),
        ({"parameters": {}}, "parameters is missing"),
        ({"metric": None}, "metric is missing"),
        ({"metric": {"name": "accuracy"}}, "metric.name='accuracy' is unknown.*val_accuracy"),
        ({"metric": {"name": "val_accuracy", "goal": "up"}}, "metric.goal='up'"),
        ({"method": "hyper"}, "method='hyper' is unknown; choose one of: bayes, random, grid"),
        ({"method": None}, "method=None"),
        ({"method": "grid"}, "parameters.learning_rate has no end of values"),
        ({"budget": 3}, "budget is an unknown key"),
        ({"run_cap": 0}, "run_cap=0"),
        ({"early_terminate": {"type": "median"}}, "early_terminate=.*hyperband"),
        ({"early_terminate": {"type": "hyperband", "eta": 1}}, "early_terminate.eta=1"),
        ({"parameters": {"lr": {"value": 1}}}, "parameters.lr is unknown; the settings are: dataset, epochs"),
        ({"parameters": {"optimizer": {"values": ["eve"]}}}, "optimizer='eve' is unknown"),
        ({"parameters": {"optimizer": "adam"}}, "parameters.optimizer='adam' must be keys"),
        ({"parameters": {"optimizer": {"values": []}}}, "must be a list with something in it"),
        (
            {"parameters": {"epochs": {"min": 3}}},
            "parameters.epochs has min; for the distribution uniform it must have min and max",
        ),
        ({"parameters": {"epochs": {"min": 3, "max": 1}}}, "min=3 must be below max=1"),
        ({"parameters": {"epochs": {"min": 0, "max": 4}}}, "epochs=0"),
        ({"parameters": {"epochs": {"mean": 4}}}, "parameters.epochs has mean; for the distribution uniform"),
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
def test_what_is_wrong_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        space.read(GOOD | change)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"method: [random\nmetric: 3", r"sweep\.yaml is not YAML: line 2"),
        (b"- a\n- b", r"sweep\.yaml: it holds list"),
        (b"\xff\xfe\x00", r"sweep\.yaml: 'utf-8' codec can't decode"),
        (b"", r"sweep\.yaml: it holds NoneType"),
        (b"!!python/object/apply:os.system ['true']", r"sweep\.yaml is not YAML"),
    ],
)
def test_a_file_that_is_no_sweep_is_named_with_its_line(tmp_path, content, words):
    path = tmp_path / "sweep.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        space.read(path)


@pytest.mark.parametrize("source", [None, 3, ["sweep.yaml"]])
def test_what_is_neither_a_path_nor_a_dict_is_named(source):
    with pytest.raises(ValueError, match=r"source=.* must be the path"):
        space.read(source)


def test_wide_layers_are_allowed_where_there_are_few():
    parameters = {"num_layers": {"value": 1}, "hidden_size": {"values": [6000]}}
    assert space.read(GOOD | {"parameters": parameters}).parameters["hidden_size"]["values"] == [6000]


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"nowhere\.yaml cannot be read: No such file"):
        space.read("nowhere.yaml")
