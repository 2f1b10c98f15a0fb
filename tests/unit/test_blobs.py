"""Blobs are named by their content and appear whole or not at all."""

import io

import pytest

from edgeops.digest import digest_bytes
from edgeops.errors import InputError, MessageError, NotFoundError
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig


@pytest.fixture
def config(tmp_path):
    return ServerConfig(tmp_path)


@pytest.fixture
def blobs(config):
    return Blobs(config)


def files(config):
    return [path for path in config.blobs.rglob("*") if path.is_file()]


def test_the_same_bytes_are_kept_once(blobs, config):
    assert blobs.put(b"model") == blobs.put(b"model") == digest_bytes(b"model")
    assert blobs.put_file(io.BytesIO(b"model"), max_bytes=5) == (digest_bytes(b"model"), 5)
    assert len(files(config)) == 1
    assert blobs.read(digest_bytes(b"model")) == b"model"


def test_too_many_bytes_leave_nothing_behind(blobs, config):
    with pytest.raises(InputError, match="more than 4 bytes"):
        blobs.put_chunks(iter([b"mo", b"de", b"l"]), max_bytes=4)
    assert files(config) == []


def test_an_upload_that_breaks_off_leaves_nothing_behind(blobs, config):
    def breaks_off():
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        blobs.put_chunks(breaks_off(), max_bytes=100)
    assert files(config) == []


def test_a_damaged_blob_is_noticed(blobs, config):
    digest = blobs.put(b"model")
    assert blobs.verify(digest)
    config.blob_path(digest).write_bytes(b"medol")
    assert blobs.exists(digest)
    assert not blobs.verify(digest)


def test_an_unknown_blob_is_not_found(blobs):
    assert not blobs.exists(digest_bytes(b"nothing"))
    assert not blobs.verify(digest_bytes(b"nothing"))
    with pytest.raises(NotFoundError, match="sha256:"):
        blobs.open(digest_bytes(b"nothing"))


@pytest.mark.parametrize("name", ["", "sha256:..", "sha256:" + "A" * 64, "../../keys/root.pem"])
def test_a_name_that_is_no_digest_leads_nowhere(blobs, name):
    with pytest.raises(MessageError):
        blobs.path(name)
