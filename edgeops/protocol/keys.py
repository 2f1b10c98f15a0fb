"""Ed25519 keys by value: key ids, signing, verifying, and their text on disk.

A private key never leaves the process that owns it except through `write_private_key`.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgeops.digest import write_atomically
from edgeops.errors import ConfigError

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
#: No PEM; with a password; of a kind that OpenSSL does not know; of one whose keys are longer.
UNREADABLE_KEY = (ValueError, TypeError, UnsupportedAlgorithm, InternalError)
#: Those that were used last; loading one again costs little.
MAX_LOADED_KEYS = 4_096


@dataclass(frozen=True, slots=True)
class PublicKey:
    """32 raw bytes (RFC 8032) and their id."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != PUBLIC_KEY_BYTES:
            raise ConfigError(f"an Ed25519 public key has {PUBLIC_KEY_BYTES} bytes, got {len(self.raw)}")

    @property
    def key_id(self) -> str:
        """16 hex characters: a hint which key to try, never a proof of anything."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Read the 64 hex characters that tables, JSON and metadata hold.

        Raises:
            ConfigError: the text is not 64 hex characters.
        """
        try:
            return cls(bytes.fromhex(text))
        except ValueError as error:
            raise ConfigError(f"not a public key: {text[:80]!r}; expected 64 hex characters") from error

    @property
    def hex(self) -> str:
        """The 64 hex characters of the key."""
        return self.raw.hex()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` (64 bytes) over `data` was made by the private half."""
        try:
            _loaded(self.raw).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True


@lru_cache(maxsize=MAX_LOADED_KEYS)
def _loaded(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


class SigningKey:
    """A private Ed25519 key."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = PublicKey(
            private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        )

    @classmethod
    def generate(cls) -> Self:
        """A new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    def sign(self, data: bytes) -> bytes:
        """64 bytes (RFC 8032)."""
        return self._private.sign(data)

    def to_pem(self) -> bytes:
        """PKCS#8 PEM, not encrypted: the file's mode guards it."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def write_private_key(path: Path, key: SigningKey) -> None:
    """Store `key` as PKCS#8 PEM that only its owner may read."""
    write_atomically(path, key.to_pem(), mode=0o600)


def read_private_key(path: Path) -> SigningKey:
    """Load a key that `write_private_key` stored.

    Raises:
        ConfigError: no such file, or no Ed25519 key inside.
    """
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, *UNREADABLE_KEY) as error:
        raise ConfigError(f"cannot read the private key {path}: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds no Ed25519 key but {type(private).__name__}")
    return SigningKey(private)
