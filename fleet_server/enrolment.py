"""A device becomes known: an id, its key and a broker account for a one-time token.

Hands out what the device needs to speak and to trust; does not decide what it shall run.
"""

import re
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from edgeops.errors import AccessError, ConflictError
from edgeops.limits import MAX_ID_LENGTH
from edgeops.protocol.keys import PublicKey
from edgeops.trust.repository import Repository
from fleet_server import broker
from fleet_server.access import Access
from fleet_server.accounts import publish_accounts
from fleet_server.config import ServerConfig
from fleet_server.db import audit, devices, tokens
from fleet_server.db.database import Database

_SUFFIX_BYTES = 2
#: Ids tried at random before a name counts as used up.
_ID_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What a device says of itself."""

    name: str
    #: Machine id or board serial.
    hardware: str
    public_key: PublicKey
    agent_version: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a device gets: the id is also its broker user name; `root` is TUF root metadata."""

    device_id: str
    password: str
    root: bytes


def enrol(
    config: ServerConfig, database: Database, access: Access, *, token: str, newcomer: Newcomer, now: datetime
) -> Welcome:
    """Spend `token` on a new device and let the broker know it.

    Raises:
        AccessError: the token is none of ours, used or expired.
    """
    genuine = access.check_enrolment_token(token)
    if genuine is None:
        raise AccessError(
            "this is no enrolment token of this server; an operator makes one with: edgeops devices token"
        )
    root = Repository.open(config.repository, config.keys).trusted_root()
    password = broker.new_password()
    with database.write() as connection:
        device_id = _free_id(newcomer.name, taken=lambda one: devices.get(connection, one) is not None)
        if not tokens.use_enrolment_token(connection, genuine.id, device_id=device_id, now=now):
            raise AccessError(_why_refused(genuine))
        devices.enrol(
            connection,
            device_id,
            name=newcomer.name,
            hardware=newcomer.hardware,
            public_key=newcomer.public_key,
            agent_version=newcomer.agent_version,
            now=now,
        )
        devices.set_broker_account(connection, device_id, password_hash=broker.hash_password(password), now=now)
        # Whoever made the token decided it.
        audit.append(connection, genuine.created_by, "device.enrolled", device_id, {"token": genuine.id}, now)
    publish_accounts(config, database)
    return Welcome(device_id, password, root)


def device_id_stem(name: str) -> str:
    """The readable part of a device id: lower case without accents, digits and single hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    room = MAX_ID_LENGTH - 1 - 2 * _SUFFIX_BYTES
    return slug[:room].rstrip("-") or "device"


def _free_id(name: str, *, taken: Callable[[str], bool]) -> str:
    stem = device_id_stem(name)
    for _ in range(_ID_ATTEMPTS):
        device_id = f"{stem}-{secrets.token_hex(_SUFFIX_BYTES)}"
        if not taken(device_id):
            return device_id
    raise ConflictError(f"too many devices are called {name!r}; choose another name")


def _why_refused(token: tokens.EnrolmentToken) -> str:
    if token.used_at is not None:
        return f"this enrolment token was used at {token.used_at.isoformat()} for {token.device_id}; ask for a new one"
    return f"this enrolment token was good until {token.expires_at.isoformat()} and for one device; ask for a new one"
