"""What a client asks of the audit trail."""

from collections.abc import Iterator

from edgeops import limits
from edgeops.api import shapes
from edgeops.api.wire import Wire


class AuditCalls:
    """`client.audit`: errors as `edgeops.api.client.Client` names them."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def entries(self) -> Iterator[shapes.AuditEntry]:
        """Decisions of people and policies, newest first."""
        return self._wire.pages("/audit", shapes.Page[shapes.AuditEntry], {"limit": limits.MAX_PAGE_SIZE})

    def export(self) -> Iterator[bytes]:
        """The whole trail as NDJSON, oldest first, in parts."""
        return self._wire.parts("/audit/export")

    def verify(self) -> shapes.AuditCheck:
        """What the server says of its own trail."""
        return self._wire.get("/audit/verify", shapes.AuditCheck)
