"""The form of the notebook: executed from top to bottom, in small cells, with nothing specific to one machine.

Whether the code still gives the stored outputs is tested by nbval: `pytest` runs every cell of the notebook.
"""

import json
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATH = ROOT / "DL_Assignment1.ipynb"
NOTEBOOK = json.loads(PATH.read_text("utf-8"))
CELLS = NOTEBOOK["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
TEXT = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown"]
OUTPUTS = [output for cell in CODE for output in cell["outputs"]]


def occurrences(text):
    """Return how often the outputs contain the text, images aside."""
    data = [{**output, "data": {**output.get("data", {}), "image/png": ""}} for output in OUTPUTS]
    return json.dumps(data, ensure_ascii=False).count(text)


def test_code_cells_executed_in_order():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))


def test_outputs_contain_no_error_or_warning():
    assert not [output for output in OUTPUTS if output["output_type"] == "error"]
    warnings = ["".join(output["text"]) for output in OUTPUTS if output.get("name") == "stderr"]
    assert not [text for text in warnings if "this is a sample of 6,000 + 1,000 images" not in text]


def test_headings_have_one_title_and_match_the_links():
    headings = re.findall(r"^(#+) (.+)$", "\n".join(TEXT), re.MULTILINE)
    assert [level for level, _ in headings].count("#") == 1
    sections = [title.replace(" ", "-") for level, title in headings if level == "##"]
    assert re.findall(r"\]\(#(.+?)\)", TEXT[0]) == sections
    assert set(re.findall(r"\]\(#(.+?)\)", TEXT[1])) <= set(sections)
    assert len(sections) >= 12


def test_numbers_of_the_answers_are_those_of_the_outputs():
    numbers = re.findall(r"\d+\.\d+%?", TEXT[1])
    assert len(numbers) >= 10
    assert not [number for number in numbers if not occurrences(number)]


def test_outputs_are_from_full_fashion_mnist():
    """MNIST may be the sample, since no system package contains it."""
    assert occurrences("54,000 training, 6,000 validation, 10,000 test images") >= 1
    assert occurrences("Fashion-MNIST (sample)") == 0


@pytest.mark.parametrize("text", ["/root", "/home", "/tmp", "/work", "/Users", "C:\\\\", "site-packages", "ipykernel"])
def test_outputs_contain_no_local_path(text):
    assert occurrences(text) == 0


def test_metadata_contain_nothing_specific_to_one_run():
    assert set(NOTEBOOK["metadata"]) <= {"kernelspec", "language_info"}
    assert NOTEBOOK["metadata"]["kernelspec"]["name"] == "python3"
    assert not [cell for cell in CODE if set(cell["metadata"]) - {"tags"}]
    assert {tag for cell in CELLS for tag in cell["metadata"].get("tags", [])} == {"nbval-ignore-output", "depth"}


def test_what_goes_deeper_is_marked_and_tagged():
    """A passage: its text, the code that follows, and solutions."""
    depth = False
    for cell in CELLS[1:]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and "Solution</summary>" not in text:
            depth = "◇" in text
        assert depth == ("depth" in cell["metadata"].get("tags", []))
    assert 60 <= sum("depth" in cell["metadata"].get("tags", []) for cell in CELLS) <= len(CELLS) - 60


def test_notebook_stays_short():
    """Formulas and what is folded away do not count."""
    text = re.sub(r"<details>.*?</details>|\$\$?.*?\$\$?", " ", "\n".join(TEXT), flags=re.DOTALL)
    assert len(re.findall(r"[A-Za-z]{2,}|\d+", text)) <= 6000
    assert len(CELLS) <= 200


FIGURES = [output for output in OUTPUTS if "image/png" in output.get("data", {})]


def test_figures_have_alternative_text():
    assert len(FIGURES) >= 30
    assert all(len(figure["metadata"]["image/png"]["alt"]) > 40 for figure in FIGURES)


def test_outputs_contain_no_widget_and_no_progress_bar():
    assert occurrences("application/vnd.jupyter.widget-view+json") == 0
    assert occurrences("it/s]") == 0


def test_code_and_listings_have_at_most_88_columns():
    listings = [output["data"]["text/markdown"] for output in OUTPUTS if "text/markdown" in output.get("data", {})]
    shown = ["".join(cell["source"]) for cell in CODE] + ["".join(listing) for listing in listings]
    assert len(listings) >= 12
    assert not [line for text in shown for line in text.splitlines() if len(line) > 88]


def test_the_commands_of_the_readme_leave_cells_out(tmp_path, monkeypatch):
    """One the solutions, answers and outputs, the other what goes deeper. (The rest is run in test_sections.py.)"""
    from nbconvert.nbconvertapp import NbConvertApp

    monkeypatch.chdir(ROOT)
    lines = re.findall(r"^jupyter nbconvert (.+)$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    for line in lines:
        NbConvertApp.clear_instance()
        converter = NbConvertApp.instance()
        converter.initialize([*shlex.split(line.replace(" --execute", "")), "--output-dir", str(tmp_path)])
        converter.start()
    NbConvertApp.clear_instance()
    copies = {path.stem: json.loads(path.read_text("utf-8"))["cells"] for path in tmp_path.iterdir()}
    kept = {name: ["".join(cell["source"]) for cell in cells] for name, cells in copies.items()}
    texts = [("".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in CELLS]
    assert kept == {
        "handout": [text for text, _ in texts if "Solution</summary>" not in text and not text.startswith("**Answers")],
        "essentials": [text for text, tags in texts if "depth" not in tags],
    }
    assert not any(cell.get("outputs") for cell in copies["handout"])  # they answer the questions, too
