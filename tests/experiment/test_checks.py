"""Checks of arguments: accepted values and error messages."""

from pathlib import Path

import numpy as np
import pytest

from helpers.experiment import checks


@pytest.mark.parametrize(
    ("check", "value", "limits", "message"),
    [
        (checks.check_int, 1001, {"le": 1000}, "x=1001 must be an integer, at least 1 and at most 1,000$"),
        (checks.check_int_or_none, "3", {}, "x='3' must be an integer"),
        (checks.check_sizes, [4, -1], {}, "x=-1 must be an integer"),
        (checks.check_bool, 1, {}, "x=1 must be True or False$"),
        (checks.check_float, 0, {"gt": 0}, "x=0 must be a finite number, above 0$"),
        (checks.check_float, 1, {"ge": 0, "lt": 1}, "x=1 must be a finite number, at least 0 and below 1$"),
        (checks.check_float, True, {"ge": 0}, "x=True"),
        (checks.check_float, "1", {}, "x='1' must be a finite number$"),
        (checks.check_float, 1j, {}, "x=1j"),
        (checks.check_float, 10**400, {}, "x=1000.* must be a finite number"),
        (checks.check_float_or_none, 0, {"gt": 0}, "x=0 must be a finite number, above 0"),
        (checks.image_width, 20, {}, "x: 20 is not the number of pixels of a square image, such as 28 × 28 = 784"),
        (checks.check_path, "a\0b", {}, "x='a.*b' must be the name of a file"),
        (checks.check_path, Path(__file__).parent, {}, "x='.*' is a folder; name a file"),
        (checks.check_matrix, [[1.0]], {}, "x is a list; it must be a two-dimensional float32 or float64 array"),
        (checks.check_matrix, np.zeros((2, 3), int), {}, r"x is a int64 array of shape \(2, 3\)"),
        (checks.check_matrix, np.zeros((0, 3)), {}, r"x has shape \(0, 3\): it is empty"),
        (checks.check_matrix, np.zeros((2, 3)), {"columns": 4}, r"x has shape \(2, 3\); it must be \(any, 4\)"),
        (checks.check_matrix, np.array([[np.nan]]), {"finite": True}, "x contains NaN or infinity"),
    ],
)
def test_error_names_argument_value_and_what_is_allowed(check, value, limits, message):
    with pytest.raises(ValueError, match=message):
        check("x", value, **limits)


def test_valid_value_is_returned_as_a_python_object():
    assert type(checks.check_int("x", np.int64(3))) is int
    assert checks.check_sizes("x", [np.int32(3), 4]) == (3, 4)
    assert type(checks.check_float("x", np.float32(0.5), gt=0, lt=1)) is type(checks.check_float("x", 2)) is float
    assert checks.check_float_or_none("x", None, gt=0) is checks.check_int_or_none("x", None) is None


def test_path_in_a_folder_of_someone_else(monkeypatch):
    def is_dir(self):  # as before Python 3.14
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", is_dir)
    with pytest.raises(ValueError, match="x='a' cannot be used: Permission denied"):
        checks.check_path("x", "a")
