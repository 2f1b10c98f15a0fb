"""What a rollout's waves have shown, printed: the verdict in words, and the findings it stands on."""

from edgeops.api.shapes import Evidence, EvidenceFinding
from edgeops.cli.output import print_table, printable

#: One character a finding, before its words.
_MARKS = {"good": "+", "bad": "!", "open": "?", "told": " "}


def print_words(evidence: Evidence) -> None:
    """One paragraph a wave."""
    for wave in evidence.waves:
        print(f"wave {wave.position + 1}: {wave.health}: {printable(wave.words)}")


def print_findings(evidence: Evidence) -> None:
    """One table over all waves."""
    print_table(
        ("wave>", "", "evidence", "in words"),
        [(wave.position + 1, *_row(one)) for wave in evidence.waves for one in wave.findings],
        empty="nothing was shown yet",
    )


def _row(finding: EvidenceFinding) -> tuple[str, str, str]:
    return _MARKS.get(finding.sign, "?"), finding.kind, printable(finding.words)
