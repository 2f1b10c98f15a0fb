"""What ran on a deployment, from when to when."""

from datetime import UTC, datetime, timedelta

from edgeops.rollout.installation import InstallationState as State
from edgeops.rollout.stays import Held, find_stays

START = datetime(2026, 1, 1, tzinfo=UTC)


def held(name, state, finished, updated=None):
    at = START + timedelta(hours=finished)
    return Held(
        id=name, digest=f"digest of {name}", state=state, finished_at=at,
        updated_at=at if updated is None else START + timedelta(hours=updated),
    )  # fmt: skip


def hours(*parts):
    return [
        (
            one.installation,
            (one.since - START) / timedelta(hours=1),
            one.until and (one.until - START) / timedelta(hours=1),
        )
        for one in find_stays(parts)
    ]


def test_a_model_runs_until_the_next_one_does():
    assert hours(held("b", State.HEALTHY, 5, 6), held("a", State.COMMITTED, 1)) == [("a", 1, 5), ("b", 5, None)]


def test_what_ended_badly_never_ran():
    assert hours(held("a", State.FAILED, 1), held("b", State.ROLLED_BACK, 2), held("c", State.INCONCLUSIVE, 3)) == []


def test_what_was_taken_back_after_its_commit_or_fell_ran_until_then():
    assert hours(held("a", State.ROLLED_BACK, 1, 3)) == [("a", 1, 3)]
    assert hours(held("a", State.REGRESSED, 1, 4), held("b", State.HEALTHY, 2)) == [("a", 1, 2), ("b", 2, None)]


def test_the_order_in_which_installations_are_told_does_not_matter():
    parts = [held("a", State.HEALTHY, 1), held("b", State.REGRESSED, 2, 3), held("c", State.HEALTHY, 9)]
    assert find_stays(parts) == find_stays(reversed(parts))
