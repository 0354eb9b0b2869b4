"""Fixtures of all tests. No test needs a network, an account or the full data."""

import os
from pathlib import Path

os.environ["CI"] = "true"  # no progress bars
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import signal
import sys
import tempfile

import matplotlib
import pytest
from hypothesis import settings

from helpers.data import load_data
from helpers.experiment import stopping
from tests.support.datasets import blobs, sample_arrays
from tests.support.environment import NO_NETWORK

ROOT = Path(__file__).parents[1]
QUESTIONS = {  # the tests behind each question of the assignment: `pytest -m q3`
    "q1": ("tests/data/", "tests/lesson/test_figures.py"),
    "q2": ("tests/nn/test_network.py", "tests/nn/test_functions.py", "tests/nn/test_initialization.py"),
    "q3": ("tests/nn/test_network.py", "tests/nn/test_optimizers.py", "tests/nn/test_loop.py"),
    "q4": ("tests/search/", "tests/commands/test_tracking.py", "tests/commands/test_train.py"),
    "q5": ("tests/search/test_search.py",),
    "q6": ("tests/search/test_search.py", "tests/lesson/test_figures.py"),
    "q7": ("tests/experiment/test_metrics.py", "tests/commands/test_predict.py"),
    "q8": ("tests/nn/test_functions.py",),
    "q9": ("tests/test_layering.py", "tests/data/"),
    "q10": ("tests/notebook/",),
}

# A background job of a shell ignores SIGINT, and nohup SIGHUP; the tests' child processes would inherit that.
for name, handler in {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}.items():
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_IGN:
        signal.signal(getattr(signal, name), handler)

matplotlib.use("agg")  # not by an environment variable, which the notebook's kernel would inherit


def pytest_addoption(parser):
    """Add --without-numba, with which the tests of this process see no Numba."""
    parser.addoption("--without-numba", action="store_true", help="test the NumPy engine alone")
    parser.addoption("--short-trainings", action="store_true", help="run the notebook briefly, on the sample")


def pytest_configure(config):
    """Hide Numba if asked to: an import of it then fails as where it is not installed."""
    if config.getoption("--without-numba"):
        sys.modules["numba"] = None
    if config.getoption("--short-trainings"):  # few random examples, and a file that IPython runs when a kernel starts
        settings.register_profile("short", settings.get_profile("ci"), max_examples=10)
        settings.load_profile("short")
        folder = tempfile.TemporaryDirectory(prefix="ipython-", ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        startup = Path(folder.name, "profile_default", "startup")
        startup.mkdir(parents=True)
        (startup / "short.py").write_bytes((ROOT / "tests/support/short_trainings.py").read_bytes())
        os.environ["IPYTHONDIR"] = folder.name


def pytest_collection_modifyitems(items):
    """Mark the tests behind each question, and the cells of the notebook, which nbval collects, as slow."""
    for item in items:
        path = item.path.relative_to(ROOT).as_posix()
        for question, paths in QUESTIONS.items():
            if path.startswith(paths):
                item.add_marker(question)
        if item.path.suffix == ".ipynb":
            item.add_marker("slow")
            item.add_marker("notebook")
            item.add_marker(pytest.mark.timeout(1600))
            item.output_timeout = 600  # seconds in which an output must arrive; nbval's 5 are few on a busy machine
            item.parent.skip_compare = {*item.parent.skip_compare, "stderr"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Fail a cell that printed a warning or a traceback; what else a busy kernel prints to standard error may vary."""
    result = yield
    for output in getattr(item, "test_outputs", None) or ():
        text = output["text"] if output.get("name") == "stderr" else ""
        assert not any(word in text for word in ("Warning", "Traceback")), text
    return result


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def forgotten_signals(monkeypatch):
    """A signal that a test sends is the first one: that of the test before does not count."""
    monkeypatch.setattr(stopping.FLAG, "time", -stopping.AGAIN)


@pytest.fixture(scope="session")
def sample():
    """The sample of Fashion-MNIST that ships with the package: 5,400 + 600 + 1,000 images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("helpers.data.load_raw", lambda dataset, allow_sample: (*sample_arrays(dataset), "sample"))
        return load_data("fashion_mnist")


@pytest.fixture
def data():
    return blobs()
