"""Ranges over HTTP: believed in nothing, resumed with blocks over MQTT and the other way round."""

import ssl
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from device_agent.fetch import BlockFetch, CancelledError, FetchError, MetaFetch
from device_agent.progress import Download
from device_agent.ranges import RangeFetch
from device_agent.tls import fleet_context
from edgeops import limits
from edgeops.artifact.blockplan import block_list
from edgeops.protocol.messages import MetaPart, MetaStatus
from edgeops.trust.issuing import new_issuer
from tests.integration.fetch_rig import Fetcher, described, enrol, start_api, stock
from tests.integration.link_rig import Rig, eventually
from tests.integration.ports import free_port
from tests.integration.tls_rig import NOW, certificate

KIB = 1024
BLOCKS = limits.RANGE_BLOCKS + 20
DATA = bytes(range(256)) * (BLOCKS * limits.BLOCK_BYTES // 256)
SIZE = len(DATA)
DESCRIPTOR = described(DATA)


class Web:
    """An HTTP server that answers ranges of DATA as `answer(handler, first, last)` has it."""

    def __init__(self, answer, *, issued=None):
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                web.connections += 1

            def do_GET(self):
                wanted = self.headers["Range"].removeprefix("bytes=")
                web.asked.append((self.path, wanted, self.headers["Authorization"]))
                first, last = map(int, wanted.split("-"))
                answer(self, first, last)

            def log_message(self, *_):
                pass

        self.asked, self.connections = [], 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http{'s' if issued else ''}://127.0.0.1:{self._server.server_port}"
        if issued is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with tempfile.NamedTemporaryFile() as file:
                Path(file.name).write_bytes(issued.pem)
                context.load_cert_chain(file.name)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._server.handle_error = lambda *_: None
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def answered(handler, first, body, *, status=206, last=None, size=SIZE, length=None, **headers):
    last = first + len(body) - 1 if last is None else last
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.send_header("Content-Range", f"bytes {first}-{last}/{size}")
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def in_turn(*answers):
    left = list(answers)

    def answer(handler, first, last):
        left.pop(0)(handler, first, last)

    return answer


def right(handler, first, last):
    answered(handler, first, DATA[first : last + 1])


def one_bit_off(handler, first, last):
    body = bytearray(DATA[first : last + 1])
    body[limits.BLOCK_BYTES + 7] ^= 1
    answered(handler, first, bytes(body))


def another_place(handler, first, last):
    answered(handler, first + 1, DATA[first : last + 1])


def another_size(handler, first, last):
    answered(handler, first, DATA[first : last + 1], size=SIZE + 1)


def the_whole_file(handler, _first, _last):
    answered(handler, 0, DATA, status=200)


def too_long(handler, first, last):
    answered(handler, first, DATA[first : last + 1] + b"x", last=last)


def encoded(handler, first, last):
    answered(handler, first, DATA[first : last + 1], Content_Encoding="gzip")


def elsewhere(handler, _first, _last):
    answered(handler, 0, b"", status=302, Location="http://127.0.0.1:9/")


def refused(handler, _first, _last):
    answered(handler, 0, b"{}", status=401)


def failing(handler, _first, _last):
    answered(handler, 0, b"{}", status=500)


def cut_off(handler, first, last):
    answered(handler, first, DATA[first : first + 100], last=last, length=last + 1 - first)
    handler.close_connection = True


def no_http(handler, _first, _last):
    handler.wfile.write(b"\x00\x01 hello\r\n\r\n")
    handler.close_connection = True


@contextmanager
def web(answer, **options):
    server = Web(answer, **options)
    try:
        yield server
    finally:
        server.close()


class Link:
    """A link that gives block lists and, if it `serves`, blocks."""

    def __init__(self, *, serves=False, limit=limits.MAX_MESSAGE_BYTES):
        self.serves, self.limit, self.wished = serves, limit, 0

    def attach(self, url, *, context=None, **options):
        self.meta = MetaFetch(self)
        self._ranges = RangeFetch.at(
            url, blob_pass=lambda digest: f"pass for {digest}", context=context, pause=lambda _seconds: None
        )
        self.blocks = BlockFetch(self, ranges=self._ranges, **options)
        return self

    def publish_wish(self, wish):
        from edgeops.artifact.blockplan import wished
        from edgeops.protocol.messages import MetaWish
        from edgeops.protocol.topics import Block

        if isinstance(wish, MetaWish):
            data = block_list(DATA, limits.BLOCK_BYTES)
            part = MetaPart(
                request=wish.request, path=wish.path, status=MetaStatus.OK, total_bytes=len(data), data=data
            )
            self.meta.received(part)
        elif self.serves:
            for index in wished(wish):
                self.wished += 1
                start = index * limits.BLOCK_BYTES
                self.blocks.received(Block(wish.digest, index), DATA[start : start + limits.BLOCK_BYTES])
        return True

    def subscribe_blocks(self, blocks):
        pass

    def unsubscribe_blocks(self, blocks):
        pass

    def largest_payload_bytes(self):
        return self.limit

    def fetch(self, folder, **options):
        try:
            return self.blocks.blob(DESCRIPTOR, folder, meta=self.meta, **options).read_bytes()
        finally:
            self._ranges.close()


#: A link whose broker takes no block, so that ranges are the only way.
NO_BLOCKS = {"limit": 1_000}


def test_a_blob_comes_in_ranges_over_one_connection_each_with_a_pass(tmp_path):
    with web(right) as server:
        assert Link(**NO_BLOCKS).attach(server.url).fetch(tmp_path) == DATA
    most = limits.RANGE_BLOCKS * limits.BLOCK_BYTES
    path, shown = f"/blobs/{DESCRIPTOR.digest[7:]}", f"pass for {DESCRIPTOR.digest}"
    assert server.asked == [(path, f"0-{most - 1}", shown), (path, f"{most}-{SIZE - 1}", shown)]
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (another_place, "not bytes"),
        (another_size, "not bytes"),
        (too_long, "not bytes"),
        (encoded, "not bytes"),
        (the_whole_file, "200"),
        (elsewhere, "302"),
        (refused, "401"),
        (failing, "500"),
        (cut_off, "ends after"),
        (no_http, "over HTTP"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_answer_that_is_not_what_was_asked_for_brings_nothing_and_the_reason_is_told(tmp_path, answer, says):
    with web(answer) as server, pytest.raises(FetchError, match=says):
        Link(**NO_BLOCKS).attach(server.url).fetch(tmp_path)
    assert 1 <= len(server.asked) <= 2 * limits.RANGE_TRIES


def test_a_wrong_block_of_a_range_is_counted_left_out_and_asked_for_again(tmp_path):
    with web(in_turn(one_bit_off, right, right)) as server:
        link = Link(**NO_BLOCKS).attach(server.url)
        assert link.fetch(tmp_path) == DATA
    assert link.blocks.mismatched == 1
    assert [wanted.split("-")[0] for _, wanted, _ in server.asked][:2] == ["0", str(limits.BLOCK_BYTES)]


def test_a_large_blob_comes_in_blocks_when_nothing_is_at_the_servers_address(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "RANGES_ABOVE_BYTES", 1)
    link = Link(serves=True).attach(f"http://127.0.0.1:{free_port()}")
    assert link.fetch(tmp_path) == DATA
    assert link.wished == BLOCKS


def test_a_small_blob_comes_in_ranges_when_mqtt_is_silent(tmp_path):
    # One look at this clock is ten seconds: silence is over at once.
    seconds = iter(range(0, 10**8, 10))
    with web(right) as server:
        link = Link().attach(server.url, monotonic=lambda: float(next(seconds)))
        assert link.fetch(tmp_path) == DATA
    assert server.asked


def test_without_either_way_the_fetch_ends_in_bounded_time_with_both_reasons(tmp_path):
    seconds = iter(range(0, 10**8, 10))
    with web(refused) as server:
        link = Link().attach(server.url, monotonic=lambda: float(next(seconds)))
        with pytest.raises(FetchError, match=r"over MQTT.*401"):
            link.fetch(tmp_path)
    assert next(seconds) < 100 * limits.FETCH_TIMEOUT.total_seconds()


def test_what_came_one_way_is_not_asked_for_the_other_way(tmp_path):
    with web(in_turn(right, refused, refused)) as server:
        with pytest.raises(FetchError):
            Link(**NO_BLOCKS).attach(server.url).fetch(tmp_path)
        # Once more after the refusal, because the attempt had brought something.
        assert len(server.asked) == 3
    blocks = Link(serves=True).attach(server.url)
    assert blocks.fetch(tmp_path) == DATA
    assert blocks.wished == BLOCKS - limits.RANGE_BLOCKS
    assert Download.of(tmp_path, DESCRIPTOR.digest).resume(DESCRIPTOR).complete


def test_a_range_that_drips_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "TRANSPORT_PATIENCE", limits.BLOCK_RESEND_AFTER)

    def dripping(handler, first, last):
        answered(handler, first, b"", last=last, length=last + 1 - first)
        try:
            for byte in DATA[first : last + 1]:
                handler.wfile.write(bytes([byte]))
                time.sleep(0.02)
        except OSError:
            handler.close_connection = True

    with web(dripping) as server, pytest.raises(FetchError, match="bytes of a block in"):
        Link(**NO_BLOCKS).attach(server.url).fetch(tmp_path)


def test_a_head_that_drips_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "TRANSPORT_PATIENCE", limits.BLOCK_RESEND_AFTER)

    def dripping(handler, _first, _last):
        try:
            for _ in range(10_000):
                handler.wfile.write(b"H")
                time.sleep(0.02)
        except OSError:
            handler.close_connection = True

    with web(dripping) as server, pytest.raises(FetchError, match="over HTTP"):
        Link(**NO_BLOCKS).attach(server.url).fetch(tmp_path)


def test_a_fetch_that_is_not_wanted_any_more_ends_in_mid_range(tmp_path):
    taken = threading.Event()

    def slow(handler, first, last):
        answered(handler, first, DATA[first : first + 2 * limits.BLOCK_BYTES], last=last, length=last + 1 - first)
        taken.wait(30.0)

    with web(slow) as server:
        link = Link(**NO_BLOCKS).attach(server.url)
        looks = iter([False] * 4)
        with pytest.raises(CancelledError):
            link.fetch(tmp_path, cancelled=lambda: next(looks, True))
        taken.set()


def test_over_tls_a_server_of_the_fleets_ca_is_asked(tmp_path):
    issuer = new_issuer(NOW)
    context = fleet_context((issuer.authority,), now=lambda: NOW)
    with web(right, issued=certificate(issuer)) as server:
        assert Link(**NO_BLOCKS).attach(server.url, context=context).fetch(tmp_path) == DATA
    assert server.connections == 1


def test_over_tls_a_stranger_sees_no_pass_and_the_blob_comes_over_mqtt(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "RANGES_ABOVE_BYTES", 1)
    context = fleet_context((new_issuer(NOW).authority,), now=lambda: NOW)
    with web(right, issued=certificate()) as server:
        link = Link(serves=True).attach(server.url, context=context)
        assert link.fetch(tmp_path) == DATA
    assert not server.asked
    assert link.wished == BLOCKS


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:80", "http://fleet.example", "ftp://127.0.0.1", "not a url", "http://[::1"]
)
def test_beyond_loopback_nothing_is_asked_for_without_tls(url):
    assert RangeFetch.at(url, blob_pass=str) is None


# -- with a real broker, a real link and a real API


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    rig.fetchers, rig.api = [], None
    try:
        rig.start_broker()
        yield rig
    finally:
        for fetcher in rig.fetchers:
            fetcher.close()
        if rig.api is not None:
            rig.api.terminate()
            rig.api.wait(30.0)
        rig.close()


def joined(rig, folder, url):
    (identity,) = enrol(rig, 1, folder / "keys")
    fetcher = Fetcher(rig.config.broker_port, identity, folder / "device", server=url)
    rig.fetchers.append(fetcher)
    assert fetcher.born.wait(30.0)
    return fetcher


@pytest.mark.slow
def test_when_the_api_is_killed_in_mid_range_the_rest_comes_over_mqtt(rig, tmp_path):
    url = start_api(rig, device_rate=2 * 1024 * KIB)
    rig.start_linked()
    descriptor, data = stock(rig, 6_000_000)
    fetcher = joined(rig, tmp_path, url)
    fetching = fetcher.fetch_soon(descriptor)
    eventually(lambda: list(fetcher.folder.glob("*.map")), what="some blocks over HTTP")
    rig.api.kill()
    assert fetching.result() == data
    assert fetcher.wished
    assert len({index for index, _ in fetcher.heard}) <= -(-len(data) // limits.BLOCK_BYTES) - 16


@pytest.mark.slow
@pytest.mark.long  # what devices take a second is held in test_fetch_stress, in every run
def test_from_the_real_api_large_artifacts_come_at_the_devices_rate_and_small_ones_below_a_brokers_limit(rig, tmp_path):
    rate = 4 * 1024 * KIB
    url = start_api(rig, device_rate=rate)
    rig.broker.terminate()
    rig.broker.wait(30.0)
    conf = rig.config.broker_conf
    lines = [line for line in conf.read_text().splitlines() if not line.startswith("max_packet_size")]
    conf.write_text("\n".join([*lines, "max_packet_size 8192"]) + "\n")
    rig.start_broker()
    rig.start_linked()
    fetcher = joined(rig, tmp_path, url)
    small, data = stock(rig, 1_000_000)
    assert fetcher.fetch(small) == data
    large, data = stock(rig, 6_000_000, seed=2)
    start = time.monotonic()
    assert fetcher.fetch(large) == data
    assert time.monotonic() - start >= len(data) / rate - 0.5
    assert not fetcher.wished
    assert not fetcher.heard
