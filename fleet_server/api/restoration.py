"""Whether this server came out of a backup, for people who wonder why a device or a model is not what it was."""

from fastapi import APIRouter

from edgeops.api.shapes import Restoration, Restorations
from fleet_server.api.callers import VIEWER
from fleet_server.api.server import ServerOf
from fleet_server.db import backups

router = APIRouter(prefix="/restorations", tags=["server"], dependencies=[VIEWER])


@router.get("")
def list_restorations(server: ServerOf) -> Restorations:
    """The last time that this server was restored, if ever, and which devices have not spoken since."""
    with server.database.read() as connection:
        last = backups.last_restoration(connection)
        if last is None:
            return Restorations(restorations=())
        unheard = backups.unheard_since(connection, last.restored_at)
    shown = Restoration(
        backup=last.backup, taken_at=last.taken_at, restored_at=last.restored_at, unheard_devices=unheard
    )
    return Restorations(restorations=(shown,))
