"""The order of desired states."""

from edgeops.protocol.messages import Desired, DeviceFacts, Reported
from edgeops.trust.desired import DesiredMark, Precedence, judge, mark_of, newer, next_mark, reported_mark


def desired(epoch: int, revision: int) -> Desired:
    return Desired(epoch=epoch, revision=revision, deployments=())


def test_a_higher_revision_is_accepted():
    assert judge(DesiredMark(1, 4), desired(1, 5)) is Precedence.ACCEPT
    assert newer(DesiredMark(1, 4), desired(1, 5))


def test_the_first_desired_state_is_accepted():
    assert judge(DesiredMark(), desired(1, 1)) is Precedence.ACCEPT


def test_the_same_one_again_is_a_repeat_and_not_newer():
    assert judge(DesiredMark(1, 4), desired(1, 4)) is Precedence.REPEATED
    assert not newer(DesiredMark(1, 4), desired(1, 4))


def test_a_lower_revision_is_older():
    assert judge(DesiredMark(1, 4), desired(1, 3)) is Precedence.OLDER


def test_a_later_epoch_wins_over_any_revision():
    assert judge(DesiredMark(1, 900), desired(2, 1)) is Precedence.ACCEPT
    assert judge(DesiredMark(2, 1), desired(1, 900)) is Precedence.OLDER


def test_the_next_mark_counts_up_within_an_epoch():
    assert next_mark(DesiredMark(1, 4), DesiredMark(1, 4), 1) == DesiredMark(1, 5)


def test_a_restored_server_goes_above_what_the_device_reports():
    assert next_mark(DesiredMark(1, 4), DesiredMark(1, 90), 1) == DesiredMark(1, 91)


def test_a_new_epoch_begins_at_one():
    assert next_mark(DesiredMark(1, 90), DesiredMark(1, 90), 2) == DesiredMark(2, 1)


def test_a_device_that_saw_a_later_epoch_is_not_sent_an_older_one():
    following = next_mark(DesiredMark(1, 4), DesiredMark(3, 7), 2)
    assert following == DesiredMark(3, 8)
    assert newer(DesiredMark(3, 7), desired(following.epoch, following.revision))
    assert mark_of(desired(3, 8)) == following


def test_what_a_device_reports_is_the_last_desired_state_it_took_in():
    facts = DeviceFacts(
        arch="x86_64", runtime="litert", runtime_version="2.3", python="3.11", memory_bytes=1, disk_free_bytes=1
    )
    told = Reported(desired_epoch=2, desired_revision=7, facts=facts, deployments=())
    assert reported_mark(told) == DesiredMark(2, 7)
