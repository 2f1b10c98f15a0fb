"""The talk between a parent and its trust child, without a child."""

import io

import pytest

from edgeops.errors import TrustError
from edgeops.limits import MAX_TRUST_FRAME_BYTES
from edgeops.trust.frames import (
    Answer,
    Ask,
    Failure,
    FailureKind,
    Result,
    Said,
    converse,
    read_frame,
    write_frame,
)

ASK = Ask(targets=("a.json",), max_bytes=10, now=0)
RESULT = Result(targets={"a.json": b"x"}, listed={"a.json": 1}, versions={"root": 1}, expires={"root": 2})


def child_that_says(*frames: Said) -> io.BytesIO:
    stream = io.BytesIO()
    for frame in frames:
        write_frame(stream, frame)
    stream.seek(0)
    return stream


def frames_of(stream: io.BytesIO, first: type, rest: type) -> list:
    stream.seek(0)
    frames = [read_frame(stream, first)]
    while stream.tell() < len(stream.getvalue()):
        frames.append(read_frame(stream, rest))
    return frames


def test_the_parent_serves_what_the_child_needs_and_returns_its_result():
    to_child = io.BytesIO()
    files = {"metadata/timestamp.json": b"{}"}

    outcome = converse(
        to_child,
        child_that_says(Said(need="metadata/2.root.json"), Said(need="metadata/timestamp.json"), Said(result=RESULT)),
        ask=ASK,
        fetch=files.get,
    )

    assert outcome == RESULT
    assert frames_of(to_child, Ask, Answer) == [ASK, Answer(missing=True), Answer(data=b"{}")]


def test_a_server_that_cannot_be_reached_is_told_to_the_child():
    def unreachable(_path: str) -> bytes:
        raise ConnectionRefusedError("connection refused")

    to_child = io.BytesIO()
    failure = Failure(kind=FailureKind.TRANSPORT, detail="no contact")

    outcome = converse(
        to_child, child_that_says(Said(need="metadata/2.root.json"), Said(failure=failure)), ask=ASK, fetch=unreachable
    )

    assert outcome == failure
    assert frames_of(to_child, Ask, Answer)[1] == Answer(error="connection refused")


def test_a_child_that_ends_without_an_answer_is_an_error():
    with pytest.raises(TrustError, match="gone"):
        converse(io.BytesIO(), io.BytesIO(), ask=ASK, fetch=lambda _path: None)


def test_a_child_that_says_nothing_is_of_another_version():
    with pytest.raises(TrustError, match="install both again"):
        converse(io.BytesIO(), child_that_says(Said()), ask=ASK, fetch=lambda _path: None)


def test_an_error_without_words_is_told_by_its_kind():
    def unreachable(_path: str) -> bytes:
        raise TimeoutError

    to_child = io.BytesIO()
    converse(to_child, child_that_says(Said(need="x"), Said(result=RESULT)), ask=ASK, fetch=unreachable)
    assert frames_of(to_child, Ask, Answer)[1] == Answer(error="TimeoutError")


def test_a_frame_cut_short_is_an_error():
    whole = child_that_says(Said(result=RESULT)).getvalue()
    with pytest.raises(TrustError, match="gone"):
        read_frame(io.BytesIO(whole[:-1]), Said)


def test_a_frame_of_another_shape_is_an_error():
    stream = io.BytesIO((1).to_bytes(4, "big") + b"\x07")
    with pytest.raises(TrustError, match="not a Said frame"):
        read_frame(stream, Said)


@pytest.mark.parametrize("body", [b"\x81\xa4need\xa1\xff", b"\x81\xa1x" + b"\x91" * 5000])
def test_a_frame_that_is_no_text_or_nested_without_end_is_an_error(body):
    with pytest.raises(TrustError, match="not a Said frame"):
        read_frame(io.BytesIO(len(body).to_bytes(4, "big") + body), Said)


def test_a_frame_of_the_limit_is_read():
    data = bytes(MAX_TRUST_FRAME_BYTES - 11)
    stream = io.BytesIO()
    write_frame(stream, Answer(data=data))
    assert len(stream.getvalue()) == 4 + MAX_TRUST_FRAME_BYTES
    stream.seek(0)
    assert read_frame(stream, Answer).data == data


def test_a_frame_beyond_the_limit_is_not_read():
    with pytest.raises(TrustError, match="exceeds"):
        read_frame(io.BytesIO((MAX_TRUST_FRAME_BYTES + 1).to_bytes(4, "big")), Said)


def test_the_words_for_a_failure_are_those_that_the_server_is_told():
    assert [str(kind) for kind in FailureKind] == [
        "expired",
        "unsigned",
        "rollback",
        "missing",
        "transport",
        "length-or-hash",
        "disk",
        "other",
    ]
