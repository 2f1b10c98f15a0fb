"""The words of a finding: they stand in databases and answers, and are never renamed."""

from pathlib import Path

from edgeops.drift.finding import Fault, Kind, Verdict
from edgeops.drift.movement import Movement

PAGE = Path(__file__).resolve().parents[2] / "docs" / "drift.md"


def test_verdicts_kinds_faults_and_movements_are_these_words():
    assert [*Verdict] == ["stable", "drift", "not-enough-evidence"]
    assert [*Kind] == ["data", "prediction", "data-quality", "performance"]
    assert [*Fault] == ["missing", "stuck", "out-of-range"]
    assert [*Movement] == ["none", "higher", "lower", "wider", "narrower", "mix"]


def test_every_verdict_and_kind_has_a_line_in_the_page_about_drift():
    text = PAGE.read_text(encoding="utf-8")
    for word in (*Verdict, *Kind):
        assert f"| `{word}` |" in text
