"""The layers: which package may import which, what needs only NumPy, and no unsafe way to read a file."""

import ast
import sys
from pathlib import Path

import pytest

from tests.support.environment import run_python

ROOT = Path(__file__).parents[1]
MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): path
    for path in ROOT.glob("helpers/**/*.py")
    if path.parent.name != "__pycache__"  # the loops that helpers.speed writes
}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}

ALLOWED = {  # package: what else of helpers it may import; all others are commands, which may import everything
    "helpers.nn": (),
    "helpers.files": (),
    "helpers.speed": ("helpers.nn", "helpers.files"),
    "helpers.experiment": ("helpers.nn", "helpers.files", "helpers.speed"),
    "helpers.data": ("helpers.experiment", "helpers.files", "helpers.nn"),
    "helpers.search": ("helpers.data", "helpers.experiment", "helpers.files", "helpers.nn", "helpers.speed"),
    "helpers.lesson": ("helpers.data", "helpers.experiment", "helpers.files", "helpers.nn", "helpers.speed"),
}


def imports(tree):
    """Yield the full name of every module that is imported, and of every name that is imported from one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(name, packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("package", ALLOWED)
def test_package_imports_only_lower_layers(package):
    modules = [name for name in MODULES if inside(name, [package])]
    assert modules or package == "helpers.speed"  # which may be deleted
    for module in modules:
        ours = {name for name in imports(TREES[module]) if name in MODULES} - {"helpers"}
        assert not {name for name in ours if not inside(name, (package, *ALLOWED[package]))}, module


def test_speed_is_optional():
    """Only the training itself imports it, and each time in a `try`."""
    importers = {name for name in MODULES if any(inside(each, ["helpers.speed"]) for each in imports(TREES[name]))}
    assert {name for name in importers if inside(name, ["helpers.experiment"])} == {"helpers.experiment.run"}
    tree = TREES["helpers.experiment.run"]
    tries = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
    of_speed = [name for name in imports(tree) if inside(name, ["helpers.speed"])]
    assert of_speed == [name for node in tries for name in imports(node) if inside(name, ["helpers.speed"])]


def test_nn_is_short_and_needs_only_numpy():
    modules = [name for name in MODULES if inside(name, ["helpers.nn"])]
    assert sum(len(MODULES[name].read_text("utf-8").splitlines()) for name in modules) <= 600
    packages = {name.partition(".")[0] for module in modules for name in imports(TREES[module])}
    assert packages <= {"helpers", "numpy", *sys.stdlib_module_names}


@pytest.mark.slow
def test_nn_trains_where_only_numpy_is_installed():
    code = (
        "import sys\n"
        "class Nothing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] not in {'numpy', 'helpers', *sys.stdlib_module_names}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Nothing())\n"
        "import numpy as np; from helpers import nn; from helpers.nn import *\n"
        "params = intial_weights(1, 8, inputs=4, classes=2); rule = OPTIMIZERS['adam']\n"
        "state = TrainingState(params, init_state(rule, params.theta), np.random.default_rng(0))\n"
        "X = np.eye(4, dtype=np.float32); Y = X[:, :2] + X[:, 2:]\n"
        "train(state, X, Y, rule, epochs=200, learning_rate=0.05)\n"
        "print((forward_propagation(params, X, 'ReLU')[-1].argmax(axis=1) == Y.argmax(axis=1)).all(), len(nn.__all__))"
    )
    result = run_python(code, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("True ")


@pytest.mark.parametrize(
    ("package", "owners"),
    [
        ("wandb", ["helpers.tracking", "helpers.report"]),
        ("wandb_workspaces", ["helpers.report"]),
        ("matplotlib", ["helpers.lesson"]),
        ("optuna", ["helpers.search"]),
        ("numba", ["helpers.speed"]),
        ("threadpoolctl", ["helpers.speed"]),
    ],
)
def test_package_imported_by_its_owners_only(package, owners):
    if not any(inside(module, owners) for module in MODULES):
        pytest.skip("the owner was deleted: helpers.speed is optional")
    importers = {module for module, tree in TREES.items() if any(inside(name, [package]) for name in imports(tree))}
    assert importers
    assert all(inside(module, owners) for module in importers)


@pytest.mark.parametrize("unsafe", ["pickle", "eval", "exec", "load_all", "unsafe_load", "full_load"])
def test_unsafe_name_unused(unsafe):
    for module, tree in TREES.items():
        names = {getattr(node, "id", getattr(node, "attr", None)) for node in ast.walk(tree)}
        names |= {part for name in imports(tree) for part in name.split(".")}
        assert unsafe not in names or (module, unsafe) == ("helpers.speed.compile", "exec"), module


def test_files_read_without_pickle_and_with_safe_yaml_loader():
    for module, tree in TREES.items():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            function, source = ast.unparse(call.func), ast.unparse(call)
            assert function not in ("np.load", "numpy.load") or "allow_pickle=False" in source, module
            assert function != "yaml.load" or "SafeLoader" in source, module


def test_every_module_has_tests_of_its_name():
    """The tests mirror the packages: helpers/nn/loop.py is tested by tests/nn/test_loop.py."""
    others = {"helpers.experiment.more_optimizers": "tests/nn/test_optimizers.py"}
    for name in MODULES:
        if inside(name, ["helpers.nn", "helpers.experiment", "helpers.speed", "helpers.files"]) and name.count("."):
            *folders, module = name.split(".")[1:]
            if f"helpers.{module}" not in ALLOWED or module == "files":
                assert (ROOT / others.get(name, "/".join(["tests", *folders, f"test_{module}.py"]))).exists(), name
