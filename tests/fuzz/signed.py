"""What people who hold keys read and sign: changes, CAs, a root by hand; and what backups and passes say of themselves."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography.hazmat.primitives.serialization import Encoding

from device_agent.config import StateFolder
from device_agent.repin import repin
from edgeops.artifact.manifest import encode_value
from edgeops.digest import digest_bytes
from edgeops.errors import ConfigError, InputError, PeerError, TrustError
from edgeops.protocol.envelope import Session, Speaker
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.passes import open_pass, read_pass, write_pass
from edgeops.trust.authorities import decode_authorities, encode_authorities, why_refused
from edgeops.trust.change import check, decode_change, encode_change, sign, signatures
from edgeops.trust.draft import Draft
from edgeops.trust.issuing import Issuer, issue, issuers_in, new_issuer, write_issuer
from edgeops.trust.repository import Repository
from edgeops.trust.review import describe, lists_models_only
from edgeops.trust.signers import by_id
from fleet_server.backup.manifest import Entry, Manifest, encode_manifest, read_manifest
from fleet_server.broker_log import LogFilter, refusals
from tests.fuzz.parser import Parser, scratch
from tests.golden.tiny import tiny_artifact, tiny_descriptor

_AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
_DIGEST = "sha256:" + "5a" * 32
_KEY = SigningKey.generate()
_SPEAKER = Speaker("camera-1", _KEY, 1, Session(3, b"\x01" * 8))


@cache
def _changes() -> Sequence[bytes]:
    folder = scratch() / "ceremony"
    repository = Repository.create(folder / "repository", folder / "keys", _AT)
    repository.publish({"fleet/keys.json": b"{}"}, _AT)
    listing, trusting = Draft(repository.base(), _AT), Draft(repository.base(), _AT)
    listing.list({"models/tiny/1-int8.json": encode_value(tiny_descriptor(tiny_artifact()))})
    trusting.trust("root", [SigningKey.generate().public], threshold=2)
    changes = [listing.finish(), trusting.finish()]
    for change in changes:
        sign(change, by_id(folder / "keys"))
    return [encode_change(change) for change in changes]


def _change(data: bytes) -> object:
    """A file from another machine, as the person who is asked to sign it is told of it."""
    change = decode_change(data)
    check(change, now=_AT + timedelta(hours=1))
    signatures(change)
    describe(change)
    lists_models_only(change)
    return change


def _authority_file(data: bytes) -> object:
    folder = scratch() / "authorities"
    folder.mkdir(exist_ok=True)
    (folder / "ca-0000000000000000.pem").write_bytes(data)
    return issuers_in(folder)


@cache
def _authority() -> bytes:
    folder = scratch() / "made"
    folder.mkdir(exist_ok=True)
    return write_issuer(folder, new_issuer(_AT)).read_bytes()


@cache
def _issuer() -> Issuer:
    return new_issuer(_AT)


def _certificate() -> bytes:
    return issue(_issuer(), ["fleet.example"], _AT).certificate.public_bytes(Encoding.DER)


def _root(data: bytes) -> object:
    path = scratch() / "root-by-hand.json"
    path.write_bytes(data)
    return repin(StateFolder(scratch() / "repinned"), path, fingerprint=digest_bytes(data))


def _pass(data: bytes) -> object:
    shown = read_pass(data.decode("latin-1"))
    return open_pass(shown, _DIGEST, keys={_KEY.public.key_id: _KEY.public})


def _broker_log(data: bytes) -> object:
    kept = LogFilter("edgeops-server").take(data + b"\n", now_s=1.0)
    return list(refusals(kept.decode(errors="replace")))


_MANIFEST = Manifest(
    format=1, edgeops="0.1", taken_at=_AT, schema={"control": "0001"}, devices=3, online_keys=True,
    files={"db/control.db": Entry(size_bytes=10, digest=_DIGEST), f"blobs/5a/{'5a' * 31}": Entry(size_bytes=1, digest=_DIGEST)},
)  # fmt: skip
_LOG = b"""1795694400: Client camera-1 disconnected due to oversize packet.
1795694400: camera-1 1 edgeops/v1/down/camera-2/#
1795694401: Denied PUBLISH from camera-1 (d0, q1, r0, m1, 'edgeops/v1/up/camera-2/status', ... (10 bytes))
1795694401: camera-1 1 \xc3
1795694402: Client x\xff disconnected, not authorised.
"""

PARSERS = (
    Parser(
        name="change",
        read=_change,
        errors=(TrustError, InputError),
        write=encode_change,
        seeds=_changes,
        most_bytes=32768,
    ),
    Parser(
        name="authorities",
        read=decode_authorities,
        errors=(TrustError,),
        write=encode_authorities,
        seeds=lambda: [encode_authorities([new_issuer(_AT).authority]), b"[" * 70_000],
    ),
    Parser(
        name="server-certificate",
        read=lambda data: why_refused(data, [_issuer().authority], now=_AT) is None,
        errors=(),
        seeds=lambda: [_certificate()],
    ),
    Parser(name="authority-file", read=_authority_file, errors=(ConfigError, TrustError), seeds=lambda: [_authority()]),
    Parser(
        name="root-by-hand",
        read=_root,
        errors=(TrustError,),
        seeds=lambda: [b'{"signed":{"_type":"root","version":3}}', b'{"x":' + b"[" * 70_000],
    ),
    Parser(
        name="blob-pass",
        read=_pass,
        errors=(PeerError,),
        seeds=lambda: [write_pass(_SPEAKER, _DIGEST, seq=1).encode(), b"EdgeOps-Device camera-1 \xe9\xe9\xe9\xe9"],
        most_bytes=1000,
    ),
    Parser(name="broker-log", read=_broker_log, errors=(), seeds=lambda: [_LOG], most_bytes=1000),
    Parser(
        name="backup-manifest",
        read=lambda data: read_manifest(data, expected=None, known={"control": frozenset({"0001"})}),
        errors=(InputError,),
        write=encode_manifest,
        seeds=lambda: [
            encode_manifest(_MANIFEST),
            encode_manifest(_MANIFEST).replace(b"+00:00", b"").replace(b'Z"', b'"'),
            b'{"format":1,"x":' + b"[" * 70_000,
        ],
    ),
)
