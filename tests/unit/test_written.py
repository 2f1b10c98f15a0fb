"""Files that people wrote: what is read of them, and how one that cannot be read is named."""

import pytest

from edgeops import limits
from edgeops.errors import InputError
from edgeops.written import read_written


def refusal(path):
    with pytest.raises(InputError) as told:
        read_written(path)
    return str(told.value)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_bytes(b"\xef\xbb\xbftask = 'anomaly'\n")
    assert read_written(file) == "task = 'anomaly'\n"


def test_text_that_is_no_utf8_is_named_with_its_line(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_bytes("task = 'anomaly'\nlabel = 'caf\u00e9'\n".encode("latin-1"))
    assert refusal(file) == f"{file}, line 2: no UTF-8 text (invalid continuation byte); save it as UTF-8"


def test_no_more_is_read_than_a_person_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_WRITTEN_BYTES", 10)
    file = tmp_path / "fleet.yaml"
    file.write_text("# 34567890")
    assert read_written(file) == "# 34567890"
    file.write_text("# 345678901")
    assert refusal(file) == f"{file} is larger than 10 bytes"


@pytest.mark.parametrize(("name", "words"), [("none.toml", "No such file"), ("", "Is a directory")])
def test_what_cannot_be_read_is_named(tmp_path, name, words):
    assert refusal(tmp_path / name).startswith(f"cannot read {tmp_path / name}: {words}")
