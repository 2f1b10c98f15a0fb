"""What labels amount to, what a model may learn from, and what a file says."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops import limits
from edgeops.learning.labels import (
    Agreed,
    Disputed,
    Given,
    LabelSource,
    Refused,
    Statement,
    TrainingLabel,
    cap_feedback,
    check,
    read_csv,
    settle,
    trainable,
    without_contradictions,
)

START = datetime(2026, 11, 23, 12, tzinfo=UTC)


def said(label, author="ann", *, sample="s-1", source=LabelSource.PERSON, device="dev-1", at=0):
    return Statement(sample, device, label, source, author, START + timedelta(seconds=at))


def feedback(label, *, sample="s-1", device="dev-1", at=0):
    return said(label, device, sample=sample, source=LabelSource.FEEDBACK, device=device, at=at)


# -- one sample -----------------------------------------------------------------------------


def test_nobody_spoke():
    assert settle([]) is None


def test_one_author_is_believed_and_may_correct_himself():
    assert settle([said("red"), said("blue", at=1)]) == Agreed("blue", LabelSource.PERSON, START + timedelta(seconds=1))


def test_two_authors_who_differ_make_a_dispute():
    outcome = settle([said("red"), said("blue", "bob")])
    assert outcome == Disputed({"ann": "red", "bob": "blue"})
    assert str(outcome) == "ann says 'red'; bob says 'blue'"


def test_a_dispute_ends_when_one_corrects_himself():
    assert settle([said("red"), said("blue", "bob"), said("blue", at=5)]).label == "blue"


def test_a_dispute_ends_when_more_than_half_agree():
    assert settle([said("red"), said("blue", "bob"), said("blue", "eve")]).label == "blue"
    two_two = [said("red"), said("blue", "bob"), said("blue", "eve"), said("red", "dan")]
    assert isinstance(settle(two_two), Disputed)


def test_a_device_is_heard_only_where_no_person_spoke():
    assert settle([feedback("blue")]).source is LabelSource.FEEDBACK
    assert settle([said("red"), feedback("blue", at=9)]).label == "red"


def test_a_label_outside_the_classes_is_refused_by_name():
    assert check("red", ("red", "blue")) is None
    assert check("green", ("red", "blue")) == "'green' is none of the classes blue, red"
    assert check("", ("red",)) is not None
    assert "takes no labels" in check("1.5", ())


def test_two_labels_of_one_sample_in_one_request_are_both_refused_and_the_others_taken():
    good, refused = without_contradictions(
        [Given("a", "red"), Given("b", "red"), Given("a", "blue"), Given("b", "red")]
    )
    assert good == [Given("b", "red")]
    assert refused == [Refused("a", "labelled 'red' and 'blue' in one request; send one")]


# -- what may be learnt from ----------------------------------------------------------------


def test_disputed_samples_and_left_out_devices_are_not_learnt_from():
    statements = [
        said("red", sample="s-1"),
        said("red", sample="s-2"),
        said("blue", "bob", sample="s-2"),
        said("red", sample="s-3", device="dev-2"),
    ]
    assert [one.sample_id for one in trainable(statements)] == ["s-1", "s-3"]
    assert [one.sample_id for one in trainable(statements, without_devices={"dev-2"})] == ["s-1"]


def test_feedback_may_be_learnt_from_and_never_judged_on():
    labels = trainable([said("red", sample=f"s-{number}") for number in range(10)] + [feedback("red", sample="f-1")])
    assert {one.sample_id: one.may_judge for one in labels}["f-1"] is False
    assert sum(one.may_judge for one in labels) == 10


def test_feedback_alone_teaches_nothing():
    assert trainable([feedback("red", sample=f"f-{number}") for number in range(50)]) == ()


def test_of_one_devices_feedback_the_newest_counts():
    people = [said("red", sample=f"s-{number}") for number in range(10)]
    flood = [feedback("red", sample=f"f-{number:03}", at=number) for number in range(100)]
    kept = [one.sample_id for one in trainable(people + flood) if not one.may_judge]
    assert kept == ["f-098", "f-099"]


@given(
    people=st.integers(0, 60),
    feedback_of=st.lists(st.integers(0, 60), max_size=12),
)
def test_feedback_never_exceeds_its_shares_and_no_person_is_left_out(people, feedback_of):
    labels = [TrainingLabel(f"s-{n}", "dev-x", "red", LabelSource.API, START) for n in range(people)]
    labels += [
        TrainingLabel(f"f-{device}-{n}", f"dev-{device}", "red", LabelSource.FEEDBACK, START + timedelta(seconds=n))
        for device, count in enumerate(feedback_of)
        for n in range(count)
    ]
    kept = cap_feedback(labels)
    told = [one for one in kept if not one.may_judge]
    assert len(kept) - len(told) == people
    assert len(told) <= limits.FEEDBACK_SHARE * len(kept)
    for device in range(len(feedback_of)):
        own = sum(one.device_id == f"dev-{device}" for one in told)
        assert own <= limits.FEEDBACK_SHARE_PER_DEVICE * len(kept)


# -- files ----------------------------------------------------------------------------------


def test_a_file_is_read_by_its_column_names():
    good, refused = read_csv("\ufefflabel,note,sample_id,remark\r\nred,x,s-1,sure\r\n blue ,y, s-2 ,\r\n\r\n")
    assert good == [Given("s-1", "red", "sure"), Given("s-2", "blue")]
    assert refused == []


def test_rows_without_a_label_were_not_labelled_yet():
    assert read_csv("sample_id,label\ns-1,\ns-2,red\n") == ([Given("s-2", "red")], [])


def test_a_label_of_nothing_is_named_by_its_line():
    good, refused = read_csv("sample_id,label\n,red\ns-2,red\n")
    assert good == [Given("s-2", "red")]
    assert refused == [Refused("", "line 2: a label without sample_id")]


def test_a_file_that_breaks_off_keeps_what_came_before():
    good, refused = read_csv('sample_id,label\ns-1,red\ns-2,"blue\ns-3,red\n')
    assert good == [Given("s-1", "red")]
    assert "nothing was read from there on" in refused[0].reason


@pytest.mark.parametrize("text", ["", "sample_id\ns-1\n", "a,b\n1,2\n"])
def test_a_file_without_the_columns_says_which(text):
    good, refused = read_csv(text)
    assert good == []
    assert "no column" in refused[0].reason


@given(st.text(max_size=300))
def test_no_text_finds_a_bug(text):
    good, refused = read_csv("sample_id,label\n" + text)
    assert all(one.sample_id and one.label for one in good)
    assert all(one.reason for one in refused)
