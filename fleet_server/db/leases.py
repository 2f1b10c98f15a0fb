"""The store of leases: who is the only process of its kind at this database, and until when.

A lease that ended is anybody's. Each holder has a number of its own, higher than all before it: whoever writes names
it, and is refused when another holder has come since. This store knows no clock and starts no process;
`fleet_server.alone` does.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, text, update

from edgeops.errors import LeaseError
from fleet_server.db.tables import leases
from fleet_server.db.upsert import replacing


@dataclass(frozen=True, slots=True)
class Lease:
    """One holder's time."""

    name: str
    holder: str
    until: datetime
    #: Grows with each holder.
    token: int


def get(connection: Connection, name: str) -> Lease | None:
    """The last one of this name; it may have ended."""
    row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
    return None if row is None else Lease(row.name, row.holder, row.until, row.token)


def take(connection: Connection, name: str, *, holder: str, now: datetime, life: timedelta) -> Lease | None:
    """Become the holder; None while another one is. Call it inside a write transaction."""
    last = get(connection, name)
    if last is not None and now < last.until:
        return None
    lease = Lease(name, holder, now + life, 1 if last is None else last.token + 1)
    row = {"name": name, "holder": holder, "until": lease.until, "token": lease.token}
    connection.execute(replacing(connection, leases, row, key=("name",)), row)
    return lease


def renew(connection: Connection, lease: Lease, *, now: datetime, life: timedelta) -> None:
    """Hold it longer; also one that ended, if nobody took it.

    Raises:
        LeaseError: somebody did.
    """
    require(connection, lease)
    connection.execute(update(leases).where(leases.c.name == lease.name).values(until=now + life))


def give_back(connection: Connection, lease: Lease, *, now: datetime) -> None:
    """Let somebody else have it at once; nothing happens when somebody has it."""
    own = (leases.c.name == lease.name) & (leases.c.token == lease.token)
    connection.execute(update(leases).where(own).values(until=now))


def require(connection: Connection, lease: Lease) -> None:
    """Pass while nobody else took it, and let nobody take it before this transaction has ended.

    Raises:
        LeaseError: somebody did.
    """
    held = select(leases).where(leases.c.name == lease.name).with_for_update(read=True)
    row = connection.execute(held).one_or_none()
    if row is None or row.token != lease.token:
        taker = "nobody" if row is None else row.holder
        raise LeaseError(
            f"this process ({lease.holder}) is not the {lease.name} process any more, {taker} is; it ends, and waits "
            "for its turn when it is started again"
        )


def clock(connection: Connection) -> datetime:
    """What time it is for leases: the database's clock, which all who compete for one share."""
    query = select(func.floor(text("extract(epoch from clock_timestamp()) * 1000000")).cast(leases.c.until.type))
    moment = connection.execute(query).scalar_one()
    assert isinstance(moment, datetime)
    return moment
