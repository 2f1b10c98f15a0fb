"""docs/rollouts.md names every key, standing and cause there is, and its selectors can be read."""

import re
from pathlib import Path

import pytest

from edgeops.rollout.conditions import KEYS
from edgeops.rollout.hindrance import Cause
from edgeops.rollout.selector import parse_selector
from edgeops.rollout.targeting import IN, Standing
from edgeops.rollout.waves import parse_waves, split_waves

PAGE = (Path(__file__).resolve().parents[2] / "docs/rollouts.md").read_text()


def section(title):
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def rows(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]


def test_every_key_of_a_selector_is_on_the_page():
    told = {key for row in rows(section("Which devices")) for key in re.findall(r"`([a-z_]+)`", row[0])}
    assert {*KEYS, "all", "online", "group"} - told == set()


def test_the_examples_of_keys_can_be_read():
    examples = [text for row in rows(section("Which devices"))[:11] for text in re.findall(r"`([^`]+)`", row[2])]
    assert len(examples) > 11
    for example in examples:
        parse_selector(example)


def test_the_waves_of_the_page_can_be_read():
    (text,) = re.findall(r"`--waves ([^`]+)`", PAGE)
    assert len(parse_waves(split_waves(text))) == 3


@pytest.mark.parametrize("standing", Standing)
def test_every_standing_is_on_the_page_with_whether_it_is_in(standing):
    (row,) = [row for row in rows(section("Which devices")) if row[0] == f"`{standing}`"]
    assert row[1] == ("yes" if standing in IN else "no")


def test_every_cause_is_on_the_page():
    told = {row[0].strip("`") for row in rows(section("Why does nothing happen?"))}
    assert told == set(Cause)
