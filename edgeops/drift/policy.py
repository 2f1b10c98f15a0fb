"""When a difference between windows and reference counts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPolicy:
    """Chosen by measurement: see docs/drift.md and `make bench`."""

    #: Of one judged window, over all channels (Holm); two of the last three must reach it. They are tried at two
    #: widths, so it is half of 5 % ...
    alpha: float = 0.025
    #: ... or one merged window this.
    merged_alpha: float = 0.001
    #: What the evidence must reach without any single device ...
    guarded_alpha: float = 0.015
    #: ... and while some voices or devices moved by themselves and others did not: one that lies all the time has as
    #: many tries as there are judgements, and gets through in few whole horizons at this (`bench.drift_liar`).
    strict_guarded_alpha: float = 0.0002
    #: A voice that says as little as this by chance more often did not move.
    unmoved_p: float = 0.25
    #: The least D that matters.
    floor: float = 0.08
    #: The least a judged window holds: rows, and independent rows.
    min_rows: int = 50
    min_effective_rows: float = 20.0
    #: The least independent rows of a merged window that decides alone.
    merged_effective_rows: float = 40.0
    #: Judged windows are also tried this many times larger: a slow process needs them.
    widening: float = 4.0
    #: Windows that may merge: how far back a judgement looks.
    horizon_windows: int = 128
