"""helpers.predict: images in, class names out, clear messages for files that are not valid."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import predict
from helpers.data import CLASS_NAMES
from helpers.nn import Config, intial_weights, load_model, model_train, save_model
from helpers.nn import predict as predict_all


@pytest.fixture(scope="module")
def model(sample, tmp_path_factory):
    """A network trained on the sample, as helpers.train --model writes it."""
    config = Config(epochs=4, num_layers=1, hidden_size=64, flip_probability=0.5)
    params, _ = model_train(sample, **vars(config))
    path = tmp_path_factory.mktemp("model") / "a b ö.npz"
    save_model(path, params, config, CLASS_NAMES["fashion_mnist"])
    return path


def write_image(row, path, mode="L"):
    Image.fromarray(np.round(row.reshape(28, 28) * 255).astype(np.uint8)).convert(mode).save(path)
    return str(path)


def test_predict_classifies_png_files(model, sample, tmp_path, capsys):
    paths = [write_image(row, tmp_path / f"{i}.png") for i, row in enumerate(sample.x_test[:50])]
    assert predict.main([str(model), *paths]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == paths
    params, config, names = load_model(model)
    Y_hat = predict_all(params, sample.x_test[:50], activation=config.activation, flip_tta=True)
    best = [f"{names[k]} {y_hat[k]:.1%}" for k, y_hat in zip(Y_hat.argmax(axis=1), Y_hat, strict=True)]
    assert [line.split(": ")[1].split(", ")[0] for line in lines] == best
    assert np.mean(Y_hat.argmax(axis=1) == sample.y_test[:50].argmax(axis=1)) > 0.6


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_read_image_converts_to_greyscale(mode, sample, tmp_path):
    row = predict.read_image(write_image(sample.x_test[0], tmp_path / "a.png", mode))
    assert (row.shape, row.dtype) == ((1, 784), np.float32)
    assert abs(row - sample.x_test[0]).mean() < (0.2 if mode == "1" else 0.02)


def test_invalid_files_exit_code_2(model, tmp_path, capsys):
    good = write_image(np.zeros(784), tmp_path / "good.png")
    Image.new("L", (40, 30)).save(tmp_path / "large.png")
    (tmp_path / "text.png").write_text("no picture")
    whole = Path(write_image(np.random.default_rng(0).random(784), tmp_path / "whole.png")).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.full((28, 28), 40_000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (28, 28)).save(tmp_path / "clear.png")
    save_model(
        tmp_path / "other.npz", intial_weights(1, 2, inputs=9), Config(num_layers=1, hidden_size=2), "0123456789"
    )
    for arguments, words in (
        ([model, tmp_path / "large.png"], "large.png has 40 × 30 pixels; it must have 28 × 28"),
        ([model, good, tmp_path / "text.png"], "text.png cannot be read as an image"),
        ([model, tmp_path / "cut.png"], "cut.png cannot be read as an image"),
        ([model, tmp_path / "deep.png"], "deep.png has the pixel format I;16; save it as 8-bit greyscale"),
        ([model, tmp_path / "clear.png"], "clear.png has the pixel format RGBA"),
        ([tmp_path / "other.npz", good], "X has shape (1, 784); it must be (any, 9)"),
        ([model, tmp_path / "none.png"], "none.png cannot be read"),
        ([model, tmp_path], "cannot be read"),
        ([good, good], "good.png is damaged, or not a model of this project"),
        ([tmp_path / "none.npz", good], "none.npz cannot be read"),
    ):
        with pytest.raises(SystemExit) as caught:
            predict.main([str(word) for word in arguments])
        assert caught.value.code == 2
        assert words in capsys.readouterr().err
