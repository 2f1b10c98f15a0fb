"""docs/security.md answers for every adversary and every attempt, and the tests it names exist."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs/security.md").read_text()
ADVERSARIES = ("The broker", "The server", "The trainer", "A device", "The network", "The operator")
ATTEMPTS = ["forge", "replay", "withhold", "read", "exhaust"]
TESTS = {path.stem for path in (PROJECT / "tests").rglob("test_*.py")}


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_every_adversary_has_an_answer_to_every_attempt(adversary):
    section = re.search(rf"^### {adversary}\n(.*?)^##", PAGE, re.MULTILINE | re.DOTALL)[1]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    assert [row[0].strip() for row in rows] == ATTEMPTS
    assert all(len(row) == 3 and row[1].strip() and row[2].strip() for row in rows)


def test_the_tests_that_are_named_exist():
    named = set(re.findall(r"`(test_[a-z_]+)`", PAGE))
    assert len(named) > 10
    assert named - TESTS == set()
