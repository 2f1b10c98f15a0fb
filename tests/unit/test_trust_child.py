"""The trust child's own side of the talk, and the TUF suite's commands, in this process."""

import io
import os
import sys
import threading
from contextlib import contextmanager, suppress

import pytest
from tuf.api import exceptions

from edgeops.errors import ConfigError, TrustError
from edgeops.trust import client, conformance
from edgeops.trust.fetching import HttpFetcher, ParentFetcher
from edgeops.trust.frames import Answer, Ask, FailureKind, Result, Said, converse, read_frame, write_frame
from edgeops.trust.verification import kind_of
from tests.integration.trust_rig import DESCRIPTOR, Site, served


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


# -- the talk -------------------------------------------------------------------------------


class Talk:
    """A child's main in a thread, its standard streams at the other ends of two pipes."""

    def __init__(self, monkeypatch, *arguments):
        ours_in, its_out = os.pipe()
        its_in, ours_out = os.pipe()
        self.to_child = os.fdopen(ours_out, "wb")
        self.from_child = os.fdopen(ours_in, "rb")
        self.its = (os.fdopen(its_in, "r"), os.fdopen(its_out, "w"))
        monkeypatch.setattr(sys, "stdin", self.its[0])
        monkeypatch.setattr(sys, "stdout", self.its[1])
        self.code = None
        self._thread = threading.Thread(target=self._run, args=(list(arguments),))
        self._thread.start()

    def _run(self, arguments):
        try:
            self.code = client.main(arguments)
        finally:
            self.its[1].close()  # so that nobody waits for a child that broke

    def ended(self):
        self._thread.join(30)
        for stream in (self.to_child, self.from_child, *self.its):
            stream.close()
        return self.code


def ask(site, *targets):
    return Ask(targets=targets, max_bytes=1000, now=int(site.now.timestamp()))


def test_a_child_answers_what_it_was_asked_and_ends_well(site, monkeypatch):
    talk = Talk(monkeypatch, "--state", str(site.state))
    outcome = converse(talk.to_child, talk.from_child, ask=ask(site, DESCRIPTOR), fetch=site.read)
    assert isinstance(outcome, Result)
    assert outcome.targets == {DESCRIPTOR: b'{"one": 1}'}
    assert talk.ended() == 0


def test_a_child_that_cannot_vouch_says_why_and_ends_badly(site, monkeypatch):
    talk = Talk(monkeypatch, "--state", str(site.state))
    outcome = converse(talk.to_child, talk.from_child, ask=ask(site), fetch=lambda _path: None)
    assert outcome.kind is FailureKind.MISSING
    assert talk.ended() == 1


def test_a_child_that_is_asked_nonsense_says_so(site, monkeypatch):
    talk = Talk(monkeypatch, "--state", str(site.state))
    write_frame(talk.to_child, Said(need="nonsense"))
    said = read_frame(talk.from_child, Said)
    assert said.failure is not None
    assert said.failure.kind is FailureKind.OTHER
    assert "Ask" in said.failure.detail
    assert talk.ended() == 1


def test_a_child_with_an_address_asks_its_parent_for_nothing(site, monkeypatch):
    with served(site) as url:
        talk = Talk(monkeypatch, "--state", str(site.state), "--url", url)
        outcome = converse(talk.to_child, talk.from_child, ask=ask(site, DESCRIPTOR), fetch=unwanted)
        assert outcome.targets == {DESCRIPTOR: b'{"one": 1}'}
        assert talk.ended() == 0


def test_a_child_with_an_address_that_is_none_says_so(site, monkeypatch):
    talk = Talk(monkeypatch, "--state", str(site.state), "--url", "file:///etc")
    outcome = converse(talk.to_child, talk.from_child, ask=ask(site), fetch=unwanted)
    assert outcome.kind is FailureKind.OTHER
    assert "not an http or https URL" in outcome.detail
    assert talk.ended() == 1


def unwanted(path):
    raise AssertionError(f"the parent was asked for {path}")


def test_a_child_without_a_folder_and_a_suite_without_one_are_not_begun(capsys):
    for main, arguments in (
        (client.main, []),
        (conformance.main, ["refresh"]),
        (conformance.main, ["--metadata-dir", "somewhere"]),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    assert "--state" in capsys.readouterr().err


def test_what_a_child_says_of_a_long_error_fits_a_report(site, tmp_path):
    (site.state / "metadata").rename(tmp_path / "elsewhere")
    site.state.rename(tmp_path / "state")
    deep = tmp_path / "/".join(["a" * 200] * 4)
    deep.parent.mkdir(parents=True)
    deep.write_text("a file where a folder should be")
    with pytest.raises(OSError):
        client.verify(deep, ask(site), fetcher=HttpFetcher("http://127.0.0.1:9"))
    deep.unlink()
    failure = client.verify(deep, ask(site), fetcher=HttpFetcher("http://127.0.0.1:9"))
    assert failure.kind is FailureKind.OTHER
    assert len(failure.detail) == 500


# -- where bytes come from ------------------------------------------------------------------


def parent(*answers):
    source, sink = io.BytesIO(), io.BytesIO()
    for answer in answers:
        write_frame(source, answer)
    source.seek(0)
    return ParentFetcher(source, sink), sink


def test_a_need_is_told_to_the_parent_and_its_answer_is_the_file():
    fetcher, sink = parent(Answer(data=b"content"))
    assert b"".join(fetcher.fetch("metadata/timestamp.json")) == b"content"
    sink.seek(0)
    assert read_frame(sink, Said) == Said(need="metadata/timestamp.json")


def test_a_file_that_the_server_lacks_is_another_failure_than_no_contact():
    fetcher, _ = parent(Answer(missing=True), Answer(error="no route"))
    with pytest.raises(exceptions.DownloadHTTPError) as missing:
        fetcher.fetch("metadata/2.root.json")
    assert kind_of(missing.value) is FailureKind.MISSING
    with pytest.raises(exceptions.DownloadError, match="no route") as unreached:
        fetcher.fetch("metadata/timestamp.json")
    assert kind_of(unreached.value) is FailureKind.TRANSPORT


def test_a_server_may_be_reached_by_http_or_https_whatever_its_address_ends_with(site):
    HttpFetcher("https://127.0.0.1:1/tuf")
    with served(site) as url:
        for base in (url, f"{url}/", f"{url}//"):
            assert b"".join(HttpFetcher(base).fetch("metadata/1.root.json")) == site.repository.trusted_root()


def test_an_empty_file_is_a_file():
    fetcher, _ = parent(Answer(data=b""))
    assert b"".join(fetcher.fetch("targets/empty")) == b""


def test_over_http_what_is_missing_and_who_is_away_are_told_apart(site):
    with served(site) as url:
        fetcher = HttpFetcher(f"{url}/")
        whole = b"".join(fetcher.fetch("metadata/1.root.json"))
        with pytest.raises(exceptions.DownloadHTTPError) as missing:
            fetcher.fetch("metadata/9.root.json")
    assert whole == site.repository.trusted_root()
    assert kind_of(missing.value) is FailureKind.MISSING
    with pytest.raises(exceptions.DownloadError) as gone:
        fetcher.fetch("metadata/1.root.json")
    assert kind_of(gone.value) is FailureKind.TRANSPORT


def test_a_file_of_several_pieces_comes_whole(site):
    large = bytes(range(256)) * 1024
    (site.served / "targets/large").write_bytes(large)
    with served(site) as url:
        assert b"".join(HttpFetcher(url).fetch("targets/large")) == large


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nhalf\r\nff\r\n",
        b"what is this?\r\n",
    ],
)
def test_an_answer_that_breaks_off_or_is_no_http_is_a_failure_of_the_way(answer):
    with listening(answer) as url, pytest.raises(exceptions.DownloadError) as failure:
        b"".join(HttpFetcher(url).fetch("metadata/timestamp.json"))
    assert kind_of(failure.value) is FailureKind.TRANSPORT


@pytest.mark.parametrize("address", ["file:///etc", "ftp://127.0.0.1", "127.0.0.1:8470", ""])
def test_an_address_that_is_no_web_address_is_refused(address):
    with pytest.raises(ConfigError, match="not an http or https URL"):
        HttpFetcher(address)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.ExpiredMetadataError(), FailureKind.EXPIRED),
        (exceptions.UnsignedMetadataError(), FailureKind.UNSIGNED),
        (exceptions.BadVersionNumberError(), FailureKind.ROLLBACK),
        (exceptions.EqualVersionNumberError(), FailureKind.ROLLBACK),
        (exceptions.LengthOrHashMismatchError(), FailureKind.LENGTH_OR_HASH),
        (exceptions.DownloadLengthMismatchError(), FailureKind.LENGTH_OR_HASH),
        (exceptions.DownloadHTTPError("no such file", 404), FailureKind.MISSING),
        (exceptions.DownloadHTTPError("out of order", 503), FailureKind.TRANSPORT),
        (exceptions.DownloadError(), FailureKind.TRANSPORT),
        (exceptions.RepositoryError(), FailureKind.OTHER),
        (TrustError(), FailureKind.OTHER),
        (OSError(), FailureKind.OTHER),
    ],
)
def test_every_error_has_the_kind_that_a_device_reports(error, kind):
    assert kind_of(error) is kind


# -- the TUF suite's commands -----------------------------------------------------------------


@pytest.fixture
def suite(site, tmp_path):
    """Runs one command of the suite's protocol against a served site; the first is init."""
    root = tmp_path / "given-root.json"
    root.write_bytes(site.repository.trusted_root())

    def run(*command):
        return conformance.main(["--metadata-dir", str(tmp_path / "metadata"), *command])

    assert run("init", str(root)) == 0
    assert (tmp_path / "metadata/root.json").read_bytes() == root.read_bytes()
    with served(site) as url:
        yield lambda *command: run("--metadata-url", f"{url}/metadata", *command), url


def test_the_suite_refreshes_from_the_root_it_gave(suite, tmp_path):
    run, _ = suite
    assert run("refresh") == 0
    assert (tmp_path / "metadata/timestamp.json").exists()


def test_the_suite_downloads_what_is_listed(suite, site, tmp_path):
    run, url = suite
    site.repository.publish({"models/digits/2-int8.json": b"{}"}, site.now)
    wanted = ("--target-name", DESCRIPTOR, "--target-name", "models/digits/2-int8.json")
    assert run(*wanted, "--target-base-url", f"{url}/targets", "--target-dir", str(tmp_path), "download") == 0
    assert (tmp_path / "models%2Fdigits%2F1-int8.json").read_bytes() == b'{"one": 1}'
    assert (tmp_path / "models%2Fdigits%2F2-int8.json").read_bytes() == b"{}"


def test_the_suite_may_begin_again_in_a_folder_that_was_not_there(site, tmp_path):
    root = tmp_path / "given.json"
    root.write_bytes(site.repository.trusted_root())
    for _ in range(2):
        assert conformance.main(["--metadata-dir", str(tmp_path / "a" / "b"), "init", str(root)]) == 0


def test_what_the_suite_gives_no_folder_for_lies_beside_the_metadata(suite, tmp_path):
    run, url = suite
    assert run("--target-name", DESCRIPTOR, "--target-base-url", f"{url}/targets", "download") == 0
    assert [path.read_bytes() for path in (tmp_path / "metadata/targets").iterdir()] == [b'{"one": 1}']


def test_the_suite_is_told_what_is_not_listed(suite, tmp_path, capsys):
    run, url = suite
    wanted = ("--target-name", "models/digits/9-int8.json", "--target-base-url", f"{url}/targets")
    assert run(*wanted, "--target-dir", str(tmp_path), "download") == 1
    assert "other: current metadata does not list models/digits/9-int8.json\n" in capsys.readouterr().err


def test_the_suite_is_told_what_cannot_be_read_asked_or_believed(suite, site, tmp_path, capsys):
    run, _ = suite
    assert conformance.main(["--metadata-dir", str(tmp_path / "m"), "init", str(tmp_path / "nothing")]) == 1
    assert (
        conformance.main(["--metadata-dir", str(tmp_path / "metadata"), "--metadata-url", "file:///", "refresh"]) == 1
    )
    (site.served / "metadata/timestamp.json").write_bytes(b"{}")
    assert run("refresh") == 1
    told = capsys.readouterr().err.splitlines()
    assert "No such file" in told[0]
    assert "not an http or https URL" in told[1]
    assert told[2].startswith("other: ")


def test_a_device_without_a_folder_of_its_own_is_told_to_enrol(site, tmp_path):
    failure = client.verify(tmp_path / "never" / "was", ask(site), fetcher=HttpFetcher("http://127.0.0.1:9"))
    assert failure.kind is FailureKind.OTHER
    assert "edgeops-agent enrol" in failure.detail


def test_the_suite_is_told_why_metadata_is_refused(suite, site, capsys):
    run, _ = suite
    (site.served / "metadata/timestamp.json").unlink()
    assert run("refresh") == 1
    assert capsys.readouterr().err.startswith("missing: ")


def test_a_root_that_is_served_beside_the_given_one_does_not_replace_it(suite, tmp_path):
    run, _ = suite
    other = Site(tmp_path / "other")
    (tmp_path / "metadata/root.json").unlink()
    (tmp_path / "metadata/root.json").write_bytes(other.repository.trusted_root())
    assert run("refresh") == 0, "what counts is the root that init pinned"


# -- a server on this machine -----------------------------------------------------------------


@contextmanager
def listening(answer):
    """Says `answer` to whoever comes first, and hangs up."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(2.0)  # for the one who does not come

        def serve():
            with suppress(TimeoutError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join()
