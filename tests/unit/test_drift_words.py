"""What a person reads of a judgement: each sentence with its numbers, its advice, and at most three names."""

from dataclasses import replace

import pytest

from edgeops.drift.finding import ChannelFinding, Fault, Kind, QualityIssue
from edgeops.drift.performance import Estimate
from edgeops.drift.words import (
    Lack,
    of_class_mix,
    of_drift,
    of_lack,
    of_performance,
    of_quality,
    of_stability,
)


def channel(name, distance, *, drifted=True, floor=0.08, p_value=1e-4):
    return ChannelFinding(
        name=name, kind=Kind.DATA, distance=distance, p_value=p_value, effective_rows=250.4, floor=floor,
        drifted=drifted, reference_histogram=(), window_histogram=(),
    )  # fmt: skip


def issues(count):
    return [QualityIssue(channel=f"c{place}", fault=Fault.STUCK, detail="stays at 3") for place in range(count)]


def test_one_channel_that_moved_is_named_with_its_evidence_and_what_to_do():
    assert of_drift([channel("heat", 0.31), channel("still", 0.9, drifted=False)], again=True, local=False) == (
        "heat has moved: heat by D = 0.31, where 0.08 would matter and chance shows as much in one of 10,000 cases "
        "(250 independent rows, in two of the last three windows). Label the nominated samples and retrain."
    )


def test_of_several_channels_the_clearest_comes_first_and_three_are_named():
    moved = [channel("a", 0.2), channel("b", 0.5), channel("c", 0.5, floor=0.45), channel("d", 0.3), channel("e", 0.4)]
    text = of_drift(moved, again=False, local=False)
    assert text.startswith("b, e, d and 2 more have moved: b by D = 0.50, ")
    assert "in one merged window" in text
    assert of_drift(moved[:3], again=False, local=False).startswith("b, a, c have moved: ")


def test_of_one_device_the_sentence_speaks_of_that_device():
    text = of_drift([channel("heat", 0.31)], again=True, local=True)
    assert text.startswith(
        "This device sees another world than its siblings and the reference: heat has moved, heat by D = 0.31, "
    )
    assert text.endswith("Look at its sensors and its place; if what it sees is right, label samples of this device.")


@pytest.mark.parametrize(
    ("p_value", "words"),
    [
        (1e-12, "one of 1,000,000,000,000 cases"),
        (9e-13, "less than one of 10^12 cases"),
        (0.5, "one of 2 cases"),
        (1.0, "every case"),
    ],
)
def test_chance_is_told_as_one_of_so_many_cases(p_value, words):
    assert f"chance shows as much in {words} (" in of_drift(
        [channel("a", 0.2, p_value=p_value)], again=True, local=True
    )


def test_readings_that_cannot_be_trusted_are_told_with_where_to_look():
    assert of_quality(issues(1), local=False) == (
        "Readings cannot be trusted: c0 stays at 3. Look at the sensors, or what feeds them; nothing is learnt from "
        "these rows until then."
    )
    assert "c0 stays at 3; c1 stays at 3; c2 stays at 3. Look at this device's sensor or its wiring;" in of_quality(
        issues(3), local=True
    )
    assert "c2 stays at 3; and 2 more. Look" in of_quality(issues(5), local=True)


def test_another_mix_of_classes_is_told_as_such():
    assert of_class_mix(0.254, again=False, local=False) == (
        "The answers of the fleet come in another mix (25% of them are of another class than in the reference, in one "
        "merged window), and that alone explains what moved: given the answer, what it sees looks as in the reference. "
        "If the mix is plausible, nothing needs to be retrained."
    )
    assert of_class_mix(0.2, again=True, local=True).startswith("The answers of this device come in another mix (20% ")


def test_stability_is_told_with_what_it_rests_on():
    assert of_stability(judged=16, unjudged=(), rows=500, local=False) == (
        "Nothing that matters has moved on 16 channels over 500 rows."
    )
    text = of_stability(judged=12, unjudged=("a", "b", "c", "d"), rows=500, local=True)
    assert text == (
        "This device sees what its siblings see on 12 channels over 500 rows. Not judged yet, for they or their "
        "reference are worth too few independent rows: a, b, c and more."
    )
    assert of_stability(judged=12, unjudged=("a", "b", "c"), rows=500, local=True).endswith(" rows: a, b, c.")


LACK = Lack(
    channel="heat", effective_rows=7.25, lag1=0.98, reference_rows=300.0, rows=1200, windows=3, of_the_reference=False
)


def test_too_few_rows_are_told_with_how_many_more_are_needed():
    assert of_lack(LACK, rows=600) == (
        "Too little to say: 600 rows came, on heat worth 7.2 independent ones, for each is much like the one before "
        "(lag-1 autocorrelation 0.9800); a verdict needs about 1200 more, 3 windows as they came so far."
    )
    assert of_lack(replace(LACK, windows=2), rows=600).endswith("1200 more, 2 windows as they came so far.")
    assert of_lack(replace(LACK, windows=1), rows=600).endswith("a verdict needs about 1200 more.")
    assert of_lack(replace(LACK, lag1=0.0), rows=600).startswith("Too little to say: 600 rows came; a verdict needs")
    assert of_lack(LACK, rows=0).startswith("Too little to say: no rows came yet; a verdict needs")


def test_where_more_rows_would_not_help_it_says_what_would():
    never = "a verdict needs more than the horizon of a judgement holds: send fewer rows, further apart."
    assert of_lack(replace(LACK, rows=None), rows=600).endswith(never)
    assert of_lack(replace(LACK, windows=None), rows=600).endswith(never)
    assert of_lack(replace(LACK, of_the_reference=True, reference_rows=10.0), rows=600).endswith(
        "the reference itself is worth 10 independent rows there, so a verdict needs a reference over a longer time."
    )
    assert "is worth 9.9 independent rows" in of_lack(
        replace(LACK, of_the_reference=True, reference_rows=9.94), rows=600
    )
    assert of_lack(None, rows=600) == "Too little to say: the model watches nothing that could be compared."


def test_a_fall_of_confidence_is_told_beside_the_verdict():
    assert of_performance(Estimate(accuracy=0.812, reference=0.956, has_fallen=True)) == (
        " From its confidence the model is right in about 81% of the rows, 96% in the reference; labels would tell."
    )
