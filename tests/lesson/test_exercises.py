"""The exercises: each solution is accepted, and typical mistakes are explained in words."""

import ast
import inspect
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers import model_train
from helpers.experiment.metrics import predict
from helpers.lesson import claim, clinic, exercises, figures, recording
from helpers.nn import intial_weights, optimizers

CELLS = json.loads((Path(__file__).parents[2] / "DL_Assignment1.ipynb").read_text("utf-8"))["cells"]
SOURCES = ["".join(cell["source"]) for cell in CELLS]
TRIES = [i for i, source in enumerate(SOURCES) if re.search(r"\*\*Try it \d+", source)]


@pytest.fixture(scope="module")
def namespace(sample):
    """What the cells before the exercises define."""
    params, _ = model_train(sample, epochs=1, num_layers=1, hidden_size=8)
    matrix = np.arange(100).reshape(10, 10) * 7 % 10
    names = dict(np=np, clinic=clinic, exercises=exercises, data=sample, params=params, predict=predict)
    return names | dict(prediction={"activation": "ReLU"}, matrix=matrix, names=list(sample.class_names))


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr(figures, "lines", lambda *arguments, **options: None)


def run(code, namespace):
    exec(compile(code, "cell", "exec"), namespace)


def statements(cell, checks=False):
    """Return the statements of a cell, without its figures; with `checks`, only its checks."""
    lines = [ast.unparse(node) for node in ast.parse(cell).body]
    kept = (
        re.match(r"\w+\.check_", line) is not None if checks else not line.startswith("interactive.") for line in lines
    )
    return "\n".join(line for line, keep in zip(lines, kept, strict=True) if keep)


def test_there_are_exercises_in_order():
    numbers = [int(re.search(r"\*\*Try it (\d+)", SOURCES[i])[1]) for i in TRIES]
    assert numbers == list(range(1, len(TRIES) + 1))
    assert len(TRIES) == 13


@pytest.mark.parametrize("i", TRIES, ids=lambda i: re.search(r"Try it (\d+)", SOURCES[i])[0])
def test_solution_is_accepted_and_the_delivered_cell_not_attempted(i, namespace, capsys):
    namespace = dict(namespace)
    run(statements(SOURCES[i + 1]), namespace)
    delivered = capsys.readouterr().out.splitlines()
    assert delivered
    assert set(delivered) == {"Not attempted yet."}
    assert SOURCES[i + 2].startswith("<details><summary>Solution</summary>")
    [solution] = re.findall(r"```python\n(.+?)```", SOURCES[i + 2], re.DOTALL)
    run(solution, namespace)
    run(statements(SOURCES[i + 1], checks=True), namespace)
    assert capsys.readouterr().out.splitlines() == ["Correct."] * len(delivered)


def layer(change=lambda dW, db, dH: (dW, db, dH)):
    return lambda H, W, dA: change(H.T @ dA, dA.sum(axis=0), dA @ W.T)


GARMENTS = ["Coat", "Shirt", "Dress", "Bag"]
COUNTS = np.array([[0] * 4, [5, 90, 2, 3], [0] * 4, [0] * 4])
TIED = np.array([[0] * 4, [2, 90, 2, 6], [0] * 4, [0] * 4])


@pytest.mark.parametrize(
    ("check", "arguments", "message"),
    [
        ("derivative", (np.tanh, lambda H: 1 - np.tanh(H) ** 2), "right in terms of a; write it in terms of h"),
        ("derivative", (np.tanh, lambda H: H**2 - 1), "the derivative has the wrong sign"),
        ("derivative", (np.tanh, lambda H: 1), r"the derivative has the shape \(\); it must have that of H, \(13,\)"),
        ("derivative", (np.tanh, lambda H: 1 / 0), "your code raises ZeroDivisionError"),
        ("number", ("squared error", "0.09"), "'0.09' is not a number"),
        ("number", ("squared error", True), "True is not a number"),
        ("number", ("loss of 100 classes", 2.3), "2.3 is not the answer. Each of the 100 classes"),
        ("number", ("parameters", 109_385), "109385 is not the answer. Add the weights"),
        ("standard_deviation", (0.05, 512), "shrink to 0.11 times their size in 10 layers"),
        ("standard_deviation", (0.06, 512), "shrink to 0.66 times"),
        ("output_gradient", (lambda Y_hat, Y: Y_hat - Y,), "dA is 5 times too large, and there are 5 samples"),
        ("output_gradient", (lambda Y_hat, Y: (Y_hat - Y) / 25,), "5 times too small"),
        ("output_gradient", (lambda Y_hat, Y: (Y_hat - Y) / 5,), "with 5 samples it is correct, but with 7: dA"),
        ("output_gradient", (lambda Y_hat, Y: None,), "dA is None. Does the function return it?"),
        ("output_gradient", (lambda Y_hat, Y: 0 * Y_hat / 0,), "NaN or infinity"),
        ("layer_gradients", (layer(lambda dW, db, dH: (dW.T, db, dH)),), r"shape \(3, 4\); it must have \(4, 3\)"),
        ("layer_gradients", (layer(lambda dW, db, dH: (dW / 5, db, dH)),), "dW is 5 times too small, and"),
        ("layer_gradients", (layer(lambda dW, db, dH: (dW, db[None], dH)),), "Over which axis must the sum run"),
        ("layer_gradients", (layer(lambda dW, db, dH: (dW, db, dH + 1)),), r"dH\[\d, \d\] is .+; the num"),
        ("layer_gradients", (layer(lambda dW, db, dH: (dW, dH.sum(axis=1), dH)),), "Over which axis must the sum run"),
        ("layer_gradients", (layer(lambda dW, db, dH: (dH, dW, db)),), "in another order: return dW, db, dH"),
        ("layer_gradients", (lambda H, W, dA: H.T @ dA,), "must return three arrays"),
        ("layer_gradients", (lambda H, W, dA: (H @ dA, 0, 0),), "ValueError: matmul.*is a transpose mis"),
        ("optimizer", (optimizers.adam, exercises.eve), r"between t and \*, is m, v; it must be m, v, d, f"),
        ("confusions", ({"Shirt", "Coat"}, COUNTS, GARMENTS, "Shirt"), "not correct: Shirt. Read the row of Shirt"),
        ("confusions", ({"Dress", "Coat"}, COUNTS, GARMENTS, "Shirt"), "not correct: Dress. Read the row of Shirt"),
        ("confusions", ("Coat", COUNTS, GARMENTS, "Shirt"), "two names are asked for, and there are 1"),
        ("confusions", ({"Coat", "Dress"}, TIED, GARMENTS, "Shirt"), "another class is predicted more often"),
        ("confusions", (["Coats", 2], COUNTS, GARMENTS, "Shirt"), "unknown: 'Coats', 2. Write the names as texts: 'C"),
        ("derivative", (np.tanh, lambda H: H * (1 - H)), "at a = .+, where h = .+, it is .+; the numerical"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(check, arguments, message, capsys):
    with np.errstate(all="ignore"):
        getattr(exercises, f"check_{check}")(*arguments)
    printed = capsys.readouterr().out
    assert printed.startswith("Not yet: ")
    assert re.search(message, printed)


@pytest.mark.parametrize(
    ("check", "arguments"),
    [
        ("number", ("loss of 100 classes", np.array(4.605))),
        ("number", ("parameters", 109_386.0)),
        ("standard_deviation", (0.0625, 512)),
        ("layer_gradients", (layer(lambda *gradients: list(gradients)),)),
        ("confusions", (("bag", "Coat "), COUNTS, GARMENTS, "Shirt")),
        ("confusions", (("Bag", "Dress"), TIED, GARMENTS, "Shirt")),
    ],
)
def test_unusual_answers_are_accepted(check, arguments, capsys):
    getattr(exercises, f"check_{check}")(*arguments)
    assert capsys.readouterr().out == "Correct.\n"


def test_check_shift(namespace, capsys):
    arguments = [namespace[name] for name in ("params", "data", "prediction")]
    printed = []
    for pixels in range(29):
        exercises.check_shift(pixels, *arguments)
        printed.append(capsys.readouterr().out)
    smallest = printed.index("Correct.\n")
    assert printed.count("Correct.\n") == 1
    assert smallest > 0
    assert all("the prediction is the same" in line for line in printed[:smallest])
    assert "changes, but so it does with fewer" in printed[27]
    assert "28 is not an integer from 0 to 27" in printed[28]


def own(data, output=lambda Y_hat, Y: (Y_hat - Y) / len(Y), gradients=None, rate=1, fixed=False):
    """Train with the functions of a reader, whose mistake is in one of these."""

    def update(theta, g, learning_rate):
        theta -= rate * g if fixed else rate * learning_rate * g

    exercises.check_training(data, output, gradients or layer(), update, images=500)


@pytest.mark.parametrize(
    "mistake",
    [
        {"output": lambda Y_hat, Y: (Y_hat - Y) / 10},
        {"gradients": layer(lambda dW, db, dH: (dW, db / 50, dH))},
        {"rate": -1},
        {"rate": 0.1, "fixed": True},  # the learning rate of the loop above
    ],
)
def test_own_training_differs_with_a_mistake(mistake, sample, capsys):
    own(sample, **mistake)
    assert re.search("the loss differs from that of the package from step 2 on", capsys.readouterr().out)


def test_diagnosis_names_the_wrong_ones(capsys):
    clinic.check_diagnosis(clinic.PATIENTS | {"B": "no mask", "D": "no penalty"})
    clinic.check_diagnosis(clinic.PATIENTS | {"A": "tired"})
    clinic.check_diagnosis({"f": "No Transpose "} | dict.fromkeys("ABCDE", ...))
    clinic.check_diagnosis({name.lower(): cause.upper() for name, cause in clinic.PATIENTS.items()})
    first, second, third, fourth = capsys.readouterr().out.splitlines()
    assert third == "Not yet: A, B, C, D, E are still open."
    assert fourth == "Correct."
    assert "not correct: B, D. Which of the gradients are wrong" in first
    assert "unknown: 'tired'. The causes are: 'no 1/N'" in second


def test_the_gradient_check_finds_every_mistake_of_the_clinic_and_none_without(sample, monkeypatch):
    assert sorted(clinic.PATIENTS.values()) == sorted(clinic.CAUSES)
    assert max(clinic.gradient_errors().values()) < 1e-7
    for patient in clinic.PATIENTS:
        assert max(clinic.gradient_errors(patient).values()) > 0.001
    assert max(clinic.gradient_errors("D", dropout=False).values()) < 1e-7
    monkeypatch.setattr(clinic, "IMAGES", 500)
    curve = clinic.train(sample, epochs=2)
    assert list(curve.index) == [20]
    assert curve.iloc[0] < 2.3


def test_guesses_are_compared_and_counted(monkeypatch, capsys):
    monkeypatch.setattr(exercises, "GUESSES", {})
    exercises.score()
    exercises.compare("accuracy", ..., 0.8412)
    exercises.compare("accuracy", "0.8", 0.8412, within=0.05)
    exercises.compare("lead", "five", 1.5, within=1)
    exercises.compare("class", " shirt", "Shirt")
    exercises.compare("best optimizer", "sgd", "nadam")
    exercises.score()
    printed = capsys.readouterr().out
    assert "You made no guesses" in printed
    assert "accuracy: 0.84. You made no guess." in printed
    assert "accuracy: 0.84. You guessed 0.8: close." in printed
    assert "best optimizer: nadam. You guessed sgd: a surprise." in printed
    assert "2 of your 4 guesses were close." in printed
    assert printed.endswith("where you were surprised: lead; best optimizer.\n")


def test_record_measures_every_few_steps(sample):
    table, weights = recording.record(sample, steps=6, every=3, activation="tanh", hidden_size=8)
    assert list(table.index) == list(weights) == [0, 3, 6]
    assert table["dead"].eq(0).all()
    assert table["gradient_1"].gt(0).all()
    params = intial_weights(3, 8, "He", dtype=sample.x_train.dtype)
    assert np.array_equal(weights[0], params.layers[0][0])
    same = recording.record(sample, steps=6, every=2, activation="tanh", hidden_size=8)[0]
    assert same.loc[6].drop("ratio").equals(table.loc[6].drop("ratio"))
    zeros = recording.record(sample, steps=6, every=3, activation="sigmoid", weight_init="zeros")[0].filter(like="unit")
    assert np.ptp(zeros, axis=1).max() < 1e-7


@pytest.mark.parametrize("rule", ["sgd", "momentum", "nag", "rmsprop", "adam", "nadam"])
def test_check_optimizer_accepts_the_rules_of_the_package(rule, capsys):
    exercises.check_optimizer(getattr(optimizers, rule), getattr(optimizers, rule))
    assert capsys.readouterr().out == "Correct.\n"


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (1e-6, "it is far too small"),
        (0.001, "it is too small"),
        (1e6, "training diverges with 1e"),
        (0.25, "it is too large"),
        (0.1, "Correct."),
    ],
)
def test_check_learning_rate(rate, message, sample, capsys):
    exercises.check_learning_rate(sample, rate)
    assert message in capsys.readouterr().out


def test_claim_holds_on_complete_results_of_the_full_data(data, capsys):
    _, history = model_train(data, epochs=1, num_layers=1, hidden_size=4)
    claim(True, data, history)
    claim(True, data, {"a": [history], "b": [history, history]}, history)
    with pytest.raises(AssertionError, match="the result differs from the text"):
        claim(False, data, history)
    claim(False, replace(data, published=False), history)
    assert "these are the results of blobs" in capsys.readouterr().out
    history.attrs["interrupted"] = True
    for training in (history, {"a": [history]}):
        claim(False, data, training)
        assert "a training was stopped early" in capsys.readouterr().out


def eve_with(old, new):
    """Return Eve with a changed line."""
    source = inspect.getsource(exercises.eve)
    assert old in source
    namespace = {"np": np}
    exec(source.replace(old, new), namespace)
    return namespace["eve"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1 / c, c)", "0, np.inf)", "after update 3, d[0] is 1.013; it must be 1.009"),
        ("np.minimum(loss, f)", "f", "after update 2, d[0] is 0.9995; it must be 1."),
        ("beta3 * d + (1 - beta3)", "beta2 * d + (1 - beta2)", "with other hyperparameters, after update 3, d[0] is"),
        ("if t == 1:", "if False:", "after update 1, d[0] is "),
        ("d[:] = beta3", "d = beta3", "after update 3, d[0] is 1; it must be 1.009. Is the equation"),
        ("f[:] = loss", "f = loss", "the state f is still zero after the update. Update it in place"),
        ("learning_rate / d *", "learning_rate *", "the state is correct, and update 3 is 1.009 times"),
        ("m_hat, v_hat = m / (1 - beta1**t)", "m_hat, v_hat = m", "the state is correct, and update 1 is 0.1 times"),
        ("theta -=", "theta +=", "the step has the wrong sign"),
        (", m, v, d, f, *", ", v, m, f, d, *", None),
        ("(np.sqrt(v_hat) + epsilon)", "np.sqrt(v_hat + epsilon)", "with gradients of 1e-8, as small as ε, the state"),
        ("theta -= learning_rate", "theta = theta - learning_rate", "theta has not changed. Update it in place"),
    ],
)
def test_mistakes_in_eve_are_explained(old, new, message, capsys):
    with np.errstate(all="ignore"):
        exercises.check_optimizer(eve_with(old, new))
    assert capsys.readouterr().out.startswith(f"Not yet: {message}" if message else "Correct.")


def test_eve_by_hand():
    """With β₃ = 0.9, d is 0.9 + 0.1 · 1, then 0.9 + 0.1 · 10 (clipped) and 0.9 · 1.9 + 0.1 · 0.1 (clipped)."""
    theta, state = np.zeros(1), [np.zeros(1) for _ in range(4)]
    for t, loss, d in ((1, 1.0, 1), (2, 0.5, 1), (3, 50.0, 1.9), (4, 50.0, 1.72)):
        exercises.eve(theta, np.ones(1), t, *state, loss=loss, beta3=0.9)
        assert state[2][0] == pytest.approx(d)
    assert theta[0] == pytest.approx(-0.001 * (1 + 1 + 1 / 1.9 + 1 / 1.72), rel=1e-6)
