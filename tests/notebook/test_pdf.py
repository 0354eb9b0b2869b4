"""The PDF of the notebook: `bash .ci/run pdf`."""

import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PDF = ROOT / "DL_Assignment1.pdf"
NEEDED = (("chromium", "chromium-browser", "google-chrome"), ("pdftotext",))


@pytest.mark.slow
@pytest.mark.skipif(
    not all(any(map(shutil.which, names)) for names in NEEDED), reason="needs Chromium or Chrome, and pdftotext"
)
def test_pdf_has_every_letter_and_alternative_text_and_no_solution():
    subprocess.run(["bash", ".ci/run", "pdf"], cwd=ROOT, check=True, timeout=850)
    printed = subprocess.run(["pdftotext", PDF, "-"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert (ROOT / ".venv/DL_Assignment1.html").read_text("utf-8").count('alt="Line plot') > 5
    assert "$$" not in printed
    assert "Math Processing Error" not in printed
    assert "\\leftarrow" not in printed
    letters = re.sub(r"\s", "", unicodedata.normalize("NFKC", printed))  # a formula has 𝑣 where a listing has v
    for rule in ("θ←θ−ηg", "u←βu+g", "v←βv+(1−β)g"):
        assert letters.count(rule) >= 2, rule  # in its formula and in its listing
    assert "BagAnkleboot" in letters  # the last column of a wide table, which paper would cut
    assert "He’srulegives" not in letters.replace("'", "’")  # from a solution
