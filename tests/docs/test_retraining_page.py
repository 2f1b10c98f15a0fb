"""The page on retraining shows the machine as it is."""

from pathlib import Path

import pytest

from edgeops.learning import retraining
from edgeops.learning.triggers import Cause, Mode, TriggerKind

PAGE = (Path(__file__).resolve().parents[2] / "docs/retraining.md").read_text()


def test_the_diagram_is_made_of_the_table():
    assert f"```mermaid\n{retraining.diagram()}\n```" in PAGE


def test_every_open_state_is_there_with_what_it_waits_for():
    lines = [f"| `{state}` | {words} |" for state, words in retraining.WAITS_FOR.items()]
    assert [line for line in lines if line not in PAGE] == []


@pytest.mark.parametrize("closed_set", [Cause, Mode, TriggerKind])
def test_every_word_of_a_firing_is_there(closed_set):
    assert [word for word in closed_set if word and f"`{word}`" not in PAGE] == []
