"""What of one batch is put aside: counted whole, kept in part."""

from edgeops import limits
from fleet_server.db.ingest import QuarantineRow
from fleet_server.link.entries import SetAside, TelemetryEntry
from fleet_server.link.keyring import Refusal, Refused


class Aside:
    """Adds to `entries` what the quarantine keeps."""

    def __init__(self, entries: list[TelemetryEntry]) -> None:
        #: How many messages and records were put aside, and the first one's detail, by device and reason.
        self.refusals: dict[tuple[str, Refusal], tuple[int, str]] = {}
        self._entries = entries

    def put(self, refused: Refused, payload: bytes | None = None) -> None:
        """Put a message aside, or only `payload` of it."""
        delivery = refused.delivery
        row = QuarantineRow(
            at=delivery.received_at,
            device_id=refused.device_id,
            topic=delivery.topic,
            reason=refused.reason,
            detail=refused.detail[: limits.MAX_DETAIL_LENGTH],
            payload=(delivery.payload if payload is None else payload)[: limits.QUARANTINE_BYTES],
        )
        count, detail = self.refusals.get((refused.device_id, refused.reason), (0, refused.detail))
        if count < limits.QUARANTINE_PER_BATCH:
            # The rest is counted: a flood of one device is no flood of rows.
            self._entries.append(SetAside(row))
        self.refusals[refused.device_id, refused.reason] = count + 1, detail
