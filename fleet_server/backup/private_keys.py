"""Which private keys of a data folder may ever be in a backup: those that the server itself needs, by what they sign.

Never by their names: a copy of the targets key under another name is still the targets key. Root and targets keys,
and files that are no key of this fleet, stay where they are.
"""

from pathlib import Path

from edgeops.errors import ConfigError
from edgeops.protocol.keys import read_private_key
from edgeops.trust.authorities import AUTHORITIES_TARGET, Authority, decode_authorities
from edgeops.trust.custody import OFFLINE
from edgeops.trust.issuing import key_file
from edgeops.trust.keyring import FLEET_KEYS_TARGET, decode_fleet_keys
from edgeops.trust.repository import Repository


def online_keys(repository: Path, keys: Path) -> list[Path]:
    """The key files in `keys` that sign snapshots, timestamps, delegated targets, what devices are told, certificates.

    Raises:
        ConfigError, TrustError: there is no repository, or it is damaged.
    """
    _, online = _public_keys(repository)
    certificates = {key_file(keys, one) for one in authorities(repository)}
    found = {path: _public(path) for path in sorted(keys.glob("*.pem"))}
    return [path for path, public in found.items() if public in online or (public is None and path in certificates)]


def authorities(repository: Path) -> tuple[Authority, ...]:
    """The certificate authorities that this fleet's devices accept; none where it speaks no TLS."""
    listed = Repository.open(repository, repository).read(AUTHORITIES_TARGET)
    return () if listed is None else decode_authorities(listed)


def lie_here(repository: Path, keys: Path) -> bool:
    """Whether a root or targets key lies in `keys`."""
    offline, _ = _public_keys(repository)
    return any(_public(path) in offline for path in keys.glob("*.pem"))


def _public_keys(repository: Path) -> tuple[set[str], set[str]]:
    """The public halves (hex) that only a person may use, and those that the server needs."""
    opened = Repository.open(repository, repository)
    known = opened.role_keys()
    offline = {key.public_hex for key in known if key.role in OFFLINE}
    listed = opened.read(FLEET_KEYS_TARGET)
    fleet = {key.public_hex for key in decode_fleet_keys(listed).keys} if listed is not None else set()
    return offline, ({key.public_hex for key in known} | fleet) - offline


def _public(path: Path) -> str | None:
    try:
        return read_private_key(path).public.hex
    except ConfigError:
        return None  # of another kind than any that this fleet signs with
