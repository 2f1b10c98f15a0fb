"""Judges what devices answered against what is true, row by row.

A row counts when the device that was to answer it did so with the model it committed: the join is by
(device, committed digest, input id). A row without such an answer is missing, never wrong. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """One published prediction."""

    device: str
    digest: str
    input_id: str
    label: str


@dataclass(frozen=True, slots=True)
class Score:
    """How many rows were to be answered, were answered, and were answered right."""

    rows: int
    joined: int
    correct: int

    @property
    def accuracy(self) -> float | None:
        """Share of right answers among the joined rows; None when there are none."""
        return self.correct / self.joined if self.joined else None

    @property
    def coverage(self) -> float:
        """Share of rows that were answered; 1 when none was asked for."""
        return self.joined / self.rows if self.rows else 1.0


def score_device(
    device: str, share: Sequence[str], truth: Mapping[str, str], *, committed: str | None, answers: Iterable[Answer]
) -> Score:
    """Judge one device.

    Args:
        device: its id.
        share: the input ids it was to answer.
        truth: input id -> label.
        committed: digest of the model it committed; None = none, so nothing can be joined.
        answers: predictions, of any device and model.
    """
    wanted = set(share)
    given = {
        answer.input_id: answer.label
        for answer in answers
        if answer.device == device and answer.digest == committed and answer.input_id in wanted
    }
    return Score(
        rows=len(wanted),
        joined=len(given),
        correct=sum(truth.get(input_id) == label for input_id, label in given.items()),
    )


def total(scores: Iterable[Score]) -> Score:
    """All devices as one."""
    every = list(scores)
    return Score(
        rows=sum(one.rows for one in every),
        joined=sum(one.joined for one in every),
        correct=sum(one.correct for one in every),
    )
