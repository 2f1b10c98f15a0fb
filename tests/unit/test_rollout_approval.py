"""Four eyes: who began a rollout does not say yes to it."""

from edgeops.rollout.approval import NotYours, awaits_approval, judge_approval

#: Whether the order of a rollout demands an approval, and four eyes are demanded.
ALL = [(False, False), (False, True), (True, False), (True, True)]


def test_with_four_eyes_nobody_approves_what_they_began():
    verdict = judge_approval("ann", "ann", four_eyes=True)
    assert isinstance(verdict, NotYours)
    assert "ann" in verdict.reason


def test_with_four_eyes_somebody_else_approves():
    assert judge_approval("ann", "bob", four_eyes=True) is None


def test_without_four_eyes_one_person_may_do_both():
    assert judge_approval("ann", "ann", four_eyes=False) is None


def test_a_rollout_awaits_an_approval_that_its_order_or_four_eyes_demand():
    wanted = {
        (demanded, four): awaits_approval("ann", None, demanded=demanded, four_eyes=four) for demanded, four in ALL
    }
    assert [demands for demands, awaits in wanted.items() if not awaits] == [(False, False)]


def test_an_approval_of_somebody_else_is_enough():
    assert not any(awaits_approval("ann", "bob", demanded=demanded, four_eyes=four) for demanded, four in ALL)


def test_an_approval_of_who_began_it_is_enough_without_four_eyes_alone():
    awaits = {
        (demanded, four): awaits_approval("ann", "ann", demanded=demanded, four_eyes=four) for demanded, four in ALL
    }
    assert all(awaits[demands] is demands[1] for demands in ALL)
