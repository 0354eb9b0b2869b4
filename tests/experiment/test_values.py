"""Names and values as people write them."""

import pytest

from helpers.experiment.config import OWN, RULES
from helpers.experiment.values import MEANINGS, SYNONYMS, Problems, meant, read_choice
from helpers.search.sweep_file import METRICS


def test_synonyms_and_meanings_lead_to_names_that_exist():
    known = OWN | RULES
    assert {*SYNONYMS.values()} <= {*known, *METRICS, "wandb_project", "wandb_entity", "dataset"}
    assert not {*SYNONYMS} & {*known, *METRICS}
    for name in {*MEANINGS} - {"dataset"}:
        assert {*MEANINGS[name].values()} <= {*known[name].limits["allowed"]}


def test_a_name_that_is_allowed_means_itself():
    """Also where another one is spelt alike, or it has a meaning elsewhere."""
    rules = ["adam", "adam_", "nesterov", "nag"]
    assert [read_choice("optimizer", name, rules) for name in rules] == rules
    assert read_choice("optimizer", "Nesterov", rules) == "nesterov"
    assert read_choice("optimizer", "Nesterov", ["nag"]) == "nag"


@pytest.mark.parametrize(("name", "guess"), [("Momentun", "momentum"), ("batch-size", "batch_size"), ("x", None)])
def test_meant_finds_the_nearest_name(name, guess):
    assert meant(name, list(OWN | RULES)) == guess


def test_problems_are_reported_together():
    outer, inner = Problems(), Problems(["a is bad", "b is bad"])
    outer.report()
    with outer.noted():
        inner.report("inside")
    with pytest.raises(ValueError, match=r"^f\.yaml: 2 problems:\n  - a is bad\n  - b is bad$"):
        outer.report("f.yaml")
    with pytest.raises(ValueError, match=r"^f\.yaml: a is bad$"):
        Problems(["a is bad"]).report("f.yaml")
