"""helpers.predict: pictures in, class names out, clear messages for files that are not valid."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support

import helpers.predict as command
from helpers import Config, intial_weights, load_model, model_train, save_model
from helpers.experiment.metrics import predict
from tests.support.photographs import photograph


@pytest.fixture(scope="module")
def model(sample, tmp_path_factory):
    """A network trained on the sample, as helpers.train --model writes it."""
    config = Config(epochs=4, num_layers=1, hidden_size=64, flip_probability=0.5)
    params, _ = model_train(sample, **vars(config))
    path = tmp_path_factory.mktemp("model") / "a b ö.npz"
    save_model(path, params, config, sample)
    return path


def write_image(row, path, mode="L"):
    Image.fromarray(np.round(row.reshape(28, 28) * 255).astype(np.uint8)).convert(mode).save(path)
    return str(path)


def test_predict_classifies_png_files(model, sample, tmp_path, capsys):
    paths = [write_image(row, tmp_path / f"{i}.png") for i, row in enumerate(sample.x_test[:50])]
    assert command.main([str(model), *paths]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == paths
    params, config, names, _ = load_model(model)
    Y_hat = predict(params, sample.x_test[:50], activation=config.activation, flip_tta=True)
    best = [f"{names[k]} {y_hat[k]:.1%}" for k, y_hat in zip(Y_hat.argmax(axis=1), Y_hat, strict=True)]
    assert [line.split(": ")[1].split(", ")[0] for line in lines] == best
    assert np.mean(Y_hat.argmax(axis=1) == sample.y_test[:50].argmax(axis=1)) > 0.6


def test_pictures_of_any_size_are_prepared_and_a_bad_one_does_not_end_the_others(model, sample, tmp_path, capsys):
    folder, rng = tmp_path / "mine", np.random.default_rng(0)
    folder.mkdir()
    for i, row in enumerate(sample.x_test[:5]):
        photograph(row, "small and off-centre", rng).save(folder / f"{i}.jpg")
    (folder / "bad.png").write_text("no picture")
    assert command.main([str(model), str(folder), "--save-prepared", str(tmp_path / "seen")]) == 2
    said = capsys.readouterr()
    assert [line.split(": ")[0] for line in said.out.splitlines()] == [str(folder / f"{i}.jpg") for i in range(5)]
    assert all("% (inverted, cropped to " in line for line in said.out.splitlines())
    assert said.err.startswith(f"error: {folder / 'bad.png'} cannot be read as an image")
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == [f"{i}-{i + 1}.png" for i in range(5)]
    assert command.main([str(model), "--as-is", *map(str, sorted((tmp_path / "seen").iterdir()))]) == 0
    again = capsys.readouterr().out.splitlines()  # the saved images are rounded to 8 bits
    best = [
        [line.split(": ")[1].split("%")[0].split(" ") for line in lines] for lines in (said.out.splitlines(), again)
    ]
    for (*name, share), (*other, saved) in zip(*best, strict=True):
        assert (name, float(saved)) == (other, pytest.approx(float(share), abs=1))


def test_invalid_files_exit_code_2(model, tmp_path, capsys):
    good = write_image(np.zeros(784), tmp_path / "good.png")
    Image.new("L", (40, 30)).save(tmp_path / "large.png")
    Image.new("L", (28, 28), "white").save(tmp_path / "bright.png")
    (tmp_path / "empty").mkdir()
    other = SimpleNamespace(class_names="abcdefghij", name="other")
    save_model(tmp_path / "other.npz", intial_weights(1, 2, inputs=9), Config(num_layers=1, hidden_size=2), other)
    for arguments, words in (
        ([model, tmp_path / "large.png"], "large.png: nothing in it stands out from the background"),
        ([model, tmp_path / "large.png", "--as-is"], "large.png has 40 × 30 pixels; with --as-is it must have 28 × 28"),
        ([model, tmp_path / "none.png"], "none.png cannot be read as an image: No such file"),
        ([model, tmp_path / "empty"], "empty is a folder without pictures"),
        ([tmp_path / "other.npz", good], "other.npz holds a network of 9 inputs; an image has 784 pixels"),
        ([good, good], "good.png is damaged, or not a model of this project"),
        ([tmp_path / "none.npz", good], "none.npz cannot be read"),
        ([model], "name at least one picture, or add --test"),
        ([tmp_path / "other.npz", "--test"], "--test needs a network for the classes of fashion_mnist or mnist"),
    ):
        try:
            code = command.main([str(word) for word in arguments])
        except SystemExit as end:
            code = end.code
        assert code == 2
        assert words in capsys.readouterr().err
    assert command.main([str(model), str(tmp_path / "bright.png"), "--as-is"]) == 0
    assert "(unlike the data sets: its border is bright)" in capsys.readouterr().out


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["AVIF", "DDS", "PNG", "SPIDER", "TIFF"])
def test_damaged_images_are_refused(kind, tmp_path):
    """Pillow raises errors of many types; each becomes a ValueError that names the file."""
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {kind}")
    rng, path, refused = np.random.default_rng(0), tmp_path / f"a.{kind.lower()}", []
    image = Image.fromarray(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8))
    (image.convert("F") if kind == "SPIDER" else image).save(path, kind)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(60):
        damaged = whole[: rng.integers(1, len(whole) + 1)].copy()
        damaged[rng.integers(0, min(len(damaged), 300), 8)] = rng.integers(0, 256, 8)
        path.write_bytes(damaged.tobytes())
        try:
            assert command.read_image(path, ())[0].shape == (784,)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 10  # of 60; older versions of Pillow take more
    assert all(message.startswith(str(path)) for message in refused)


def test_test_prints_scores(model, sample, monkeypatch, tmp_path, capsys):
    """Before the classes of the images, if there are any."""
    monkeypatch.setattr("helpers.data.load_data", lambda dataset, allow_sample: sample)
    path = write_image(sample.x_test[0], tmp_path / "a.png", "RGB")
    assert command.main([str(model), path, "--test"]) == 0
    params, config, *_ = load_model(model)
    Y_hat = predict(params, sample.x_test, **config.prediction)
    true, predicted = sample.y_test.argmax(axis=1), Y_hat.argmax(axis=1)
    scores = precision_recall_fscore_support(true, predicted, average="macro")[:3]
    expected = ", ".join(
        f"{name} {value:.4f}" for name, value in zip(("precision", "recall", "f1-score"), scores, strict=True)
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{sample.name}: test accuracy {np.mean(true == predicted):.4f}", f"macro average: {expected}"]
    assert lines[2].startswith(f"{path}: ")


def test_test_refuses_data_of_another_release(model, sample, monkeypatch, capsys):
    """Kaggle's CSV files have other images in training and test."""
    other = replace(sample, name="Fashion-MNIST (Kaggle's CSV)")
    monkeypatch.setattr("helpers.data.load_data", lambda dataset, allow_sample: other)
    with pytest.raises(SystemExit, match="2"):
        command.main([str(model), "--test"])
    said = capsys.readouterr()
    assert "was trained on Fashion-MNIST (sample), and this is Fashion-MNIST (Kaggle's CSV): set DATASETS" in said.err
    assert not said.out
    monkeypatch.setattr("helpers.data.load_data", lambda dataset, allow_sample: replace(sample, name="Fashion-MNIST"))
    assert command.main([str(model), "--test"]) == 0


def test_test_without_data_returns_1(model, monkeypatch, capsys):
    def missing(dataset, allow_sample):
        raise FileNotFoundError("Fashion-MNIST is not on this machine")

    monkeypatch.setattr("helpers.data.load_data", missing)
    assert command.main([str(model), "--test"]) == 1
    assert "error: Fashion-MNIST is not on this machine" in capsys.readouterr().err
