"""The layers: which package may import which, which modules load slow packages, and no unsafe way to read a file."""

import ast
from pathlib import Path

import pytest

from tests.support.environment import run_python

ROOT = Path(__file__).parents[1]
MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path for path in ROOT.glob("helpers/**/*.py")
}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}

ALLOWED = {  # package: what else it may import from helpers
    "helpers.storage": (),
    "helpers.nn": ("helpers.storage",),
    "helpers.data": ("helpers.storage", "helpers.nn.validation"),
    "helpers.search": ("helpers.nn", "helpers.data", "helpers.storage"),
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
    assert len(modules) > 1
    for module in modules:
        ours = {name for name in imports(TREES[module]) if inside(name, ["helpers"]) and name != "helpers"}
        permitted = (package, *ALLOWED[package])
        # "from helpers.nn.validation import x" also gives the name helpers.nn.validation.x, which is inside, too
        assert not {name for name in ours if not inside(name, permitted)}, module


@pytest.mark.parametrize(
    ("package", "owners"),
    [
        ("wandb", {"helpers.tracking", "helpers.report"}),
        ("wandb_workspaces", {"helpers.report"}),
        ("matplotlib", {"helpers.plots"}),
        ("helpers.plots", {"helpers.plots", "helpers.interactive"}),
        ("helpers.interactive", {"helpers.interactive"}),
        ("helpers.exercises", {"helpers.exercises"}),
    ],
)
def test_package_imported_by_its_owners_only(package, owners):
    importers = {module for module, tree in TREES.items() if any(inside(name, [package]) for name in imports(tree))}
    assert importers <= owners


def test_import_nn_loads_no_slow_package():
    code = (
        "import sys, time; start = time.perf_counter(); import helpers.nn; print(time.perf_counter() - start)\n"
        "slow = {'pandas', 'sklearn', 'matplotlib', 'wandb', 'optuna', 'keras', 'numba', 'scipy'}\n"
        "print(sorted(slow & sys.modules.keys()))"
    )
    results = [run_python(code, cwd=ROOT) for _ in range(3)]
    assert all(result.returncode == 0 for result in results), results[0].stderr
    seconds, loaded = zip(*(result.stdout.splitlines() for result in results), strict=True)
    assert set(loaded) == {"[]"}
    assert min(map(float, seconds)) < 1  # 0.1 s on an idle machine


@pytest.mark.parametrize("unsafe", ["pickle", "eval", "exec", "load_all", "unsafe_load", "full_load"])
def test_unsafe_name_unused(unsafe):
    for module, tree in TREES.items():
        names = {getattr(node, "id", getattr(node, "attr", None)) for node in ast.walk(tree)}
        names |= {part for name in imports(tree) for part in name.split(".")}
        names |= {name for name in imports(tree) if name.startswith("joblib.")}
        assert unsafe not in names, module
        assert {name for name in names if str(name).startswith("joblib.")} <= {"joblib.cpu_count"}, module


def test_files_read_without_pickle_and_with_safe_yaml_loader():
    for module, tree in TREES.items():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            function, source = ast.unparse(call.func), ast.unparse(call)
            assert function not in ("np.load", "numpy.load") or "allow_pickle=False" in source, module
            assert function != "yaml.load" or "SafeLoader" in source, module


def test_every_module_of_lower_layers_named_in_tests():
    """Some test imports each module of nn, data and storage, by its own name or through its package."""
    tests = [ast.parse(path.read_text("utf-8")) for path in ROOT.glob("tests/**/*.py")]
    imported = {name for tree in tests for name in imports(tree)}
    packages = ("helpers.nn", "helpers.data", "helpers.storage")
    modules = [name for name in MODULES if inside(name, packages) and not name.endswith("__init__")]
    through_package = {
        "helpers.storage.archive": "helpers.storage.read_archive",
        "helpers.nn.compiled": "helpers.nn.engine.make_engine",
    }
    assert not [name for name in modules if not {name, through_package.get(name)} & imported]
