"""A person's part in a change of what is signed offline: make it, check it, sign it with the keys at hand.

What is complete goes to the server, which publishes it; else it is a file that the next person signs, on a machine that
need not reach the server. A folder of keys remembers the newest root that was seen with it (`root.json`), so that
nobody is talked into signing on top of another one. What a change may do is `edgeops.trust.draft`'s.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgeops import limits
from edgeops.api.client import Client
from edgeops.api.shapes import KeyRole, Submitted
from edgeops.artifact.package import open_artifact
from edgeops.digest import digest_file, write_atomically
from edgeops.errors import ConfigError, ConflictError, InputError, TrustError
from edgeops.protocol.keys import PublicKey, SigningKey, read_private_key, write_private_key
from edgeops.trust.change import (
    Base,
    Change,
    Signatures,
    check,
    check_base,
    decode_change,
    encode_change,
    is_signed,
    read_base,
    sign,
    signatures,
)
from edgeops.trust.custody import key_file, key_files, next_key_file
from edgeops.trust.draft import HELD, Draft, trusted_keys
from edgeops.trust.keyring import FLEET_KEYS_TARGET, encode_fleet_keys, fleet_keys_of
from edgeops.trust.review import descriptors, lists_models_only, require_promotions
from edgeops.trust.signers import by_id, prepare, promote

_PIN = "root.json"


@dataclass(frozen=True, slots=True)
class Published:
    """The server took it."""

    change: Change
    #: Roles of keys in the folder that replaced others.
    promoted: tuple[str, ...]
    #: Targets that are listed no longer.
    unlisted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """More people must sign the file."""

    change: Change
    file: Path

    @property
    def lacking(self) -> tuple[Signatures, ...]:
        """Whose signatures."""
        return tuple(one for one in signatures(self.change) if one.missing)


def make_key(folder: Path, role: str) -> PublicKey:
    """Make a key that a person shall hold: `<role>.pem`, and `<role>.pub` to be shown to others.

    Raises:
        InputError: a role whose key is the server's.
        ConflictError: one lies there.
        ConfigError: the folder cannot be written.
    """
    if role not in HELD:
        raise InputError(f"people hold keys of {' and '.join(HELD)}, not of {role!r}")
    path = key_file(folder, role)
    if key_files(folder, (role,)):
        raise ConflictError(f"a {role} key lies in {folder}; one folder is one person's, choose another")
    key = SigningKey.generate()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private_key(path, key)
        _public_file(folder, role).write_text(f"{key.public.hex}\n")
    except OSError as error:
        raise ConfigError(f"cannot write into {folder}: {error.strerror or error}") from error
    return key.public


def read_public(text: str) -> PublicKey:
    """A public key by its 64 hex characters, or the file that `make_key` wrote.

    Raises:
        ConfigError: neither.
    """
    path = Path(text)
    if text.endswith(".pub"):
        try:
            text = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the public key {path}: {error}") from error
    return PublicKey.from_hex(text)


def begin(client: Client, keys: Path, now: datetime) -> Draft:
    """A change of what the server says is signed offline today, checked against what was seen with these keys before.

    Raises:
        TrustError: it does not hold.
    """
    signed = client.signed_today()
    base = read_base([one.encode() for one in signed.roots], signed.targets.encode())
    check_base(base, pinned=_pinned(keys))
    _take_places(keys, base.root.signed.keys)
    return Draft(base, now)


def rotate(client: Client, draft: Draft, roles: Sequence[str], *, keys: Path) -> None:
    """Put new keys in the place of those at hand, of a role's only one that is lost, or of the server's own.

    Raises:
        InputError: no such role, or it cannot be told whose key shall be replaced.
    """
    for role in roles:
        match role:
            case "root" | "targets":
                old = _replaced(draft.base, role, keys)
                keys.mkdir(mode=0o700, parents=True, exist_ok=True)
                draft.replace(role, [old], [_next(keys, role)])
            case KeyRole.SNAPSHOT | KeyRole.TIMESTAMP:
                held = [one.key_id for one in trusted_keys(draft.base.root.signed) if one.role == role]
                draft.replace(role, held, [PublicKey.from_hex(client.next_key(role).public_hex)])
            case KeyRole.FLEET:
                made = client.next_key(role)
                assert made.epoch is not None
                public = PublicKey.from_hex(made.public_hex)
                draft.list({FLEET_KEYS_TARGET: encode_fleet_keys(fleet_keys_of(public, epoch=made.epoch))})
            case _:
                raise InputError(f"{role!r} is no role of a key that is rotated; delegated keys: edgeops key delegate")


def complete(
    client: Client, change: Change, *, keys: Path, out: Path | None, name: str, now: datetime
) -> Published | Waiting:
    """Check a change, sign it with the keys at hand, and publish it, or write it into a file for others.

    `out` names the file and keeps it from being published; `name` is what it is called otherwise.

    Raises:
        TrustError: what the server says is signed today does not hold.
        ConfigError: no key at hand may sign it, and no file is named.
        ConflictError: the file is there, the server's state has moved on, or a promotion gate refused what is listed.
    """
    _check(change, keys, now)
    signed = sign(change, by_id(keys))
    if out is None and is_signed(change):
        return submit(client, change, keys=keys)
    if out is None and not signed:
        raise ConfigError(
            f"no key in {keys} may sign this, it needs {_wanted(change)}; name the folder that the keys were moved to "
            "with --keys, or write it into a file for others with --out"
        )
    file = out or Path(f"{name}.change")
    if file.exists():
        raise ConflictError(f"{file} is there already; name another with --out, or remove it")
    write_atomically(file, encode_change(change))
    return Waiting(change, file)


def sign_file(file: Path, *, keys: Path, now: datetime) -> Waiting:
    """Add the signatures of the keys at hand to a file that `read_file` showed.

    Raises:
        ConfigError: no key in the folder may sign it, or all have.
    """
    change = read_file(file, keys=keys, now=now)
    if not key_files(keys, HELD):
        raise ConfigError(f"no root.pem or targets.pem in {keys}; name the folder that the keys were moved to")
    if not sign(change, by_id(keys)):
        raise ConfigError(f"no key in {keys} may sign this: it needs {_wanted(change)}")
    write_atomically(file, encode_change(change))
    _pin(change, keys)
    return Waiting(change, file)


def read_file(file: Path, *, keys: Path, now: datetime) -> Change:
    """A file that somebody asks to be signed, checked.

    Raises:
        ConfigError: it cannot be read.
        InputError, TrustError: it is no change, or one that nobody shall sign.
        ConflictError: it lists what a promotion gate refused, and nobody overrode that.
    """
    change = decode_change(_content(file))
    _check(change, keys, now)
    return change


def hold_against(change: Change, artifacts: Sequence[Path]) -> None:
    """Only models are listed, and the files at hand are those that their descriptors name.

    Raises:
        TrustError: something else is done, or a file is another one.
    """
    if not lists_models_only(change):
        raise TrustError("this does more than to list models; see what, and sign it with: edgeops key sign")
    known = {one.digest: one for one in descriptors(change).values()}
    for path in artifacts:
        try:
            descriptor = known.get(digest_file(path))
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
        if descriptor is None:
            raise TrustError(f"{path} is not a file that this lists; do not sign it")
        if open_artifact(path).manifest != descriptor.manifest:
            raise TrustError(f"the manifest inside {path} is not its descriptor's; do not sign it")


def remember_root(keys: Path, root: bytes) -> None:
    """From now on, nothing is signed with these keys on top of an older root or another one."""
    write_atomically(keys / _PIN, root)


def submit_file(client: Client, file: Path) -> Submitted:
    """Have the server publish a file.

    Raises:
        ConfigError: it cannot be read.
        ConflictError: it lacks signatures, or the server's state has moved on.
    """
    return client.submit_change(_content(file))


def submit(client: Client, change: Change, *, keys: Path) -> Published:
    """Have the server publish a change; keys in the folder that it trusts take the places of those before."""
    said = client.submit_change(encode_change(change))
    _pin(change, keys, published=True)
    return Published(change, _take_places(keys, change.root_after.keys), said.unlisted)


def _check(change: Change, keys: Path, now: datetime) -> None:
    check(change, now=now, pinned=_pinned(keys))
    require_promotions(change)


def _pinned(keys: Path) -> bytes | None:
    """The newest root that was seen with these keys; None = this is the first."""
    path = keys / _PIN
    return path.read_bytes() if path.exists() else None


def _next(keys: Path, role: str) -> PublicKey:
    """The key that shall replace the one here: that of an earlier try, which a change on its way may trust already."""
    path = next_key_file(keys, role)
    return read_private_key(path).public if path.exists() else prepare(keys, role)


def _take_places(keys: Path, trusted: Collection[str]) -> tuple[str, ...]:
    """New keys that are trusted now become those of their roles; the roles."""
    promoted = promote(keys, trusted, keep=True)
    for role in promoted:
        if _public_file(keys, role).exists():
            _public_file(keys, role).write_text(f"{read_private_key(key_file(keys, role)).public.hex}\n")
    return promoted


def _pin(change: Change, keys: Path, *, published: bool = False) -> None:
    """What was checked is the least that is believed from now on."""
    if keys.is_dir():
        root = change.root if published and change.root is not None else change.base.root
        remember_root(keys, root.to_bytes())


def _replaced(base: Base, role: str, keys: Path) -> str:
    """The id of the key that a new one shall replace."""
    held = [one.key_id for one in trusted_keys(base.root.signed) if one.role == role]
    at_hand = [key_id for key_id in held if key_id in by_id(keys)]
    candidates = at_hand or held
    if len(candidates) != 1:
        raise InputError(
            f"{role} has {len(held)} keys and none is in {keys}; for a lost one, trust another: edgeops key trust "
            f"{role} PUBLIC --replaces KEY ({', '.join(one[:8] for one in held)})"
        )
    return candidates[0]


def _wanted(change: Change) -> str:
    lacking = [one for one in signatures(change) if one.missing]
    return ", ".join(f"{one.what} by {' or '.join(key[:8] for key in one.unsigned)}" for one in lacking) or "no more"


def _content(file: Path) -> bytes:
    try:
        if file.stat().st_size > limits.MAX_CHANGE_BYTES:
            raise ConfigError(f"{file} is no change to be signed: more than {limits.MAX_CHANGE_BYTES} bytes")
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror or error}") from error


def _public_file(folder: Path, role: str) -> Path:
    return folder / f"{role}.pub"
