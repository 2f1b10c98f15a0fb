"""Puts a judgement into words: what was found, the evidence, what to do about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeops.drift.finding import ChannelFinding, QualityIssue
from edgeops.drift.performance import Estimate

_NAMED = 3

#: Why a mean error cannot be estimated.
ERROR_OF_BAD_READINGS = "readings cannot be trusted"
ERROR_OF_MOVED_INPUTS = "inputs have moved, so answers may err in other ways than on the evaluation set"
ERROR_OF_FEW_INPUTS = "too little was seen of the inputs to say that they are stable"
ERROR_OF_FEW_ANSWERS = "too few answers were seen"
ERROR_OF_NO_WIDTH = "its intervals have no width"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """What is missing before a verdict can be had."""

    #: The channel that half of the channels wait for, and the independent rows that its rows were worth.
    channel: str
    effective_rows: float
    lag1: float
    #: Independent rows of the reference.
    reference_rows: float
    #: More rows, and windows as they came so far; None = more than the horizon holds.
    rows: int | None
    windows: int | None
    #: It is the reference that is not worth enough.
    of_the_reference: bool


def of_quality(issues: Sequence[QualityIssue], *, local: bool) -> str:
    """Readings that cannot be trusted."""
    told = "; ".join(f"{issue.channel} {issue.detail}" for issue in issues[:_NAMED])
    more = f"; and {len(issues) - _NAMED} more" if len(issues) > _NAMED else ""
    where = "this device's sensor or its wiring" if local else "the sensors, or what feeds them"
    return f"Readings cannot be trusted: {told}{more}. Look at {where}; nothing is learnt from these rows until then."


def of_drift(channels: Sequence[ChannelFinding], *, again: bool, local: bool) -> str:
    """Channels that moved; the clearest first."""
    found = sorted((one for one in channels if one.drifted), key=lambda one: one.floor - one.distance)
    names = ", ".join(one.name for one in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    first = found[0]
    evidence = (
        f"{first.name} by D = {first.distance:.2f}, where {first.floor:.2f} would matter and chance shows as much in "
        f"{_chance(first.p_value)} ({first.effective_rows:.0f} independent rows, {_seen(again=again)})"
    )
    have = "has" if len(found) == 1 else "have"
    if local:
        return (
            f"This device sees another world than its siblings and the reference: {names}{more} {have} moved, "
            f"{evidence}. Look at its sensors and its place; if what it sees is right, label samples of this device."
        )
    return f"{names}{more} {have} moved: {evidence}. Label the nominated samples and retrain."


def of_class_mix(swapped: float, *, again: bool, local: bool) -> str:
    """Answers that come in another mix, and nothing else; `swapped` is the share that went to other classes."""
    who = "this device" if local else "the fleet"
    return (
        f"The answers of {who} come in another mix ({swapped:.0%} of them are of another class than in the reference, "
        f"{_seen(again=again)}), and that alone explains what moved: given the answer, what it sees looks as in the "
        "reference. If the mix is plausible, nothing needs to be retrained."
    )


def of_stability(*, judged: int, unjudged: Sequence[str], rows: int, local: bool) -> str:
    """Nothing moved."""
    what = "This device sees what its siblings see" if local else "Nothing that matters has moved"
    text = f"{what} on {judged} channels over {rows} rows."
    if unjudged:
        names = ", ".join(unjudged[:_NAMED]) + (" and more" if len(unjudged) > _NAMED else "")
        text += f" Not judged yet, for they or their reference are worth too few independent rows: {names}."
    return text


def of_lack(lack: Lack | None, *, rows: int) -> str:
    """Too little was seen."""
    if lack is None:
        return "Too little to say: the model watches nothing that could be compared."
    seen = f"{rows} rows came" if rows else "no rows came yet"
    if rows and lack.lag1 > 0:
        seen += (
            f", on {lack.channel} worth {_few(lack.effective_rows)} independent ones, for each is much like the one "
            f"before (lag-1 autocorrelation {lack.lag1:.4f})"
        )
    if lack.of_the_reference:
        need = (
            f"the reference itself is worth {_few(lack.reference_rows)} independent rows there, so a verdict needs a "
            "reference over a longer time"
        )
    elif lack.rows is None or lack.windows is None:
        need = "a verdict needs more than the horizon of a judgement holds: send fewer rows, further apart"
    else:
        windows = f", {lack.windows} windows as they came so far" if lack.windows > 1 else ""
        need = f"a verdict needs about {lack.rows} more{windows}"
    return f"Too little to say: {seen}; {need}."


def of_performance(estimate: Estimate) -> str:
    """Confidence fell."""
    return (
        f" From its confidence the model is right in about {estimate.accuracy:.0%} of the rows, "
        f"{estimate.reference:.0%} in the reference; labels would tell."
    )


def _seen(*, again: bool) -> str:
    return "in two of the last three windows" if again else "in one merged window"


def _chance(p_value: float) -> str:
    if p_value < 1e-12:
        return "less than one of 10^12 cases"
    return f"one of {round(1 / p_value):,} cases" if p_value < 1 else "every case"


def _few(rows: float) -> str:
    return f"{rows:.1f}" if rows < 10 else str(math.floor(rows))
