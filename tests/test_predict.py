"""Prediction from the command line: pictures in, names out, and a clear word about what is no picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import predict
from helpers.checkpoint import load_model, save_model
from helpers.config import Config
from helpers.data import CLASS_NAMES
from helpers.evaluation import predict as predict_all
from helpers.network import intial_weights
from helpers.training import model_train


@pytest.fixture(scope="module")
def model(sample, tmp_path_factory):
    """A network trained on the sample, as helpers.train --model writes it."""
    config = Config(epochs=4, num_layers=1, hidden_size=64, flip=0.5)
    params, _ = model_train(sample, **vars(config))
    path = tmp_path_factory.mktemp("model") / "a b ö.model"
    save_model(path, params, config, CLASS_NAMES["fashion_mnist"])
    return path


def picture(row, path, mode="L"):
    Image.fromarray(np.round(row.reshape(28, 28) * 255).astype(np.uint8)).convert(mode).save(path)
    return str(path)


def test_test_images_written_as_png_get_their_names(model, sample, tmp_path, capsys):
    paths = [picture(row, tmp_path / f"{i}.png") for i, row in enumerate(sample.x_test[:50])]
    assert predict.main([str(model), *paths]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == paths
    params, config, names = load_model(model)
    Y_hat = predict_all(params, sample.x_test[:50], activation=config.activation, mirror=True)
    best = [f"{names[k]} {y_hat[k]:.1%}" for k, y_hat in zip(Y_hat.argmax(axis=1), Y_hat)]
    assert [line.split(": ")[1].split(", ")[0] for line in lines] == best
    assert np.mean(Y_hat.argmax(axis=1) == sample.y_test[:50].argmax(axis=1)) > 0.6


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_a_picture_of_any_kind_is_read_as_grey(mode, sample, tmp_path):
    row = predict.read_image(picture(sample.x_test[0], tmp_path / "a.png", mode))
    assert (row.shape, row.dtype) == ((1, 784), np.float32)
    assert abs(row - sample.x_test[0]).mean() < (0.2 if mode == "1" else 0.02)


def test_what_is_no_use_is_named_with_exit_code_2(model, tmp_path, capsys):
    good = picture(np.zeros(784), tmp_path / "good.png")
    Image.new("L", (40, 30)).save(tmp_path / "large.png")
    (tmp_path / "text.png").write_text("no picture")
    whole = Path(picture(np.random.default_rng(0).random(784), tmp_path / "whole.png")).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.full((28, 28), 40_000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (28, 28)).save(tmp_path / "clear.png")
    save_model(
        tmp_path / "other.model", intial_weights(1, 2, inputs=9), Config(num_layers=1, hidden_size=2), "0123456789"
    )
    for arguments, words in (
        ([model, tmp_path / "large.png"], "large.png has 40 × 30 pixels; it must have 28 × 28"),
        ([model, good, tmp_path / "text.png"], "text.png cannot be read as an image"),
        ([model, tmp_path / "cut.png"], "cut.png cannot be read as an image"),
        ([model, tmp_path / "deep.png"], "deep.png has pixels of the kind I;16; save it as grey"),
        ([model, tmp_path / "clear.png"], "clear.png has pixels of the kind RGBA"),
        ([tmp_path / "other.model", good], "X has shape (1, 784); it must be (any, 9)"),
        ([model, tmp_path / "none.png"], "none.png cannot be read"),
        ([model, tmp_path], "cannot be read"),
        ([good, good], "good.png is no model of this project"),
        ([tmp_path / "none.model", good], "none.model cannot be read"),
    ):
        with pytest.raises(SystemExit) as caught:
            predict.main([str(word) for word in arguments])
        assert caught.value.code == 2
        assert words in capsys.readouterr().err
