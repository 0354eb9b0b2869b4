"""load_data: the split, the scaling, the one-hot encoding, and arguments that are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import data as module
from helpers import model_train
from helpers.data import Dataset, load_data, one_hot, scale, split


@pytest.fixture
def numbered(monkeypatch):
    """A data set whose images encode their own index: 1,000 training and 200 test images."""

    def load_raw(dataset, allow_sample):
        def part(n, first):
            images = np.zeros((n, 28, 28), np.uint8)
            images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(first, first + n), 256)
            return images, (np.arange(n) % 10).astype(np.uint8)

        return [*part(1000, 0), *part(200, 1000)], "a test", ""

    monkeypatch.setattr(module, "load_raw", load_raw)


def indices(x):
    return (np.rint(x[:, 0] * 255) * 256 + np.rint(x[:, 1] * 255)).astype(int)


def test_load_data_split_stratified_and_disjoint(numbered, capsys):
    data = load_data()
    assert (data.x_train.shape, data.x_val.shape, data.x_test.shape) == ((900, 784), (100, 784), (200, 784))
    np.testing.assert_array_equal(data.y_train.sum(axis=0), [90] * 10)
    np.testing.assert_array_equal(data.y_val.sum(axis=0), [10] * 10)
    train, val, test = (indices(x) for x in (data.x_train, data.x_val, data.x_test))
    assert sorted([*train, *val]) == list(range(1000))
    assert list(test) == list(range(1000, 1200))
    for ids, y in ((train, data.y_train), (val, data.y_val)):
        np.testing.assert_array_equal(y.argmax(axis=1), ids % 10)  # each image has its own label
    assert capsys.readouterr().out.count("Fashion-MNIST from a test") == 1


def test_load_data_seed_determines_split(numbered):
    a, b, other = (indices(load_data(seed=seed).x_val) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert set(a) != set(other)


def test_load_data_without_validation_set(numbered):
    data = load_data(validation_split=0)
    assert len(data.x_train) == 1000
    assert data.x_val is None
    assert data.y_val is None


def test_load_data_sample_is_marked(sample):
    assert not sample.published
    assert sample.name == "Fashion-MNIST (sample)"
    assert "sample" in sample.source
    assert (sample.x_train.shape, sample.x_val.shape, sample.x_test.shape) == ((5400, 784), (600, 784), (1000, 784))
    for y, each in ((sample.y_train, 540), (sample.y_val, 60), (sample.y_test, 100)):
        np.testing.assert_array_equal(y.sum(axis=0), [each] * 10)
    assert (sample.x_train.min(), sample.x_train.max()) == (0, 1)
    assert {a.dtype for a in (sample.x_train, sample.y_train, sample.x_val, sample.y_test)} == {np.dtype(np.float32)}
    assert sample.class_names == module.CLASS_NAMES["fashion_mnist"]
    assert len(sample.class_names) == 10


@pytest.mark.parametrize("kind", ["bytes", "floats", "nested", "text labels"])
def test_from_arrays(kind):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 28, 28), dtype=np.uint8), np.arange(60) % 3
    x, y = images, labels
    if kind == "floats":
        x = images.reshape(60, 784) / 255
    elif kind == "nested":
        x, y = images.tolist(), labels.tolist()
    elif kind == "text labels":
        y = labels.astype(str).astype(object)  # as OpenML has them
    data = Dataset.from_arrays(x[:40], y[:40], x[40:], y[40:], class_names="abc", name="mine", validation_split=0.25)
    assert (data.x_train.shape, data.x_val.shape, data.x_test.shape) == ((30, 784), (10, 784), (20, 784))
    np.testing.assert_allclose(data.x_test, images[40:].reshape(20, 784) / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.y_test.argmax(axis=1), labels[40:])
    assert {a.dtype for a in (data.x_train, data.y_train, data.x_val, data.y_test)} == {np.dtype(np.float32)}
    assert (data.class_names, data.name, data.published) == (("a", "b", "c"), "mine", False)
    assert len(model_train(data, epochs=1, hidden_size=4)[1]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.zeros((4, 3, 5))}, r"x_train is float64 of shape \(4, 3, 5\); it must be numbers of shape"),
        ({"x_test": [["a"]]}, "x_test is <U1 of shape"),
        ({"x_train": np.full((40, 9), 300)}, r"x_train has values from 300 to 300; they must be in 0 … 255"),
        ({"x_train": np.full((40, 9), np.nan)}, "x_train has values from nan"),
        ({"x_train": np.full((40, 9), 1.0001)}, r"x_train has values up to 1.0001, a little above 1: .* np.clip"),
        ({"validation_split": "a fifth"}, "validation_split='a fifth' must be a finite number"),
        ({"x_train": np.zeros((40, 8))}, "x_train: 8 is not the number of pixels of a square image"),
        ({"y_train": [0.5] * 40}, r"y_train must be integers 0 … C − 1"),
        ({"y_train": ["cat"] * 40}, r"y_train must be integers"),
        ({"y_test": [0, 1]}, "x_test has 20 images, and y_test 2 labels"),
        ({"y_test": [0, 1], "x_train": [[-1]]}, r"(?s)2 problems:.*x_train has values from -1.*y_test 2 labels"),
        ({"x_test": np.zeros((20, 16))}, r"and \[9, 16\] pixels"),
        ({"class_names": ["a", "b"]}, "there are 3 labels, 2 class names"),
    ],
)
def test_from_arrays_refuses_what_does_not_fit(change, message):
    arrays = {"x_train": np.zeros((40, 9)), "y_train": np.arange(40) % 3}
    arrays |= {"x_test": np.zeros((20, 9)), "y_test": np.arange(20) % 3}
    with pytest.raises(ValueError, match=message):
        Dataset.from_arrays(**arrays | change)


def test_scale_divides_by_255():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_allclose(scale(images), [np.arange(256) / 255], rtol=1e-7)
    assert scale(images).dtype == np.float32


def test_one_hot_values():
    np.testing.assert_array_equal(one_hot(np.array([1, 0]), 3), [[0, 1, 0], [1, 0, 0]])


@given(st.integers(0, 99), st.floats(0.02, 0.98))
def test_split_stratified_for_any_fraction(seed, fraction):
    labels = np.repeat(np.arange(10), 100)
    train, val = split(labels, fraction, seed)
    assert sorted([*train, *val]) == list(range(1000))
    counts = np.bincount(labels[val], minlength=10)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "cifar"}, "dataset='cifar'.*fashion_mnist, mnist"),
        ({"dataset": None}, "dataset=None"),
        ({"validation_split": 1}, "validation_split=1 .*below 1"),
        ({"validation_split": -0.1}, "validation_split=-0.1"),
        ({"validation_split": float("nan")}, "validation_split=nan"),
        ({"validation_split": 0.001}, "validation_split=0.001 leaves 1 of 1000"),
        ({"validation_split": 0.999}, "validation_split=0.999 leaves 999 of 1000"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**32}, "seed=4294967296 must be an integer, at least 0 and at most 4,294,967,295"),
    ],
)
def test_load_data_invalid_argument_refused(arguments, message, numbered):
    with pytest.raises(ValueError, match=message):
        load_data(**arguments)
