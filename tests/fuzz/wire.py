"""What comes over MQTT or a pipe: topics, envelopes, passes, bodies, records, sketches, the talk with the trust child."""

import io
from datetime import UTC, datetime
from typing import Any

import msgspec

from device_agent.downlink import Downlink
from edgeops.artifact.manifest import Budgets
from edgeops.errors import MessageError, PeerError, TopicError, TrustError
from edgeops.protocol import messages
from edgeops.protocol.envelope import Session, Speaker, open_envelope, seal
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import UpdateState
from edgeops.protocol.passes import open_pass, read_pass, write_pass
from edgeops.protocol.topics import SPOOLED, DownKind, Up, UpKind, parse_topic
from edgeops.rollout.blessing import judge_benchmark
from edgeops.sketch.packing import pack, unpack
from edgeops.trust import frames
from edgeops.trust.keyring import AcceptedKeys
from fleet_server.db.nominations import Nomination
from fleet_server.link.catalog import Expected
from fleet_server.link.entries import Place
from fleet_server.link.records import (
    check_paired,
    check_sketch,
    prediction_rows,
    read_sketches,
    report_data,
    sample_rows,
    window_row,
)
from tests.fuzz.parser import Parser, scratch
from tests.golden.tiny import COLUMNS
from tests.unit.sketches import packed

_KEY = SigningKey.generate()
_SPEAKER = Speaker("camera-1", _KEY, 1, Session(3, b"\x01" * 8))
_KEYS = {_KEY.public.key_id: _KEY.public}
_DIGEST = "sha256:" + "5a" * 32
_RAW = bytes.fromhex("5a" * 32)
_AT = datetime(2026, 11, 23, 12, 0, 0, 250_000, UTC)

_EVIDENCE = messages.Evidence(inferences=20, errors=0, latency_p50_us=50, latency_p95_us=90, memory_bytes=1 << 20)
_WINDOW = messages.Window(
    deployment="digits", digest=_RAW, phase=messages.Phase.LIVE, rows=60, source_rows=60, errors=0, dropped=1,
    duration_ms=1000, latency_p50_us=50, latency_p95_us=90, sketch=packed(60),
)  # fmt: skip
_PAIRED = messages.Window(
    deployment="digits", digest=_RAW, phase=messages.Phase.TRIAL, rows=60, source_rows=62, errors=2, dropped=0,
    duration_ms=1000, latency_p50_us=50, latency_p95_us=90, sketch=packed(60),
    paired=messages.Paired(
        shadow=b"\x5b" * 32, rows=9, errors=1, shadow_errors=1, skipped=2, latency_p50_us=50, latency_p95_us=90,
        shadow_latency_p50_us=40, shadow_latency_p95_us=80, cells=(4, 1, 0, 4), unmatched=1,
    ),
)  # fmt: skip
_PREDICTIONS = messages.Predictions(
    deployment="digits", digest=_RAW, phase=messages.Phase.TRIAL,
    predictions=(messages.Prediction(input_id="86", age_ms=4, answer=7.0, confidence=0.9),),
)  # fmt: skip
_SAMPLES = messages.Samples(
    deployment="digits", digest=_RAW, nomination="nominate-1", pool=100, last=True, detail="",
    samples=(
        messages.Sample(
            input_id="86", age_ms=4, values=b"\x00\x00\x80\x3f" * len(COLUMNS), answer=1.0, confidence=0.5, weight=2.0,
            by_chance=True, shadow_answer=2.0,
        ),
    ),
)  # fmt: skip
_REPORT = messages.Report(
    installation="install-1", deployment="digits", digest=_RAW, state=UpdateState.COMMITTED, evidence=_EVIDENCE
)
_FACTS = messages.DeviceFacts(
    arch="x86_64", runtime="litert", runtime_version="2.3", python="3.11.2", memory_bytes=1 << 30, disk_free_bytes=1
)
_BENCHMARKED = messages.Benchmarked(
    benchmark="benchmark-1", digest=bytes(32), reason=messages.Reason.NONE, arch="aarch64", runtime="litert",
    runtime_version="2.3", inferences=1000, latency_p95_us=42, memory_bytes=1 << 20, millicelsius_before=48_200,
)  # fmt: skip
_BODIES: dict[Any, messages.Body] = {
    messages.Status: messages.Status(presence=messages.Presence.ONLINE, agent_version="0.1"),
    messages.Reported: messages.Reported(
        desired_epoch=1, desired_revision=2, facts=_FACTS, counters={"spool.dropped": 1},
        deployments=(messages.DeploymentState(deployment="digits", state=UpdateState.TRIAL, active=_DIGEST),),
    ),
    messages.Records: messages.Records(
        spool=b"\x02" * 8,
        records=(messages.Record(seq=4, age_ms=-1, at_ms=9, data=messages.encode(_REPORT), absorbed=(1, 2)),),
    ),
    messages.Window: _WINDOW,
    messages.Predictions: _PREDICTIONS,
    messages.Samples: _SAMPLES,
    messages.Report: _REPORT,
    messages.Wish: messages.BlockWish(digest=_DIGEST, first=64, bitmap=b"\xff\x01"),
    messages.Response: messages.Response(command="command-1", ok=False, detail="no such deployment"),
    messages.Desired: messages.Desired(
        epoch=1, revision=3,
        deployments=(
            messages.DesiredDeployment(
                deployment="digits", target="models/digits/1-int8.json", digest=_DIGEST, installation="install-1",
                shadowing=messages.Shadowing(share=0.2, cpu=0.1, for_ms=600_000, window_ms=5_000),
            ),
        ),
    ),
    messages.Ack: messages.Ack(spools=(messages.SpoolAck(spool=b"\x02" * 8, through=-1, ranges=((3, 4), (7, 9))),)),
    messages.Credit: messages.Credit(records=256, at=_AT),
    messages.Command: messages.Command(
        command="command-1",
        request=messages.Nominate(deployment="digits", digest=_DIGEST, count=30, random_share=0.2, seed=7, disagreements=True),
    ),
    messages.Benchmarked: _BENCHMARKED,
    messages.MetaPart: messages.MetaPart(
        request=1, path="metadata/timestamp.json", status=messages.MetaStatus.OK, total_bytes=2, data=b"{}"
    ),
}  # fmt: skip
_WISH = messages.encode(messages.MetaWish(request=1, path="targets/models/digits/1-int8.json", offset=32768))
#: Deeper than any parser may follow.
_DEEP = b"\x91" * 70_000


def _body(kind: Any, example: messages.Body) -> Parser:
    name = "wish" if kind == messages.Wish else kind.__name__.lower()
    more = {messages.Wish: (_WISH,), messages.Window: (messages.encode(_PAIRED),)}.get(kind, ())
    return Parser(
        name=f"body-{name}",
        read=lambda data: messages.decode(data, kind),
        errors=(MessageError,),
        write=messages.encode,
        seeds=lambda: (messages.encode(example), *more, _DEEP),
    )


# -- what the two ends make of it ---------------------------------------------------------

_ASKED = Nomination(
    id="nominate-1", asker="retrain-1", device_id="camera-1", deployment="digits", digest=_DIGEST, count=5,
    asked_at=_AT, repeated_at=_AT, answered_at=None, samples=0, detail="",
)  # fmt: skip


_KINDS = sorted(SPOOLED)


def _hear(data: bytes) -> object:
    """A body that the fleet's key signed may still be nonsense: the first byte chooses its kind."""
    kinds = (DownKind.DESIRED, DownKind.ACK, DownKind.CREDIT, DownKind.COMMAND)
    if not data:
        return None
    kind = kinds[data[0] % len(kinds)]
    ear = Downlink("camera-1", scratch() / "marks.json")
    return ear.hear(kind, seal(_SPEAKER, kind, seq=1, body=data[1:]), AcceptedKeys(_KEYS, dict.fromkeys(_KEYS, 1)))


def _take_in(data: bytes) -> object:
    """A record that a device signed, as the server's link takes it in: the first byte chooses its kind."""
    if not data:
        return None
    kind = _KINDS[data[0] % len(_KINDS)]
    record = messages.Record(seq=1, age_ms=len(data) * 10**15, at_ms=len(data) * 10**12, data=data[1:])
    place = Place("camera-1", b"\x02" * 8, 1, ())
    match kind:
        case UpKind.TELEMETRY:
            window = messages.decode(data[1:], messages.Window)
            check_paired(window, 4)
            row = window_row(place, record, window, _AT)
            (sketch,) = read_sketches([row])
            if isinstance(sketch, MessageError):
                raise sketch
            check_sketch(row, sketch, None)
            return row
        case UpKind.PREDICTIONS:
            return prediction_rows(place, record, messages.decode(data[1:], messages.Predictions), _AT)
        case UpKind.SAMPLES:
            answer = messages.decode(data[1:], messages.Samples)
            expected = Expected(channels=3, readings=len(COLUMNS))
            return sample_rows(place, record, answer, asked=_ASKED, expected=expected, received_at=_AT)
        case UpKind.BENCHMARKS:
            budgets = Budgets(p95_latency_ms=10.0, memory_bytes=1 << 20)
            return judge_benchmark(messages.decode(data[1:], messages.Benchmarked), budgets)
        case _:
            return report_data(messages.decode(data[1:], messages.Report))


def _taken_in() -> list[bytes]:
    examples = {
        UpKind.TELEMETRY: _WINDOW, UpKind.PREDICTIONS: _PREDICTIONS, UpKind.SAMPLES: _SAMPLES, UpKind.REPORTS: _REPORT,
        UpKind.BENCHMARKS: _BENCHMARKED,
    }  # fmt: skip
    bodies = [*examples.items(), (UpKind.TELEMETRY, _PAIRED)]
    return [bytes([_KINDS.index(kind)]) + messages.encode(example) for kind, example in bodies]


def _heard() -> list[bytes]:
    bodies = (_BODIES[kind] for kind in (messages.Desired, messages.Ack, messages.Credit, messages.Command))
    return [bytes([place]) + messages.encode(body) for place, body in enumerate(bodies)]


def _frame(kind: type[frames.Frame], *examples: frames.Frame) -> Parser:
    return Parser(
        name=f"trust-{kind.__name__.lower()}",
        read=lambda data: frames.read_frame(io.BytesIO(data), kind),
        errors=(TrustError,),
        write=_framed,
        seeds=lambda: [_framed(example) for example in examples],
    )


def _framed(frame: frames.Frame) -> bytes:
    stream = io.BytesIO()
    frames.write_frame(stream, frame)
    return stream.getvalue()


_RESULT = frames.Result(
    targets={"a.json": b"x", "b.json": None}, listed={"a.json": 1}, versions={"root": 1}, expires={"root": 2}
)

PARSERS = (
    Parser(
        name="topic",
        read=lambda data: parse_topic(data.decode(errors="replace")),
        errors=(TopicError,),
        write=lambda topic: str(topic).encode(),
        seeds=lambda: [str(Up("camera-1", UpKind.FETCH)).encode(), f"edgeops/v1/blob/{'a' * 64}/{'9' * 5000}".encode()],
        most_bytes=300,
    ),
    Parser(
        name="envelope",
        read=lambda data: open_envelope(data, device="camera-1", kind="status", keys=_KEYS),
        errors=(PeerError,),
        write=msgspec.msgpack.encode,
        seeds=lambda: [seal(_SPEAKER, "status", seq=1, body=messages.encode(_BODIES[messages.Status])), _DEEP],
    ),
    Parser(
        name="blob-pass",
        read=lambda data: open_pass(read_pass(data.decode("latin-1")), _DIGEST, keys=_KEYS),
        errors=(PeerError,),
        seeds=lambda: [write_pass(_SPEAKER, _DIGEST, seq=1).encode(), b"EdgeOps-Device camera-1 " + b"A" * 5_000],
    ),
    *(_body(kind, example) for kind, example in _BODIES.items()),
    Parser(name="downlink", read=_hear, errors=(), seeds=_heard),
    Parser(name="record", read=_take_in, errors=(MessageError,), seeds=_taken_in),
    Parser(name="sketch", read=unpack, errors=(MessageError,), write=pack, seeds=lambda: [packed(60), packed(0)]),
    _frame(frames.Ask, frames.Ask(targets=("a.json",), max_bytes=10, now=0)),
    _frame(frames.Answer, frames.Answer(data=b"{}"), frames.Answer(missing=True), frames.Answer(error="no route")),
    _frame(
        frames.Said,
        frames.Said(need="metadata/2.root.json"),
        frames.Said(result=_RESULT),
        frames.Said(failure=frames.Failure(kind=frames.FailureKind.EXPIRED, detail="frozen")),
    ),
)
