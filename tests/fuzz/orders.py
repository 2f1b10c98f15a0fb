"""What people order of a fleet and what they keep of it: fleet files, policies, windows, receivers, labels, holds, trails.

Request bodies are in `tests.fuzz.people`.
"""

from datetime import UTC, datetime, timedelta

import msgspec
from fastapi import Response

from device_agent.config import StateFolder
from device_agent.holds import Holds, read_holds
from device_agent.labels import parse_labels, read_labels
from edgeops.cli.audit import _checked
from edgeops.errors import ConfigError, InputError, MessageError, TrustError
from edgeops.fleet_file.document import read_document
from edgeops.fleet_file.source import read_source
from edgeops.protocol.messages import DesiredDeployment, DeviceFacts, Maintenance, UpdateState, decode, encode
from edgeops.rollout.candidate import Candidate
from edgeops.rollout.maintenance import is_open, opens_next, parse_window, words
from edgeops.rollout.selector import groups_of, matches, parse_selector, resolve
from edgeops.rollout.terms import read_terms
from edgeops.trust.anchor import read_anchor
from edgeops.trust.repository import Repository
from edgeops.trust.trail import GENESIS, Anchor, Entry, hash_of
from edgeops.update.leave import Hold, obstacle
from edgeops.update.update import Update, Wanted
from edgeops.webhooks import check_url, parse_allowed
from fleet_server.api.editions import _editions
from fleet_server.api.problems import FieldError
from tests.fuzz.parser import Parser, scratch, through_text

_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
_DIGEST = "sha256:" + "5a" * 32
_DEEP = b"[" * 70_000
#: A summer time that is put forward, one that is put back by half an hour, and nights without one.
_NOWS = tuple(_AT + timedelta(days=days, minutes=61 * days) for days in (0, 132, 167, 320))
_ALLOWED = parse_allowed("hooks.example\n*.plant.example # ours\n10.0.0.0/8\n::1\n")
_DEVICE = Candidate(
    id="camera-1", name="camera", online=True, labels={"site": "north"}, deployments={"digits": None},
    agent_version="0.1.0.dev0",
    facts=DeviceFacts(
        arch="aarch64", runtime="litert", runtime_version="2.3", python="3.11.2", memory_bytes=1 << 30,
        disk_free_bytes=1 << 33,
    ),
)  # fmt: skip


def _selector(text):
    """What is read can be asked of a device."""
    selector = parse_selector(text)
    matches(resolve(selector, dict.fromkeys(groups_of(selector), parse_selector("all"))), _DEVICE)
    return selector


def _window(text):
    """Whatever is read can be judged at any time, and is written as it is read."""
    window = parse_window(text)
    for now in _NOWS:
        is_open((window,), now)
        assert opens_next((window,), now) > now
    return window


def _desired(data):
    """The windows that the fleet's key signed may name no zone, and are judged on a device all the same."""
    desired = decode(data, DesiredDeployment)
    wanted = Wanted.of(desired, epoch=1, revision=2)
    update = Update(state=UpdateState.STAGED, wanted=wanted, reported=False)
    for now in (*_NOWS, None):
        obstacle(update, hold=None, now=now)
    return desired


def _policy(data):
    values = msgspec.json.decode(data)
    policy, objections = read_terms(values if isinstance(values, dict) else {"health": values})
    # What is kept of it is stored, and read again.
    assert msgspec.json.decode(msgspec.json.encode(policy), type=type(policy)) == policy
    return policy if not objections else None


def _fleet_file(data):
    return read_document(read_source(data.decode("utf-8", "replace"), name="fleet.yaml"))


def _allowed(text):
    """Whatever the owner wrote into the list: an address is judged by it."""
    for url in ("https://hooks.example/x", "http://10.1.2.3:80/", "https://[::1]/"):
        try:
            check_url(url, parse_allowed(text))
        except InputError:
            continue
    return parse_allowed(text)


def _state_file(name, read):
    def read_bytes(data):
        state = StateFolder(scratch() / "owner")
        state.path.mkdir(exist_ok=True)
        for file in state.path.iterdir():
            file.unlink()
        (state.path / name).write_bytes(data)
        return read(state)

    return read_bytes


def _export(data):
    file = scratch() / "trail.jsonl"
    file.write_bytes(data)
    return _checked(file, None)


def _entries():
    before, lines = GENESIS, []
    for number in (1, 2):
        said = ("anna", "rollout.abort", "rollout-1", "too slow", {"roll_back": True})
        own = hash_of(before, _AT, *said)
        actor, action, subject, remark, data = said
        lines.append(
            msgspec.json.encode(
                Entry(
                    id=number, at=_AT, actor=actor, action=action, subject=subject, remark=remark, data=data,
                    previous_hash=before, hash=own,
                )
            )
        )  # fmt: skip
        before = own
    return b"\n".join(lines)


def _kept():
    """A folder with a root and a timestamp that its keys signed, and what it says of the trail."""
    folder = scratch() / "kept"
    if not folder.exists():
        repository = Repository.create(folder / "repository", folder / "keys", _AT)
        assert repository.anchor(Anchor(entries=2, head=_DIGEST), _AT)
        (folder / "root.json").write_bytes(repository.trusted_root())
    return folder


def _anchor(data):
    folder = _kept()
    (folder / "timestamp.json").write_bytes(data)
    return read_anchor(folder)


def _witness(data):
    """The root that is kept beside a timestamp may be damaged too."""
    folder = _kept()
    kept = (folder / "root.json").read_bytes()
    (folder / "timestamp.json").write_bytes(_timestamp())
    (folder / "root.json").write_bytes(data)
    try:
        return read_anchor(folder)
    finally:
        (folder / "root.json").write_bytes(kept)


def _timestamp():
    return (_kept() / "repository/metadata/timestamp.json").read_bytes()


_MAINTENANCE = Maintenance(zone="Europe/Berlin", days=(5, 6), opens=22 * 60, closes=5 * 60)
_FLEET_FILE = b"""groups:
  north: {selector: "label.site=north, memory>=512MiB"}
  spare: {devices: [camera-1]}
pins:
  - {device: camera-1, to: digits@1, until: 2027-01-01T00:00:00Z}
retraining:
  digits: {mode: propose, labels: 30}
rollouts:
  - {model: digits@2, deployment: digits, to: group=north, waves: ["1", "100%"], policy: {bake: PT10M, retries: 0}}
"""
_POLICY = (
    b'{"bake":"PT10M","retries":0,"maintenance":["daily 02:00-04:00 UTC"],"health":{"labels":0,"max_loss":0.025},'
    b'"max_in_flight":null}'
)

PARSERS = (
    Parser(
        name="fleet-file",
        read=_fleet_file,
        errors=(InputError,),
        seeds=lambda: [_FLEET_FILE, b"a: &a [*a]", b"? [1]\n: 2", b"rollouts: [1e999, 0x" + b"f" * 99 + b"]", _DEEP],
    ),
    Parser(
        name="selector",
        read=through_text(_selector),
        errors=(InputError,),
        seeds=lambda: [
            b"not (id=cam-1,cam-2 or label.site=north) and memory>=512MiB, runtime_version<2.14",
            b"all",
            b"group=canaries or online, label.spare",
            b'site="a b", name!=pump-*',
            b'site="a b", ',
            b"(" * 900,
            b"not " * 450,
        ],
        most_bytes=600,
    ),
    Parser(
        name="policy",
        read=_policy,
        errors=(msgspec.DecodeError, RecursionError, UnicodeDecodeError),
        seeds=lambda: [_POLICY, b'{"bake":1e308,"retries":1e999,"maintenance":"daily"}', b'{"bake":"P9999999999D"}'],
    ),
    Parser(
        name="maintenance-window",
        read=through_text(_window),
        errors=(InputError,),
        write=lambda window: words(window).encode(),
        seeds=lambda: [
            b"sat,sun 22:00-05:00 Europe/Berlin",
            b"sun-tue 24:00-0:00 Australia/Lord_Howe",
            b"daily 02:00-02:30 UTC",
        ],
        most_bytes=200,
    ),
    Parser(
        name="desired-windows",
        read=_desired,
        errors=(MessageError,),
        write=encode,
        seeds=lambda: [
            encode(
                DesiredDeployment(
                    deployment="digits",
                    target="models/digits/1-int8.json",
                    digest=_DIGEST,
                    installation="install-1",
                    maintenance=(one,),
                )
            )
            for one in (_MAINTENANCE, msgspec.structs.replace(_MAINTENANCE, zone="../zone"))
        ],
        most_bytes=600,
    ),
    Parser(
        name="webhook-address",
        read=through_text(lambda text: check_url(text, _ALLOWED)),
        errors=(InputError,),
        seeds=lambda: [
            b"https://hooks.example/edgeops",
            b"http://[::ffff:10.0.0.1]:99999/",
            b"https://a@hooks.example",
        ],
        most_bytes=400,
    ),
    Parser(
        name="webhook-list",
        read=through_text(_allowed),
        errors=(),
        seeds=lambda: [b"hooks.example\n*.plant.example # ours\n10.0.0.0/8\n", b"10.0.0.1/8\n::1/129"],
        most_bytes=400,
    ),
    Parser(
        name="label",
        read=through_text(lambda text: parse_labels([text])),
        errors=(ConfigError,),
        seeds=lambda: [b"site=plant-1", b"=", b"a= "],
        most_bytes=400,
    ),
    Parser(
        name="labels-file",
        read=_state_file("labels.json", read_labels),
        errors=(),
        write=msgspec.json.encode,
        seeds=lambda: [b'{"site":"plant-1"}', b'{"x":' + _DEEP],
        most_bytes=400,
    ),
    Parser(
        name="holds-file",
        read=_state_file("holds.json", read_holds),
        errors=(),
        write=msgspec.json.encode,
        seeds=lambda: [
            msgspec.json.encode(Holds(device=Hold(reason="a visit"), deployments={"digits": Hold()})),
            _DEEP,
        ],
        most_bytes=400,
    ),
    Parser(
        name="edition",
        read=through_text(lambda text: _editions(Response(), text).wanted or "any"),
        errors=(FieldError,),
        seeds=lambda: [b'"7", W/"8"', b"*", b'"'],
        most_bytes=400,
    ),
    Parser(
        name="audit-export",
        read=_export,
        errors=(InputError,),
        seeds=lambda: [
            _entries(),
            _entries().replace(b"true", b"1" * 40),
            _entries().replace(b"true", _DEEP),
            _entries().replace(b"too slow", b"\\ud800"),
        ],
    ),
    Parser(name="audit-anchor", read=_anchor, errors=(InputError, TrustError), seeds=lambda: [_timestamp(), _DEEP]),
    Parser(
        name="audit-root",
        read=_witness,
        errors=(InputError, TrustError),
        seeds=lambda: [(_kept() / "root.json").read_bytes(), _timestamp(), _DEEP],
        most_bytes=8192,
    ),
)
