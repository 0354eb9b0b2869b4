"""The house keeps its order: who may import whom, and who alone may import what is heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parent.parent / "helpers"

ROOMS = {  # module: the helpers and the packages that it may import, the standard library aside
    "__init__": set(),
    "atomic": set(),
    "checks": {"numpy"},
    "console": set(),
    "functions": {"numpy"},
    "network": {"numpy", "helpers.checks", "helpers.functions"},
    "optimizers": {"numpy"},
    "processes": set(),
    "config": {"helpers.checks", "helpers.functions", "helpers.network", "helpers.optimizers"},
    "files": {"numpy", "sklearn", "helpers.atomic"},
    "data": {"numpy", "sklearn", "helpers.checks", "helpers.files"},
    "augmentation": {"helpers.checks"},
    "evaluation": {
        "numpy", "pandas", "sklearn", "helpers.augmentation", "helpers.checks", "helpers.functions", "helpers.network",
    },
    "learner": {
        "numpy", "helpers.augmentation", "helpers.evaluation", "helpers.functions", "helpers.network",
        "helpers.optimizers",
    },
    "training": {
        "numpy", "pandas", "threadpoolctl", "tqdm", "helpers.augmentation", "helpers.checks", "helpers.checkpoint",
        "helpers.config", "helpers.learner", "helpers.network",
    },
    "checkpoint": {"numpy", "helpers.atomic", "helpers.config", "helpers.network"},
    "predict": {"numpy", "PIL", "helpers.checkpoint", "helpers.console", "helpers.evaluation"},
    "space": {"yaml", "helpers.checks", "helpers.config", "helpers.files"},
    "grid": {"helpers.study"},
    "study": {"optuna", "pandas", "sklearn", "helpers.config"},
    "sweep": {
        "optuna", "helpers.atomic", "helpers.checks", "helpers.console", "helpers.data", "helpers.grid",
        "helpers.learner", "helpers.processes", "helpers.space", "helpers.study", "helpers.training",
    },
    "recipes": {
        "numpy", "pandas", "helpers.atomic", "helpers.config", "helpers.console", "helpers.data", "helpers.evaluation",
        "helpers.learner", "helpers.processes", "helpers.training",
    },
    "recording": {"numpy", "wandb"},
    "train": {
        "tqdm", "helpers.checkpoint", "helpers.checks", "helpers.config", "helpers.console", "helpers.data",
        "helpers.evaluation", "helpers.files", "helpers.learner", "helpers.recording", "helpers.training",
    },
    "plots": {"numpy", "matplotlib", "IPython"},
}  # fmt: skip


TESTED_ELSEWHERE = {"__init__": None, "config": "checks", "study": "sweep"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "helpers":
            names = [f"helpers.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        else:
            continue
        for name in names:
            if name.split(".")[0] not in sys.stdlib_module_names:
                yield name if name.startswith("helpers") else name.split(".")[0]


def test_every_module_is_in_the_table():
    assert {path.stem for path in HELPERS.glob("*.py")} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_table_allows(room):
    assert set(imports(HELPERS / f"{room}.py")) <= ROOMS[room]


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_has_its_test(room):
    assert room in TESTED_ELSEWHERE or (Path(__file__).parent / f"test_{room}.py").exists()


def test_training_starts_without_what_is_slow_to_import():
    code = "import sys, helpers.training; print({'pandas', 'sklearn', 'matplotlib', 'keras', 'scipy'} & {*sys.modules})"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


@pytest.mark.parametrize("unsafe", ["pickle", "joblib", "eval", "exec", "load_all", "unsafe_load", "full_load"])
def test_nothing_here_could_run_what_a_file_says(unsafe):
    """Arrays are read without pickle, YAML by safe_load; archives are NumPy's and gzip's alone."""
    for path in HELPERS.glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        names = {getattr(node, "id", getattr(node, "attr", None)) for node in ast.walk(tree)}
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names |= {getattr(node, "module", None), *(alias.name for alias in node.names)}
        assert unsafe not in names
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if ast.unparse(call.func) == "np.load":
                assert "allow_pickle=False" in ast.unparse(call)
            assert ast.unparse(call.func) != "yaml.load" or "SafeLoader" in ast.unparse(call)
