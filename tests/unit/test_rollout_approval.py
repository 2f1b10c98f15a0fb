"""Four eyes: who began a rollout does not say yes to it."""

from edgeops.rollout.approval import NotYours, judge_approval


def test_with_four_eyes_nobody_approves_what_they_began():
    verdict = judge_approval("ann", "ann", four_eyes=True)
    assert isinstance(verdict, NotYours)
    assert "ann" in verdict.reason


def test_with_four_eyes_somebody_else_approves():
    assert judge_approval("ann", "bob", four_eyes=True) is None


def test_without_four_eyes_one_person_may_do_both():
    assert judge_approval("ann", "ann", four_eyes=False) is None
