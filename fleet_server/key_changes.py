"""What people sign on other machines comes back here: the server publishes it when enough keys did.

It makes the keys that it needs itself and tells their public halves; it can sign neither root nor targets, and what it
publishes was checked by `edgeops.trust.repository`.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from edgeops.api.shapes import KeyRole
from edgeops.errors import InputError, TrustError
from edgeops.protocol.keys import PublicKey
from edgeops.trust.change import decode_change
from edgeops.trust.delegation import role_of
from edgeops.trust.repository import Repository
from edgeops.trust.review import describe, require_promotions
from fleet_server import certificates, fleet_key
from fleet_server.config import ServerConfig
from fleet_server.db import audit
from fleet_server.db.database import Database
from fleet_server.publish import mirror

_ONLINE = frozenset({KeyRole.SNAPSHOT, KeyRole.TIMESTAMP})


def next_key(
    config: ServerConfig, database: Database, role: KeyRole, model: str | None
) -> tuple[PublicKey, int | None]:
    """Make the key of this server that shall be trusted next, and its epoch if it is the fleet's.

    Raises:
        InputError: a role whose keys people hold, or a delegation of no model.
    """
    if role is KeyRole.FLEET:
        epoch, public = fleet_key.prepare(config, database)
        return public, epoch
    repository = Repository.open(config.repository, config.keys)
    if role in _ONLINE:
        return repository.prepare_key(role), None
    if role is KeyRole.AUTO and model is not None:
        return repository.prepare_key(role_of(model)), None
    if role is KeyRole.AUTO:
        lacks = "a key for a delegation is one model's; name it"
        raise InputError(lacks, fields=[("#/model", lacks)])
    detail = f"the server makes no {role} key; people do: edgeops key make {role} DIR"
    raise InputError(detail, fields=[("#/role", detail)])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a change."""

    #: False = it was published before.
    published: bool
    #: Targets that are listed no longer.
    unlisted: tuple[str, ...]


def submit(config: ServerConfig, database: Database, data: bytes, *, submitted_by: str, now: datetime) -> Outcome:
    """Publish a change that enough people signed.

    Raises:
        InputError: it is no change, or not one that is made here.
        ConflictError: it lacks signatures, was made from another state than today's, names a key that is not here, or
            lists what a promotion gate refused and nobody overrode.
        ConfigError: it trusts a key of this server that is not here.
    """
    repository = Repository.open(config.repository, config.keys)
    try:
        change = decode_change(data)
        fleet_key.require_own(config, change)
        certificates.require_own(config, change)
        require_promotions(change)
        # The state that the file says it was made of is the word of whoever hands it in.
        said = describe(replace(change, base=repository.base()))
        listed = set(repository.listed())
        published = repository.submit(change, now)
    except (InputError, TrustError) as error:
        raise InputError(str(error), fields=[("#", str(error))]) from error
    if published:
        subject = f"root {change.root.signed.version}" if change.root is not None else "targets"
        with database.write() as connection:
            audit.append(connection, submitted_by, "key.change", subject, {"lines": list(said)[:100]}, now)
    fleet_key.follow(config, database, repository, now)
    mirror(config, database, changed_by=submitted_by, now=now)
    return Outcome(published, tuple(sorted(listed - set(repository.listed()))))
