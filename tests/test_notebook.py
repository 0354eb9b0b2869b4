"""The notebook's form: executed from top to bottom, in small cells, with nothing of one machine in its outputs.

That its outputs are still what the code gives is nbval's business: `pytest` runs every cell of it.
"""

import json
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOK = json.loads((ROOT / "DL_Assignment1.ipynb").read_text("utf-8"))
CELLS = NOTEBOOK["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
TEXT = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown"]
OUTPUTS = [output for cell in CODE for output in cell["outputs"]]


def said(words):
    """How often the outputs hold these words, pictures left out."""
    data = [{**output, "data": {**output.get("data", {}), "image/png": ""}} for output in OUTPUTS]
    return json.dumps(data, ensure_ascii=False).count(words)


def lines(cell):
    return [line for line in "".join(cell["source"]).splitlines() if line.strip()]


def test_every_code_cell_was_run_once_from_top_to_bottom():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))


def test_no_cell_failed_or_warned():
    assert not [output for output in OUTPUTS if output["output_type"] == "error"]
    warned = ["".join(output["text"]) for output in OUTPUTS if output.get("name") == "stderr"]
    assert not [text for text in warned if "this is a sample of 6,000 + 1,000 images" not in text]


def test_cells_are_small_and_each_is_introduced():
    sizes = sorted(len(lines(cell)) for cell in CODE)
    assert statistics.median(sizes) <= 4
    assert sizes[int(0.9 * len(sizes))] <= 12
    assert sizes[-1] <= 20
    assert 0.7 <= len(TEXT) / len(CODE) <= 1.4


def test_one_title_and_links_that_lead_somewhere():
    headings = re.findall(r"^(#+) (.+)$", "\n".join(TEXT), re.MULTILINE)
    assert [level for level, _ in headings].count("#") == 1
    sections = [title.replace(" ", "-") for level, title in headings if level == "##"]
    assert re.findall(r"\]\(#(.+?)\)", TEXT[0]) == sections
    assert len(sections) >= 12


def test_each_section_opens_with_the_import_that_names_its_room():
    for number in range(1, 13):
        start = next(i for i, cell in enumerate(CELLS) if "".join(cell["source"]).startswith(f"## {number} "))
        first = next(cell for cell in CELLS[start:] if cell["cell_type"] == "code")
        assert lines(first)[0].startswith("from helpers"), f"section {number}"


def test_the_outputs_are_those_of_the_full_data():
    """MNIST, which no system's package brings, may be the sample."""
    assert said("54,000 training, 6,000 validation, 10,000 test images") >= 1
    assert said("Fashion-MNIST (sample)") == 0


@pytest.mark.parametrize("word", ["/root", "/home", "/tmp", "/work", "/Users", "C:\\\\", "site-packages", "ipykernel"])
def test_the_outputs_hold_nothing_of_one_machine(word):
    assert said(word) == 0


def test_the_metadata_hold_nothing_of_one_run():
    assert set(NOTEBOOK["metadata"]) <= {"kernelspec", "language_info"}
    assert NOTEBOOK["metadata"]["kernelspec"]["name"] == "python3"
    assert not [cell for cell in CODE if set(cell["metadata"]) - {"tags"}]
    assert {tag for cell in CODE for tag in cell["metadata"].get("tags", [])} == {"nbval-ignore-output"}


def test_the_notebook_shows_its_figures():
    assert sum("image/png" in output.get("data", {}) for output in OUTPUTS) >= 18


def test_the_readme_shows_a_picture():
    readme = (ROOT / "README.md").read_text("utf-8")
    pictures = re.findall(r"!\[.+\]\((.+)\)", readme)
    assert pictures
    assert all((ROOT / picture).read_bytes().startswith(b"\x89PNG") for picture in pictures)
