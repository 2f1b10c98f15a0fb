"""Tokens: of people and programs for the API, and of devices for their one enrolment.

Stores hashes that the caller made; never sees a secret and checks none.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from fleet_server.db.tables import api_tokens, enrolment_tokens


@dataclass(frozen=True, slots=True)
class ApiToken:
    """Who may call the API, and as what."""

    id: str
    name: str
    role: str
    hash: str
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentToken:
    """The right to enrol one device, once."""

    id: str
    hash: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    device_id: str | None = None


def add_api_token(connection: Connection, token: ApiToken) -> None:
    """Store a new token."""
    connection.execute(
        api_tokens.insert().values(
            id=token.id, name=token.name, role=token.role, hash=token.hash, created_at=token.created_at
        )
    )


def api_token(connection: Connection, token_id: str) -> ApiToken | None:
    """The token of this id, revoked or not."""
    row = connection.execute(select(api_tokens).where(api_tokens.c.id == token_id)).one_or_none()
    return None if row is None else _api_token(row)


def api_token_page(connection: Connection, *, after: str | None = None, limit: int) -> tuple[ApiToken, ...]:
    """Tokens in id order, those after `after`."""
    query = select(api_tokens).where(api_tokens.c.id > (after or "")).order_by(api_tokens.c.id).limit(limit)
    return tuple(_api_token(row) for row in connection.execute(query))


def mark_api_token_used(connection: Connection, token_id: str, *, now: datetime) -> None:
    """Remember that the token was used."""
    connection.execute(update(api_tokens).where(api_tokens.c.id == token_id).values(last_used_at=now))


def revoke_api_token(connection: Connection, token_id: str, *, now: datetime) -> bool:
    """End a token for good; False when it is unknown or already revoked."""
    live = (api_tokens.c.id == token_id) & api_tokens.c.revoked_at.is_(None)
    return connection.execute(update(api_tokens).where(live).values(revoked_at=now)).rowcount == 1


def add_enrolment_token(connection: Connection, token: EnrolmentToken) -> None:
    """Store a new token."""
    connection.execute(
        enrolment_tokens.insert().values(
            id=token.id,
            hash=token.hash,
            created_by=token.created_by,
            created_at=token.created_at,
            expires_at=token.expires_at,
        )
    )


def enrolment_token(connection: Connection, token_id: str) -> EnrolmentToken | None:
    """The token of this id, used, expired or not."""
    row = connection.execute(select(enrolment_tokens).where(enrolment_tokens.c.id == token_id)).one_or_none()
    return None if row is None else EnrolmentToken(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def use_enrolment_token(connection: Connection, token_id: str, *, device_id: str, now: datetime) -> bool:
    """Spend a token on `device_id`; False when it is unknown, expired or was spent before.

    One UPDATE decides, so of two callers at once only one wins.
    """
    free = (
        (enrolment_tokens.c.id == token_id)
        & enrolment_tokens.c.used_at.is_(None)
        & (enrolment_tokens.c.expires_at > now)
    )
    spent = update(enrolment_tokens).where(free).values(used_at=now, device_id=device_id)
    return connection.execute(spent).rowcount == 1


def _api_token(row: Row[Any]) -> ApiToken:
    return ApiToken(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
