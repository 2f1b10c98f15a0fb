"""The trust child when its parent, its server, its disk or another child is in the way, and what it says of the rest."""

import errno
import fcntl
import io
import os
import shutil
import socket
import struct
import sys
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from tuf.api import exceptions
from tuf.api.metadata import Metadata, MetaFile

from edgeops import limits
from edgeops.trust import client, conformance
from edgeops.trust.fetching import HttpFetcher
from edgeops.trust.frames import Ask, Failure, FailureKind, Result, Said, read_frame, write_frame
from edgeops.trust.signers import signers_in
from edgeops.trust.verification import kind_of
from tests.delegating import delegate
from tests.integration.trust_rig import DESCRIPTOR, Site, listed, served
from tests.integration.trust_rig import kind_of as kind_told

AUTO = "models/digits/auto/2-int8.json"


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


# -- what is told of all that is listed -------------------------------------------------------


def test_a_result_tells_the_version_and_the_end_of_every_role(site):
    """The first end bounds what a signed time may do to a device's clock."""
    outcome = site.ask(DESCRIPTOR)
    assert isinstance(outcome, Result)
    assert outcome.versions == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2}
    ends = {role: site.now + limits.SIGNED_LIFE[role] for role in ("root", "timestamp", "snapshot", "targets")}
    assert outcome.expires == {role: int(end.timestamp()) for role, end in ends.items()}


def test_at_the_very_end_of_a_delegation_its_key_lists_nothing_whatever_it_signed_for_itself(site):
    end = delegate(site.repository, "digits", site.now).expires
    site.repository.publish({AUTO: b"{}"}, site.now)
    site.repository.refresh(end)
    prolong(site, "auto-digits", end + timedelta(days=365))
    assert AUTO in listed(site.ask(AUTO, now=end - timedelta(seconds=1)))
    refused = site.ask(AUTO, now=end)
    assert kind_told(refused) is FailureKind.EXPIRED
    assert "the delegation that covers models/digits/auto/2-int8.json ended" in refused.detail


def prolong(site, role, end):
    """Whoever has all keys of the server makes what a delegated key listed hold until `end`."""
    metadata, signers = site.served / "metadata", signers_in(site.keys)
    timestamp = Metadata.from_file(str(metadata / "timestamp.json"))
    snapshot = Metadata.from_file(str(metadata / f"{timestamp.signed.snapshot_meta.version}.snapshot.json"))
    listing = Metadata.from_file(str(metadata / f"{snapshot.signed.meta[f'{role}.json'].version}.{role}.json"))
    listing.signed.expires = end
    for part, name, signer in (
        (listing, role, signers[role]),
        (snapshot, "snapshot", signers["snapshot"]),
        (timestamp, "timestamp", signers["timestamp"]),
    ):
        if part is snapshot:
            snapshot.signed.meta[f"{role}.json"] = MetaFile(listing.signed.version)
        if part is timestamp:
            timestamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
        part.signed.version += 1
        part.sign(signer)
        file = "timestamp.json" if part is timestamp else f"{part.signed.version}.{name}.json"
        part.to_file(str(metadata / file))


# -- another child, the disk, the parent --------------------------------------------------------


def test_no_other_child_looks_into_the_folder_while_one_does(site):
    looked = []

    def fetch(path):
        with (site.state / ".lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        looked.append(path)
        return site.read(path)

    assert listed(site.ask(DESCRIPTOR, fetch=fetch)) == {DESCRIPTOR}
    assert looked


def test_a_folder_that_cannot_be_used_is_told_and_not_thrown(site):
    (site.state / "targets").write_text("a file where a folder should be")
    outcome = site.ask(DESCRIPTOR)
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.OTHER
    assert "targets" in outcome.detail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_nothing_is_told_as_the_disk_s(number):
    assert kind_of(OSError(number, os.strerror(number))) is FailureKind.DISK


def test_a_child_whose_parent_is_gone_ends_badly_and_without_a_word(site, monkeypatch):
    its_in, ours_out = os.pipe()
    ours_in, its_out = os.pipe()
    with os.fdopen(ours_out, "wb") as to_child:
        write_frame(to_child, Ask(targets=(), max_bytes=1000, now=int(site.now.timestamp())))
    os.close(ours_in)
    with served(site) as url, os.fdopen(its_in) as stdin, os.fdopen(its_out, "w") as stdout:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        assert client.main(["--state", str(site.state), "--url", url]) == 1
        stdout.flush()  # as the interpreter does at its end: nobody is there, and nobody complains


def test_frames_that_come_in_small_pieces_are_read_one_by_one():
    frames = [Said(need="metadata/timestamp.json"), Said(need="metadata/2.root.json")]
    whole = io.BytesIO()
    for frame in frames:
        write_frame(whole, frame)

    class Trickle(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 3))

    stream = Trickle(whole.getvalue())
    assert [read_frame(stream, Said) for _ in frames] == frames


# -- the server ---------------------------------------------------------------------------------


def test_a_server_may_live_below_any_path(site):
    shutil.copytree(site.served, site.served / "tufX")
    with served(site) as url:
        got = b"".join(HttpFetcher(f"{url}/tufX/").fetch("metadata/1.root.json"))
    assert got == site.repository.trusted_root()


def test_why_nothing_was_fetched_is_told_with_the_whole_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(exceptions.DownloadError, match=f"^cannot fetch {url}/metadata/1.root.json: .*refused"):
        HttpFetcher(url).fetch("metadata/1.root.json")
    with answering(b"what is this?\r\n") as (url, _), pytest.raises(exceptions.DownloadError) as odd:
        HttpFetcher(url).fetch("metadata/1.root.json")
    assert str(odd.value).startswith(f"cannot fetch {url}/metadata/1.root.json: what is this?")


def test_a_connection_that_is_torn_in_the_middle_of_a_file_is_a_failure_of_the_way():
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\nhalf") as (url, tear):
        pieces = HttpFetcher(url).fetch("metadata/timestamp.json")
        tear.set()
        with pytest.raises(exceptions.DownloadError, match=r"^lost .*/timestamp\.json on the way: ") as torn:
            b"".join(pieces)
    assert isinstance(torn.value.__cause__, ConnectionResetError)
    assert kind_of(torn.value) is FailureKind.TRANSPORT


@contextmanager
def answering(answer):
    """Says `answer` to the first who asks, and tears the connection once it is told to."""
    tear = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
                # Closing without lingering is a reset (RFC 9293 3.10.4).
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                tear.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", tear
        finally:
            tear.set()
            thread.join()


# -- the suite's commands -------------------------------------------------------------------------


def test_what_the_suite_downloads_lies_in_folders_that_were_not_there(site, tmp_path):
    root, metadata, place = tmp_path / "given.json", tmp_path / "suite", tmp_path / "a" / "b"
    root.write_bytes(site.repository.trusted_root())
    assert conformance.main(["--metadata-dir", str(metadata), "init", str(root)]) == 0
    with served(site) as url:
        asked = ["--metadata-dir", str(metadata), "--metadata-url", f"{url}/metadata"]
        assert conformance.main([*asked, "refresh"]) == 0
        assert not place.exists()
        wanted = ["--target-name", DESCRIPTOR, "--target-base-url", f"{url}/targets", "--target-dir", str(place)]
        assert conformance.main([*asked, *wanted, "download"]) == 0
    assert [path.read_bytes() for path in place.iterdir()] == [b'{"one": 1}']
