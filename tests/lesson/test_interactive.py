"""Figures with sliders: static without them, and redrawn when a slider is moved."""

import sys

import ipywidgets
import numpy as np
import pytest

from helpers.lesson import figures, interactive
from helpers.nn import init_state, intial_weights, optimizers
from tests.support.photographs import photograph


def bowl(x, y):
    return x**2 + y**2


def optimize(rule, **hyperparameters):
    theta = np.array([1.0, 1.0])
    state, path = init_state(rule, theta), [theta.copy()]
    for t in range(1, 6):
        rule(theta, 2 * theta, t, *state, **hyperparameters)
        path.append(theta.copy())
    return np.array(path)


@pytest.fixture
def titles(monkeypatch):
    """The titles of the figures that were drawn."""
    drawn = []
    monkeypatch.setattr(figures, "optimizer_paths", lambda paths, loss, title: drawn.append(title))
    monkeypatch.setattr(figures, "prediction", lambda x, y_hat, names, title, source: drawn.append(title))
    return drawn


@pytest.fixture
def widgets(monkeypatch):
    """The widgets that were displayed."""
    displayed = []
    monkeypatch.setattr("IPython.display.display", displayed.append)
    return displayed


def controls(box):
    return {child.description: child for child in box.children if not isinstance(child, ipywidgets.Output)}


def test_without_sliders_one_figure_is_drawn(titles, widgets):
    interactive.explore_optimizers(optimize, bowl, sliders=False)
    final = bowl(*optimize(optimizers.momentum, learning_rate=0.3, momentum=0.9)[-1])
    assert titles == [f"momentum, η = 0.30, β = 0.90: the loss is {final:.1e} after 5 steps"]
    assert widgets == []


def test_weights_of_all_steps_or_of_the_chosen_one(widgets, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        figures, "weight_table", lambda rows, columns, title, source: drawn.append((list(rows), columns))
    )
    weights = {0: np.zeros((784, 3)), 25: np.ones((784, 3))}
    interactive.explore_weights(weights, 2, "title", "toys", sliders=False)
    assert drawn == [(["step 0", "step 25"], ["unit 1", "unit 2"])]
    interactive.explore_weights(weights, 2, "title", "toys", sliders=True)
    controls(widgets[0])["at"].value = "step 0"
    assert [rows for rows, _ in drawn[1:]] == [["step 25"], ["step 0"]]


def test_moving_a_slider_draws_again(titles, widgets):
    interactive.explore_optimizers(optimize, bowl, sliders=True)
    box = controls(widgets[0])
    box["optimizer"].value = "sgd"
    box["η"].value = 0.5
    assert titles[-2:] == [
        "sgd, η = 0.30: the loss is 2.1e-04 after 5 steps", "sgd, η = 0.50: the loss is 0.0e+00 after 5 steps",
    ]  # fmt: skip
    box["η"].value = 1.2
    assert titles[-1] == "sgd, η = 1.20: it diverges"
    for name in box["optimizer"].options:
        box["optimizer"].value = name
        for slider in (box["η"], box["β"]):
            slider.value = slider.min
            slider.value = slider.max
        assert titles[-1].startswith(name)


def test_predictions_change_with_the_image(sample, titles, widgets):
    params = intial_weights(1, 8)
    interactive.explore_predictions(params, sample, {"activation": "ReLU"}, sliders=True)
    box = controls(widgets[0])
    for name, value in (("right, px", 8), ("down, px", -8), ("rotation, °", 90), ("test image", 0)):
        box[name].value = value
    assert len(titles) == 5
    assert len(set(titles)) > 1
    assert titles[0].endswith("(label: Ankle boot)")


def test_without_ipywidgets_the_figure_is_static(titles, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    interactive.explore_optimizers(optimize, bowl, sliders=True)
    assert len(titles) == 1
    assert capsys.readouterr().out == "The sliders need ipywidgets: pip install ipywidgets\n"


def test_transform_shifts_and_rotates():
    image = np.zeros((28, 28), np.float32)
    image[4, 20] = 1
    pixels = image.reshape(-1)
    assert interactive.transform(pixels, 0, 0, 0).reshape(28, 28)[4, 20] == 1
    assert interactive.transform(pixels, 3, 5, 0).reshape(28, 28)[9, 23] == 1
    turned = interactive.transform(pixels, 0, 0, 90).reshape(28, 28)
    assert np.unravel_index(turned.argmax(), turned.shape) == (7, 4)  # counter-clockwise
    assert turned.dtype == np.float32


def test_classify_picture_shows_what_the_network_sees(sample, tmp_path, monkeypatch, capsys):
    drawn, path, names = [], tmp_path / "a.jpg", sample.class_names
    monkeypatch.setattr(figures, "own_picture", lambda *arguments: drawn.append(arguments))
    photograph(sample.x_test[0], "on white", np.random.default_rng(0)).save(path)
    params = intial_weights(1, 4)
    interactive.classify_picture(None, params, names, {"activation": "ReLU"})
    assert capsys.readouterr().out.startswith("Choose a picture")
    interactive.classify_picture(path, params, names, {"activation": "ReLU"})
    [(grey, pixels, y_hat, _, title, _)] = drawn
    assert (grey.shape, pixels.shape, y_hat.shape) == ((800, 600), (784,), (10,))
    assert title.startswith(f"{names[y_hat.argmax()]}, with ")
    assert ": the picture was inverted, cropped to " in title
