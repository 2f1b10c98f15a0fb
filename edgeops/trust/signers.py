"""The private keys of TUF roles in a folder, as python-tuf signs with them.

Whose a file is, its key id says, never its name. Where files lie, and that a key which shall replace another lies
beside it, is `edgeops.trust.custody`'s.
"""

from collections.abc import Collection
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey

from edgeops.digest import sync_folder
from edgeops.protocol.keys import PublicKey, SigningKey, read_private_key, write_private_key
from edgeops.trust.custody import key_file, key_files, next_key_file, next_keys
from edgeops.trust.delegation import ROLE_PREFIX


def signers_in(folder: Path) -> dict[str, Signer]:
    """The signers of all roles, delegated ones too, whose private key lies in `folder`; by file name.

    Raises:
        ConfigError: a file that holds no Ed25519 key.
    """
    paths = (*key_files(folder), *sorted(folder.glob(f"{ROLE_PREFIX}*.pem")))
    return {path.stem: signer_of(read_private_key(path)) for path in paths}


def by_id(*folders: Path) -> dict[str, Signer]:
    """The signers in these folders by TUF key id.

    Raises:
        ConfigError: a file that holds no Ed25519 key.
    """
    return {signer.public_key.keyid: signer for folder in folders for signer in signers_in(folder).values()}


def signer_of(key: SigningKey) -> Signer:
    """The same key for python-tuf."""
    return CryptoSigner(load_pem_private_key(key.to_pem(), password=None))


def tuf_key(public: PublicKey) -> Key:
    """A public key as TUF metadata holds it."""
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(public.raw))


def prepare(folder: Path, role: str) -> PublicKey:
    """Make a key that shall replace the role's; one that was made before and never trusted is forgotten."""
    key = SigningKey.generate()
    write_private_key(next_key_file(folder, role), key)
    return key.public


def promote(folder: Path, trusted: Collection[str], *, keep: bool = False) -> tuple[str, ...]:
    """Give the names of their roles to keys that are trusted now, whose predecessors are not; the roles.

    A key that was replaced is deleted, or with `keep` put aside as `<role>.old.pem`. Harmless to repeat.
    """
    changed = []
    for role, path in next_keys(folder).items():
        before = key_file(folder, role)
        if _id_of(path) in trusted and not (before.exists() and _id_of(before) in trusted):
            if keep and before.exists():
                before.replace(before.with_suffix(".old.pem"))
            path.replace(before)
            changed.append(role)
    if changed:
        sync_folder(folder)
    return tuple(changed)


def _id_of(path: Path) -> str:
    return str(tuf_key(read_private_key(path).public).keyid)
