"""Who may do what: roles, bearer tokens and one-time enrolment tokens.

A token is `edgeops_<id>_<secret>`: the id finds the row, the secret is 256 random bits of which the
database holds an argon2 hash (RFC 9106). This module decides whether a token is good; it answers no
requests and does not know what is done with the right it grants.
"""

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import BoundedSemaphore, Lock

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from edgeops import limits
from edgeops.api.roles import RIGHTS, Right, Role
from edgeops.errors import InputError, NotFoundError
from fleet_server.db import audit, tokens
from fleet_server.db.database import Database

API_PREFIX = "edgeops"
ENROLMENT_PREFIX = "enrol"

_ID_BYTES = 6
_SECRET_BYTES = 32

#: Tokens whose argon2 check is remembered, by digest; a revoked one is still refused at once.
_REMEMBERED = 1024
#: `last_used_at` moves at most this often, so that reading does not mean writing.
_USE_NOTED_AFTER = timedelta(minutes=1)
#: The secret is random, so the cheapest parameters that OWASP names suffice; two at a time, so that
#: guessing costs the guesser and not this machine.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_CHECKS_AT_ONCE = BoundedSemaphore(2)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks."""

    token_id: str
    name: str
    role: Role

    def may(self, right: Right) -> bool:
        """Whether this identity has the right."""
        return right in RIGHTS[self.role]


@dataclass(frozen=True, slots=True)
class NewToken:
    """A row and the text that is shown once."""

    row: tokens.ApiToken
    text: str


@dataclass(frozen=True, slots=True)
class NewEnrolmentToken:
    """A row and the text that is shown once."""

    row: tokens.EnrolmentToken
    text: str


class Access:
    """Checks tokens against the database and remembers which secrets it has checked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = Lock()
        #: token id -> (stored hash, digest of the text that matched it).
        self._checked: OrderedDict[str, tuple[str, bytes]] = OrderedDict()

    def create_token(self, name: str, role: Role, *, created_by: str, now: datetime) -> NewToken:
        """A new API token.

        Raises:
            InputError: in the audit trail the name is the server's own.
        """
        if name.strip().casefold() in audit.RESERVED:
            words = f"{name!r} is what the server itself is called in the audit trail; name the person or the program"
            raise InputError(words, fields=[("#/name", words)])
        token_id, secret, secret_hash = _new_secret()
        row = tokens.ApiToken(token_id, name, role, secret_hash, now)
        with self._database.write() as connection:
            tokens.add_api_token(connection, row)
            audit.append(connection, created_by, "token.created", token_id, {"name": name, "role": role}, now)
        return NewToken(row, f"{API_PREFIX}_{token_id}_{secret}")

    def revoke_token(self, token_id: str, *, revoked_by: str, now: datetime) -> None:
        """From now on the token opens nothing; harmless to repeat.

        Raises:
            NotFoundError: there is no such token.
        """
        with self._database.write() as connection:
            if tokens.api_token(connection, token_id) is None:
                raise NotFoundError(f"no token {token_id[:80]!r}; list them with: edgeops token list")
            if tokens.revoke_api_token(connection, token_id, now=now):
                audit.append(connection, revoked_by, "token.revoked", token_id, {}, now)

    def identify(self, text: str, *, now: datetime) -> Identity | None:
        """Whose token this is; None when it is none of ours, wrong or revoked."""
        parts = _split(text, API_PREFIX)
        if parts is None:
            return None
        token_id, secret = parts
        with self._database.read() as connection:
            row = tokens.api_token(connection, token_id)
        if row is None or row.revoked_at is not None or not self._matches(token_id, row.hash, secret):
            return None
        if row.last_used_at is None or now - row.last_used_at >= _USE_NOTED_AFTER:
            with self._database.write() as connection:
                tokens.mark_api_token_used(connection, token_id, now=now)
        return Identity(token_id, row.name, Role(row.role))

    def create_enrolment_tokens(self, count: int, *, created_by: str, now: datetime) -> tuple[NewEnrolmentToken, ...]:
        """One-time tokens that live for `limits.ENROLMENT_TOKEN_LIFE`."""
        made = []
        for _ in range(count):
            token_id, secret, secret_hash = _new_secret()
            row = tokens.EnrolmentToken(token_id, secret_hash, created_by, now, now + limits.ENROLMENT_TOKEN_LIFE)
            made.append(NewEnrolmentToken(row, f"{ENROLMENT_PREFIX}_{token_id}_{secret}"))
        with self._database.write() as connection:
            for token in made:
                tokens.add_enrolment_token(connection, token.row)
                audit.append(connection, created_by, "enrolment-token.created", token.row.id, {}, now)
        return tuple(made)

    def check_enrolment_token(self, text: str) -> tokens.EnrolmentToken | None:
        """The row of a genuine enrolment token, perhaps used or expired; None when it is none of ours."""
        parts = _split(text, ENROLMENT_PREFIX)
        if parts is None:
            return None
        token_id, secret = parts
        with self._database.read() as connection:
            row = tokens.enrolment_token(connection, token_id)
        return row if row is not None and _verify(row.hash, secret) else None

    def _matches(self, token_id: str, stored: str, secret: str) -> bool:
        shown = hashlib.sha256(secret.encode()).digest()
        with self._lock:
            known = self._checked.get(token_id)
        if known is not None and known[0] == stored and secrets.compare_digest(known[1], shown):
            return True
        if not _verify(stored, secret):
            return False
        with self._lock:
            self._checked[token_id] = (stored, shown)
            while len(self._checked) > _REMEMBERED:
                self._checked.popitem(last=False)
        return True


def _new_secret() -> tuple[str, str, str]:
    """Id, secret and the secret's hash."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return secrets.token_hex(_ID_BYTES), secret, _hash(secret)


def _hash(secret: str) -> str:
    with _CHECKS_AT_ONCE:
        return _HASHER.hash(secret)


def _verify(stored: str, secret: str) -> bool:
    try:
        with _CHECKS_AT_ONCE:
            return _HASHER.verify(stored, secret)
    except (VerificationError, InvalidHashError):
        return False


def _split(text: str, prefix: str) -> tuple[str, str] | None:
    """Id and secret of a token; the secret may hold underscores."""
    parts = text.split("_", 2)
    if len(parts) != 3 or parts[0] != prefix or not text.isascii():
        return None
    return parts[1], parts[2]
