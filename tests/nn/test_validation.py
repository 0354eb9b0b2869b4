"""Checks of arguments: accepted values and error messages."""

import sys

import numpy as np
import pytest

from helpers.nn import validation
from helpers.nn.validation import Registry


@pytest.mark.parametrize("length", [243, 256, 300, 5000])
def test_check_path_name_too_long(length, tmp_path):
    with pytest.raises(ValueError, match=rf"^x='.*a': the name has {length} bytes; at most 242 are possible$"):
        validation.check_path("x", tmp_path / ("a" * length))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows symbolic links only to some users")
def test_check_path_loop_and_long_folder(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "loop" / "a", "/".join(["a" * 200] * 50)):
        with pytest.raises(ValueError, match=r"^x='.*' (cannot be the name of a file|is in a folder that does not)"):
            validation.check_path("x", path)


def test_check_choice_ignores_case():
    assert validation.check_choice("x", "ADAM", ["adam"]) == "adam"


def test_check_int_accepts_numpy_integers():
    value = validation.check_int("x", np.int64(3))
    assert value == 3
    assert type(value) is int


def test_check_float_accepts_numpy_floats_and_integers():
    assert validation.check_float("x", np.float32(0.5), gt=0, lt=1) == 0.5
    assert validation.check_float("x", 2) == 2.0


@pytest.mark.parametrize(
    ("limits", "value", "message"),
    [
        ({}, 0, "x=0 must be an integer, at least 1$"),
        ({"le": 1000}, 1001, "x=1001 must be an integer, at least 1 and at most 1,000$"),
        ({"ge": 0}, -1, "x=-1 must be an integer, at least 0$"),
        ({}, True, "x=True must be an integer"),
        ({}, 3.0, "x=3.0 must be an integer"),
        ({}, "3", "x='3' must be an integer"),
    ],
)
def test_check_int_error_message(limits, value, message):
    with pytest.raises(ValueError, match=message):
        validation.check_int("x", value, **limits)


@pytest.mark.parametrize(
    ("limits", "value", "message"),
    [
        ({"gt": 0}, 0, "x=0 must be a finite number, above 0$"),
        ({"ge": 0, "lt": 1}, 1, "x=1 must be a finite number, at least 0 and below 1$"),
        ({"ge": 0}, True, "x=True"),
        ({}, "1", "x='1' must be a finite number$"),
        ({}, None, "x=None"),
        ({}, 1j, "x=1j"),
        ({}, float("-inf"), "x=-inf"),
        ({}, 10**400, "x=1000.* must be a finite number"),
    ],
)
def test_check_float_error_message(limits, value, message):
    with pytest.raises(ValueError, match=message):
        validation.check_float("x", value, **limits)


def test_check_or_none_accepts_none():
    assert validation.check_int_or_none("x", None) is None
    assert validation.check_int_or_none("x", 3) == 3
    assert validation.check_float_or_none("x", None, gt=0) is None
    with pytest.raises(ValueError, match="x=0 must be a finite number, above 0"):
        validation.check_float_or_none("x", 0, gt=0)


def test_registry_lookup_ignores_case():
    registry = Registry("optimizer", {"adam": 1, "ReLU": 2})
    assert (registry["adam"], registry["ADAM"], registry["relu"]) == (1, 1, 2)
    assert list(registry) == ["adam", "ReLU"]  # a lookup adds no entry


@pytest.mark.parametrize("name", ["eve", None, 3, "", b"adam", ["adam"], {}])
def test_registry_unknown_name_lists_choices(name):
    with pytest.raises(ValueError, match=r"optimizer=.* is unknown; choose one of: adam, sgd$"):
        Registry("optimizer", {"adam": 1, "sgd": 2})[name]
