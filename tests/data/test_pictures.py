"""Pictures as people have them become images as those of the data sets."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from helpers.data import CLASS_NAMES, pictures
from helpers.data.pictures import prepare, read_picture
from tests.support.datasets import sample_arrays
from tests.support.photographs import WAYS, photograph


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dataset", ["fashion_mnist", "mnist"])
def test_photographs_become_the_images_again(dataset, way):
    """Drawn at any place and size, dark on a bright background, and stored as JPEG."""
    images, rng, likeness = sample_arrays(dataset)[0][2][:5].reshape(5, 784) / 255, np.random.default_rng(0), []
    for image in images:
        file = io.BytesIO()
        photograph(image, way, rng).save(file, "jpeg")
        pixels, steps = prepare(read_picture(file), CLASS_NAMES[dataset])
        assert (pixels.shape, pixels.dtype) == ((784,), np.float32)
        assert steps[0] == "inverted"
        assert 0 <= pixels.min() < 0.01 < pixels.max() <= 1
        likeness.append(np.corrcoef(pixels, image)[0, 1])
    assert np.median(likeness) > 0.85


def test_a_small_object_in_a_large_picture_keeps_its_details():
    """It is looked at closer: columns of 4 pixels, light and dark in turn, stay apart."""
    grey = np.zeros((1200, 900), np.float32)
    grey[500:612, 400:512] = np.where(np.arange(112) % 8 < 4, 250, 100)
    pixels, steps = prepare(grey)
    assert steps == ["cropped to 112 × 112", "scaled to 28 × 28"]
    np.testing.assert_allclose(pixels.reshape(28, 28)[5], np.where(np.arange(28) % 2, 100, 250) / 255, atol=0.02)


def test_a_faint_object_in_noise_is_found(monkeypatch):
    """By the first look alone, if the noise hides it from the second one."""
    grey = np.random.default_rng(0).normal(190, 20, (1600, 1200))
    grey[600:1000, 500:700] -= 40
    looks = [pictures.without_background, pictures.without_background, pictures.without_background, np.zeros_like]
    monkeypatch.setattr(pictures, "without_background", lambda grey: looks.pop(0)(grey))
    for _ in range(2):
        _, steps = prepare(np.clip(grey, 0, 255).astype(np.float32))
        width, height = map(int, re.fullmatch(r"cropped to (\d+) × (\d+)", steps[1]).groups())
        assert (width, height) == (pytest.approx(200, abs=20), pytest.approx(400, abs=20))


def boot(size=(40, 60), value=200):
    """A light rectangle on black, 10 × 30 pixels, not in the middle."""
    grey = np.zeros(size, np.uint8)
    grey[5:35, 12:22] = value
    return grey


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: image.convert("RGB"),
        lambda image: image.convert("CMYK"),
        lambda image: image.convert("P"),
        lambda image: Image.fromarray(np.asarray(image, np.uint16) * 257),
        lambda image: Image.fromarray(np.asarray(image, np.float32)),
        lambda image: Image.merge("LA", [image.point(lambda value: 255 - value), image]),
    ],
    ids=["L", "RGB", "CMYK", "P", "16 bits", "float", "transparent"],
)
def test_every_mode_gives_the_same_image(change, tmp_path):
    path = tmp_path / "a.tiff"
    change(Image.fromarray(boot())).save(path)
    pixels, _ = prepare(read_picture(path))
    lit = pixels.reshape(28, 28) > 0.5
    assert (lit.any(axis=1).sum(), lit.any(axis=0).sum()) == (28, 9)  # the longer side has 28 pixels
    assert np.flatnonzero(lit.any(axis=0))[[0, -1]] == pytest.approx([9, 17], abs=1)


def test_exif_orientation_and_first_frame(tmp_path):
    turned = Image.fromarray(boot()).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned.save(tmp_path / "a.jpg", exif=exif, quality=95)
    np.testing.assert_allclose(read_picture(tmp_path / "a.jpg"), boot(), atol=20)
    first, second = Image.fromarray(boot()), Image.fromarray(boot(value=0))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    np.testing.assert_allclose(read_picture(tmp_path / "a.gif"), boot(), atol=2)


def test_digits_have_twenty_pixels_around_their_centre_of_mass():
    grey = np.zeros((100, 100), np.float32)
    grey[20:80, 40:44] = 255  # a one with a long foot
    grey[74:80, 40:80] = 255
    pixels, steps = prepare(grey, "0123456789")
    image = pixels.reshape(28, 28)
    assert steps == ["cropped to 40 × 60", "scaled to 13 × 20"]
    lit = np.flatnonzero(image.any(axis=1))
    assert lit[-1] - lit[0] + 1 == 20
    assert image.sum(axis=1) @ np.arange(28) / image.sum() == pytest.approx(14, abs=0.6)
    assert image.sum(axis=0) @ np.arange(28) / image.sum() == pytest.approx(14, abs=0.6)


def test_images_of_the_data_sets_stay_as_they_are():
    images = sample_arrays("fashion_mnist")[0][2][:50]
    for image in images:
        pixels, steps = prepare(image.astype(np.float32))
        assert steps == []
        np.testing.assert_allclose(pixels, image.reshape(-1) / 255, rtol=1e-6)


@pytest.mark.parametrize("grey", [np.full((50, 40), 7.0), np.tile(np.linspace(0, 255, 40), (50, 1))])
def test_a_picture_of_nothing_is_refused(grey):
    with pytest.raises(ValueError, match="nothing in it stands out from the background"):
        prepare(grey)


def test_huge_and_damaged_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("L", (40, 30)).save(tmp_path / "huge.png")
    (tmp_path / "text.png").write_text("no picture")
    for name, reason in (("huge.png", "DecompressionBomb"), ("text.png", "Unidentified"), ("none.png", "No such file")):
        with pytest.raises(ValueError, match=rf"{name} cannot be read as an image: {reason}"):
            read_picture(tmp_path / name)


def test_folders_are_replaced_by_their_pictures(tmp_path):
    for name in ("b.PNG", "a.jpg", "note.txt"):
        (tmp_path / name).touch()
    found = pictures.pictures_in([tmp_path, tmp_path / "note.txt"])
    assert [path.name for path in found] == ["a.jpg", "b.PNG", "note.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty is a folder without pictures"):
        pictures.pictures_in([tmp_path / "empty"])
