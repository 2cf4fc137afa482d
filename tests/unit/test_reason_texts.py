"""Reasons in another language, and the page that lists what there is to translate."""

from pathlib import Path

import pytest

from domain.decision import Reason
from domain.errors import ConfigError
from models.reason_reference import reference
from models.reason_texts import ReasonTexts
from models.vocabulary import CODES

PAGE = Path(__file__).parents[2] / "docs" / "reasons.md"
REASON = Reason(code="unusual_amount", text="spent 14.2 times", feature="card_amount_over_median", value=14.2, usual=1.0, contribution=0.5)


def texts(tmp_path: Path, content: str) -> ReasonTexts:
    path = tmp_path / "texts.toml"
    path.write_text(content, "utf-8")
    return ReasonTexts.load(path)


def test_the_page_of_reasons_is_that_of_the_vocabulary():
    assert PAGE.read_text("utf-8") == reference(), "stale: make docs"


def test_the_page_names_every_code_once():
    lines = [line.split("`")[1] for line in reference().splitlines() if line.startswith("| `") and line.split("`")[1] in CODES]
    assert lines == list(dict.fromkeys(CODES))


def test_a_template_says_a_reason_in_another_language_and_changes_nothing_else(tmp_path):
    said = texts(tmp_path, '[reasons]\nunusual_amount = "{value}-mal so viel wie üblich ({usual}), {feature}: {contribution}"').of(REASON)
    assert said.text == "14.2-mal so viel wie üblich (1), card_amount_over_median: 0.50"
    assert said.code == REASON.code
    assert (said.feature, said.value, said.usual, said.contribution) == (REASON.feature, 14.2, 1.0, 0.5)


def test_a_missing_figure_is_a_question_mark_and_a_code_without_a_template_stays_english(tmp_path):
    found = texts(tmp_path, '[reasons]\nnew_ip = "neu seit {value}"')
    assert found.of(Reason(code="new_ip", text="x", feature="ip_since_card", value=None, contribution=1.0)).text == "neu seit ?"
    assert found.of(REASON) == REASON


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no table"),
        ("reasons = 3", "no table"),
        ('[reasons]\nnonsense = "x"', "'nonsense', which is no code"),
        ("[reasons]\namount = 5", "is no text"),
        ('[reasons]\namount = "{card_id}"', "uses {card_id}"),
        ('[reasons]\namount = "{value.__class__}"', "uses {value.__class__}"),
        ('[reasons]\namount = "{value!r}"', "uses {value}"),
        ('[reasons]\namount = "{value"', "cannot be read"),
        ("[reasons", "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place(tmp_path, content, said):
    with pytest.raises(ConfigError, match=r"scoring\.reason_texts") as refused:
        texts(tmp_path, content)
    assert said in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        ReasonTexts.load(tmp_path / "none.toml")
