"""A card tells all that is known of a version; its page is one file that asks nobody for anything and runs nothing."""

import re
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.artifact.manifest import Override, Promotion, Rule, Variant
from edgeops.card.card import Card, Section, make_card
from edgeops.card.facts import Trial
from edgeops.card.markdown import read_sections, table
from edgeops.card.page import write_page
from edgeops.learning.attribution import ColumnShare, PermutedColumn
from edgeops.learning.fragility import LostColumn
from edgeops.learning.scrutiny import Scrutiny
from edgeops.learning.slices import Slice
from edgeops.rollout.blessing import Outcome
from tests.unit.card_facts import descriptor_of, facts_of

INSIDE = """# tiny 3 (int8)

A classification model: it reads `x` and
answers.

## Data

- snapshot `sha256:00`,
  of a file

## What it is worth

| class | recall |
|---|---|
| red \\| orange | 0.9 |

## Limits

- It knows only its classes.
"""
WORST = Slice(name="anna", by="who", rows=30, cost=0.2, low=0.1, high=0.3, is_judged=True)
SMALL = Slice(name="bob", rows=3, cost=0.0, low=0.0, high=0.5, is_judged=False)
SCRUTINY = Scrutiny(slices=(WORST, SMALL), columns=(LostColumn(column="x1", missing=None, stuck=0.25),))


def card_of(inside=INSIDE, **given):
    return make_card(facts_of(**given), Variant.INT8, inside=inside)


class _Reader(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_a_card_has_what_its_file_says_and_what_the_run_found():
    text = str(card_of(scrutinies={Variant.INT8: SCRUTINY}, warnings=("x2 does not change",)))
    for told in (
        "answers.",
        "| red \\| orange | 0.9 |",
        "0.99 (0.97 to 0.995)",
        "refused rows: duplicate 7",
        "| x4 | -3 | -2 | 0 | 2 | 6 | 3 |",
        "| anna | who | 30 | 0.2 | 0.1 | 0.3 |",
        "| bob |  | 3 | too few rows |  |  |",
        "- x2 does not change",
        "run: `run-0003`",
    ):
        assert told in text, told
    assert [line for line in text.splitlines() if line.startswith("#")][:4] == [
        "# tiny 3, int8", "## Files", "## Data", "## What it is worth",
    ]  # fmt: skip


def test_what_it_goes_by_is_told_column_by_column():
    scrutiny = Scrutiny(permuted=(PermutedColumn(column="x2", loss=0.3, spread=0.01),))
    shares = (ColumnShare(column="x2", share=0.75), ColumnShare(column="x1", share=0.25))
    card = card_of(scrutinies={Variant.INT8: scrutiny}, shares=shares)
    assert "| x2 | 0.3 | 0.01 | 0.75 |\n| x1 |  |  | 0.25 |" in str(card)
    assert "What permuting a column costs" in write_page(card)
    assert "What it goes by" not in str(card_of())


def test_a_gate_that_failed_and_who_went_past_it_are_told():
    rule = Rule(name="is-quiet", passed=False, reason="too loud")
    override = Override(by="carol", at="2026-03-01T12:00:00Z", remark="for the rehearsal | only")
    text = str(card_of(promotion=Promotion(passed=False, rules=(rule,), override=override)))
    assert "| is-quiet | int8 | NO | too loud |" in text
    assert "overridden by carol at 2026-03-01T12:00:00Z: for the rehearsal \\| only" in text


def test_the_newest_word_of_each_class_of_devices_that_says_something_is_told():
    trials = [
        Trial(variant=Variant.INT8, device_class=name, outcome=Outcome(outcome), words="p95 2 ms")
        for name, outcome in (
            ("pi4", "inconclusive"),
            ("pi4", "blessed"),
            ("pi4", "refused"),
            ("pi5", "inconclusive"),
        )
    ]
    text = str(card_of(trials=tuple(trials)))
    assert "| int8 | pi4 | blessed | p95 2 ms |" in text
    assert "refused |" not in text
    assert "| int8 | pi5 | inconclusive |" in text


def test_rows_that_were_erased_are_told():
    assert "erased at 2026-03-02 00:00 UTC" in str(card_of(erased_at=datetime(2026, 3, 2, tzinfo=UTC)))


def test_a_page_says_what_the_markdown_says_and_draws_it():
    page = write_page(card_of(scrutinies={Variant.INT8: SCRUTINY}))
    read = _Reader(page)
    for told in ("answers.", "red | orange", "0.99 (0.97 to 0.995)", "anna", "too few rows"):
        assert told in read.text, told
    assert [attributes["name"] for tag, attributes in read.tags if tag == "meta" and "name" in attributes] == [
        "viewport"
    ]
    assert sum(tag == "svg" for tag, _ in read.tags) == 3
    assert "<code>sha256:00</code>, of a file" in page


def test_a_page_asks_nobody_for_anything():
    page = write_page(card_of(scrutinies={Variant.INT8: SCRUTINY}))
    addresses = set(re.findall(r"(?:https?:)?//[^\s\"'<]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not {tag for tag, _ in _Reader(page).tags} & {"script", "link", "img", "iframe", "object", "a", "form"}
    assert "default-src 'none'" in page


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a|b", "`code`", "\\", "**bold**", "&lt;", '"><svg onload=x>']
)
def test_names_stay_text(name):
    scrutiny = Scrutiny(slices=(Slice(name=name, rows=30, cost=0.2, low=0.1, high=0.3, is_judged=True),))
    card = card_of(inside="", scrutinies={Variant.INT8: scrutiny}, classes=(name, "b", "c"), warnings=(name,))
    read, usual = (
        _Reader(write_page(card)),
        _Reader(write_page(card_of(inside="", scrutinies={Variant.INT8: SCRUTINY}))),
    )
    assert name in read.text
    assert {tag for tag, _ in read.tags} <= {tag for tag, _ in usual.tags} | {"ul", "li"}
    assert not any(key.startswith("on") for _, attributes in read.tags for key in attributes)


@given(st.lists(st.text(max_size=20), min_size=3, max_size=3))
def test_cells_are_read_back_as_they_were_written(cells):
    page = write_page(Card(title="", sections=(Section(title="", text=table(("a", "b", "c"), [cells])),)))
    shown = re.findall("<td>(.*?)</td>", page, flags=re.DOTALL)
    assert [unescape(cell) for cell in shown] == [" ".join(cell.split()) for cell in cells]


def test_sections_are_read_by_their_headings():
    assert list(read_sections(INSIDE)) == ["tiny 3 (int8)", "Data", "What it is worth", "Limits"]
    assert read_sections("no heading") == {}


def test_a_card_tells_what_devices_need_and_how_far_golden_answers_may_be_off():
    text = str(card_of())
    (line,) = (one for one in text.splitlines() if one.startswith("| int8 | FULLY_CONNECTED 4, SOFTMAX 2 |"))
    assert line == "| int8 | FULLY_CONNECTED 4, SOFTMAX 2 | unknown | yes | 1 step | 48 steps |"


def test_a_card_puts_the_recall_of_each_class_beside_that_of_float32():
    described = facts_of().files[0]
    files = [
        msgspec.structs.replace(
            described,
            manifest=msgspec.structs.replace(described.manifest, variant=variant, metrics={"recall.red": recall}),
        )
        for variant, recall in ((Variant.FLOAT32, 0.97), (Variant.INT8, 0.91))
    ]
    text = str(card_of(files=tuple(files)))
    assert "| recall of class | float32 | int8 |" in text
    assert "| red | 0.97 | 0.91 |" in text


def test_what_a_rule_says_of_several_variants_alike_is_told_once():
    rules = (Rule(name="is-quiet", passed=True, reason="silent"), Rule(name="heals", passed=True, reason="nothing"))
    quiet = descriptor_of(promotion=Promotion(passed=True, rules=rules))
    manifest = msgspec.structs.replace(quiet.manifest, variant=Variant.FLOAT32)
    loud = (Rule(name="is-quiet", passed=False, reason="loud"), rules[1])
    other = msgspec.structs.replace(quiet, manifest=manifest, promotion=Promotion(passed=False, rules=loud))
    (gate,) = (one for one in card_of(files=(quiet, other)).sections if one.title == "Promotion gate")
    assert gate.text.splitlines()[2:] == [
        "| is-quiet | int8 | yes | silent |",
        "| is-quiet | float32 | NO | loud |",
        "| heals | int8, float32 | yes | nothing |",
    ]
