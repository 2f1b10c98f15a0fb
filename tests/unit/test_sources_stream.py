"""Rows that come through a socket: columns by name, bad lines told and passed over, nothing read twice or lost."""

import json
import socket

import numpy as np
import pytest

from device_agent.sources.stream import StreamSource
from edgeops import limits
from edgeops.errors import DatasetError


class Pipe:
    """Both ends of one stream."""

    def __init__(self) -> None:
        self.writer, self.reader = socket.socketpair()
        self.source: StreamSource | None = None

    def open(self, *, header=None, line=1, columns=("x", "y")) -> StreamSource:
        self.source = StreamSource(self.reader, run="run", header=header, line=line)
        self.source.select(columns)
        return self.source

    def write(self, text: str | bytes) -> None:
        self.writer.sendall(text.encode() if isinstance(text, str) else text)

    def fill(self) -> int:
        """Write rows until nothing more fits; bytes written."""
        self.writer.setblocking(False)
        written = 0
        while True:
            try:
                written += self.writer.send(b"1,2\n" * 1000)
            except BlockingIOError:
                return written

    def end(self) -> None:
        self.writer.shutdown(socket.SHUT_WR)

    def rest(self) -> list[list[float]]:
        rows = []
        while (part := self.source.read(10)) is not None:
            rows += part.values.tolist()
        return rows

    def told(self) -> list[dict]:
        self.writer.settimeout(0.2)
        data = b""
        try:
            while part := self.writer.recv(65536):
                data += part
        except TimeoutError:
            pass
        return [json.loads(line) for line in data.splitlines()]

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


@pytest.fixture
def pipe():
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_columns_are_taken_by_name_and_a_label_stays_out(pipe):
    source = pipe.open(header=["label", "y", "time", "x"])
    pipe.write("secret,2,noon,1\nsecret,4,,3\n")
    pipe.end()
    rows = source.read(10)
    assert rows.values.tolist() == [[1, 2], [3, 4]]
    assert rows.values.dtype == np.float32
    assert source.read(10) is None


def test_json_lines_may_hold_more_than_is_asked_for(pipe):
    pipe.open()
    pipe.write('{"y": 2, "x": 1, "label": "secret"}\r\n\n{"x": null, "y": "4"}')
    pipe.end()
    assert str(pipe.rest()) == "[[1.0, 2.0], [nan, 4.0]]"


def test_ids_come_from_the_stream_or_name_its_line(pipe):
    source = pipe.open(header=["id", "x", "y"], line=2)
    pipe.write("a7,1,2\n\n")
    pipe.end()
    assert list(source.read(10).ids) == ["a7"]


def test_lines_without_an_id_are_named_by_run_and_number_so_that_two_streams_never_share_one(pipe):
    source = pipe.open(header=["x", "y"], line=2)
    pipe.write("1,2\n\nbad,2\n3,4\n")
    pipe.end()
    assert list(source.read(10).ids) == ["run-2", "run-5"]


def test_a_bad_line_is_told_with_its_number_counted_and_passed_over(pipe):
    source = pipe.open(header=["x", "y"], line=2)
    pipe.write(b'1,2\n3\n4,abc\n"5,6\n\xff,1\n7,8\n')
    pipe.end()
    assert pipe.rest() == [[1, 2], [7, 8]]
    assert source.refused == 4
    told = [message["refused"] for message in pipe.told()]
    assert told[0] == "stdin, line 3: 1 cells, the header has 2"
    assert told[1] == "stdin, line 4, column y: 'abc' is not a number"
    assert "line 5: not CSV" in told[2]
    assert "line 6: not CSV" in told[3]


def test_bad_json_is_told_and_passed_over(pipe):
    source = pipe.open()
    pipe.write('{"x": 1\n[1, 2]\n{"x": 1}\n{"x": 1, "y": true, "id": ""}\n{"x": 1, "y": 2}\n' + "[" * 5000 + "\n")
    pipe.end()
    assert pipe.rest() == [[1, 2]]
    assert source.refused == 5
    told = [message["refused"] for message in pipe.told()]
    assert "not JSON" in told[0]
    assert "expected an object" in told[1]
    assert "lacks y" in told[2]
    assert "1 to 64 characters" in told[3]


def test_of_a_flood_of_bad_lines_the_first_are_told_and_all_counted(pipe):
    source = pipe.open(header=["x", "y"])
    pipe.write("bad,bad\n" * 300)
    pipe.end()
    assert pipe.rest() == []
    assert source.refused == 300
    assert len(pipe.told()) == 20


def test_a_line_without_end_fills_no_memory(pipe, monkeypatch):
    monkeypatch.setattr("device_agent.sources.stream.MAX_FEED_LINE_BYTES", 1000)
    source = pipe.open(header=["x", "y"])
    pipe.write("1,2\n" + "9" * 5000)
    source.read(10)
    pipe.write("9" * 5000)
    source.read(10)
    pipe.write("\n3,4\n")
    pipe.end()
    assert pipe.rest() == [[3, 4]]
    assert source.refused == 1
    assert "longer than 1000 bytes" in pipe.told()[0]["refused"]
    assert limits.MAX_FEED_LINE_BYTES > 1000


def test_rows_that_were_not_played_come_again_with_other_columns(pipe):
    source = pipe.open(header=["x", "y"])
    pipe.write("1,2\n3,4\n5,6\n7,8\n")
    pipe.end()
    assert source.read(3).position == 3
    source.seek(1)
    source.select(["y"])
    again = source.read(2)
    assert (again.values.tolist(), list(again.ids), again.position) == ([[4], [6]], ["run-2", "run-3"], 3)
    source.seek(3)
    assert source.read(2).values.tolist() == [[8]]


def test_a_line_that_arrives_in_pieces_is_one_row(pipe):
    source = pipe.open(header=["x", "y"])
    pipe.write("1")
    assert len(source.read(10).ids) == 0
    pipe.write(",2\n3,")
    assert source.read(10).values.tolist() == [[1, 2]]
    pipe.write("4")
    pipe.end()
    assert pipe.rest() == [[3, 4]]


def test_no_more_is_read_than_is_played(pipe):
    source = pipe.open(header=["x", "y"])
    written = pipe.fill()
    played = sum(len(source.read(64).ids) for _ in range(3))
    assert played == 192
    assert written + pipe.fill() < 2**20


def test_a_column_that_the_header_lacks_is_told_and_refused(pipe):
    source = pipe.open(header=["x", "y"])
    with pytest.raises(DatasetError, match="stdin lacks z"):
        source.select(["x", "z"])
    assert "lacks z" in pipe.told()[0]["refused"]


def test_the_end_says_how_much_was_taken(pipe):
    source = pipe.open(header=["x", "y"])
    pipe.write("1,2\nbad\n3,4\n")
    pipe.end()
    pipe.rest()
    source.close("")
    assert pipe.told()[-1] == {"ended": "", "rows": 2, "refused": 1}


def test_a_writer_that_died_ends_the_stream_after_its_last_row(pipe):
    pipe.open(header=["x", "y"])
    pipe.write("1,2\nbad\n")
    pipe.writer.close()
    assert pipe.rest() == [[1, 2]]
    pipe.source.close("")


def test_numbers_beyond_32_bits_are_infinite(pipe):
    pipe.open(header=["x", "y"])
    pipe.write("1e300,1\n")
    pipe.end()
    assert pipe.rest() == [[float("inf"), 1.0]]
