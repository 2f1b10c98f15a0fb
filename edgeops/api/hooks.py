"""What a client asks of webhooks."""

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from edgeops.api import shapes
from edgeops.api.wire import Wire


class WebhookCalls:
    """`client.webhooks`: errors as `edgeops.api.client.Client` names them."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def add(self, url: str, kinds: Sequence[str] = ()) -> shapes.Webhook:
        """Tell a receiver what happens from now on; no kinds = everything."""
        return self._wire.post("/webhooks", shapes.Webhook, {"url": url, "kinds": list(kinds)})

    def list(self) -> Iterator[shapes.Webhook]:
        """All receivers."""
        return self._wire.pages("/webhooks", shapes.Page[shapes.Webhook])

    def test(self, webhook_id: str) -> shapes.Delivery:
        """Put a message on its way that says nothing."""
        return self._wire.post(f"{_path(webhook_id)}/test", shapes.Delivery)

    def deliveries(self, webhook_id: str) -> Iterator[shapes.Delivery]:
        """What went to a receiver, newest first."""
        return self._wire.pages(f"{_path(webhook_id)}/deliveries", shapes.Page[shapes.Delivery])

    def remove(self, webhook_id: str) -> None:
        """Tell a receiver nothing more."""
        self._wire.send("DELETE", _path(webhook_id))


def _path(webhook_id: str) -> str:
    return f"/webhooks/{quote(webhook_id, safe='').replace('.', '%2E') or '-'}"
