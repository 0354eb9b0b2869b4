"""Compiled functions: bitwise the same as in NumPy; what the translation does not know runs in NumPy."""

import os
import runpy

import numpy as np
import pytest

from helpers.experiment import config  # noqa: F401 (registers its rules)
from helpers.nn.network import activate
from helpers.nn.optimizers import OPTIMIZERS, hyperparameters, init_state
from tests.support.environment import run_python

compiler = pytest.importorskip("helpers.speed.compile", reason="Numba is not installed, or --without-numba was given")


def run(function, other, dtype, **options):
    """Return the vectors after five updates."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=37).astype(dtype)
    state = init_state(other, theta)
    for t in range(1, 6):
        function(theta, rng.normal(size=37).astype(dtype), t, *state, **options)
    return [theta, *state]


def compiled_rule(rule, dtype=np.float32, **options):
    theta = np.ones(37, dtype)
    arguments = (theta, theta.copy(), 1, *init_state(rule, theta))
    return compiler.compile_function(rule, arguments, hyperparameters(rule) | options)


def lion(theta, g, t, m, *, learning_rate=0.0001, beta1=0.9, beta2=0.99):
    theta -= learning_rate * np.sign(beta1 * m + (1 - beta1) * g)
    m *= beta2
    m += (1 - beta2) * g


def everything(theta, g, t, m, v, *, learning_rate=0.01, bias=2):
    rate = learning_rate / bias**t
    step = np.where(abs(g) > 0.5, np.maximum(g, -rate), np.minimum(m, np.square(g) + 1))
    step *= -rate
    m[:] = step - np.sqrt(np.abs(v)) / 3
    v += np.sign(theta) * g**2
    theta += step


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", [*OPTIMIZERS.values(), lion, everything])
def test_rule_is_compiled_and_agrees(rule, dtype):
    """Also rules that are defined here: their source is available."""
    function = compiled_rule(rule, dtype)
    assert function is not rule
    for options in ({}, {"learning_rate": 0.1}):
        for ours, expected in zip(
            run(function, rule, dtype, **options), run(rule, rule, dtype, **options), strict=True
        ):
            np.testing.assert_array_equal(ours, expected)


BODIES = {
    "if": "if t > 1: theta -= learning_rate * g",
    "sum": "theta -= learning_rate * g / np.sqrt((g**2).sum())",
    "exponential": "theta -= learning_rate * np.tanh(g)",
    "alias": "u = m; u *= 2; u += g; theta -= learning_rate * u",
    "rebound": "theta = theta - learning_rate * g",
    "method": "m.fill(3); theta -= learning_rate * m",
    "output": "np.maximum(theta, learning_rate, theta)",
    "slice": "theta[1:] -= learning_rate * g[:-1]",
    "comparison": "theta -= learning_rate * np.where(g is None, g, m)",
    "result": "step = learning_rate * g; theta -= step; return step",
    "only a result": "return theta - learning_rate * g",
    "own name": "s0 = learning_rate; theta -= s0 * (learning_rate * g)",
}


def rule_with_body(folder, body):
    """Return a rule whose source is in a file."""
    path = folder / "rule.py"
    path.write_text(f"import numpy as np\ndef rule(theta, g, t, m, *, learning_rate=0.01):\n    {body}\n", "utf-8")
    return runpy.run_path(str(path))["rule"]


@pytest.mark.parametrize("name", BODIES)
def test_what_is_not_known_runs_in_numpy(name, tmp_path):
    rule = rule_with_body(tmp_path, BODIES[name])
    assert compiled_rule(rule) is rule


def test_constant_of_the_same_value_as_a_hyperparameter(tmp_path):
    rule = rule_with_body(tmp_path, "theta -= learning_rate * g; decay = 0.01; theta -= decay * theta")
    function = compiled_rule(rule)
    assert function is not rule
    for ours, expected in zip(
        run(function, rule, np.float32, learning_rate=0.5), run(rule, rule, np.float32, learning_rate=0.5), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


def test_function_with_a_default_runs_in_numpy():
    def leaky(A, slope=0.01):
        return np.where(A > 0, A, slope * A)

    arguments = np.ones((3, 2), np.float32), np.ones(2, np.float32), leaky
    assert compiler.compile_function(activate, arguments, {}) is activate


def test_numbers_of_numpy_and_rules_without_source_run_in_numpy(tmp_path):
    """np.float64(0.1) times a float32 array is a float64 array; a Python number takes the type of the array."""
    rule = rule_with_body(tmp_path, "theta -= learning_rate * g")
    assert compiled_rule(rule) is not rule
    assert compiled_rule(rule, learning_rate=np.float64(0.9)) is rule
    assert compiled_rule(rule, learning_rate=True) is rule
    namespace = {}
    exec("def rule(theta, g, t, *, learning_rate=0.1): theta -= learning_rate * g", namespace)
    assert compiled_rule(namespace["rule"]) is namespace["rule"]

    def closure(theta, g, t):
        theta -= len(namespace) * g

    assert compiled_rule(closure) is closure


@pytest.mark.parametrize("shape", [(1, 9), (7, 2), (1000, 130), (64, 128)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_column_sums_agree(shape, dtype):
    A, out = np.random.default_rng(0).normal(size=shape).astype(dtype), np.empty(shape[1], dtype)
    compiler.column_sums(A, out)
    np.testing.assert_array_equal(out, A.sum(axis=0))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [None, 10])
def test_training_without_a_usable_cache(tmp_path, limit):
    """No folder for it, or a full disk, which a limit on the size of files imitates: compiled in memory."""
    pytest.importorskip("resource", reason="Windows has no limits for a process")
    (tmp_path / "file").write_text("no folder")
    code = "from helpers import model_train; from tests.support.datasets import blobs\n"
    if limit:
        code += f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    code += "_, history = model_train(blobs(), epochs=1, hidden_size=4); print(history.attrs['engine'])"
    folder = tmp_path / ("cache" if limit else "file/none")
    result = run_python(code, env=os.environ | {"NUMBA_CACHE_DIR": str(folder), "HOME": str(tmp_path / "file")})
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "numba"
