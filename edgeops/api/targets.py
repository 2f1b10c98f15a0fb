"""Groups and pins through REST: `Client.groups`, `Client.pins`. Errors are those of `edgeops.api.client.Client`."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from edgeops.api import shapes
from edgeops.api.wire import Wire, segment


class Groups:
    """Devices under names."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def every(self) -> Iterator[shapes.Group]:
        """All groups, without their members."""
        return self._wire.pages("/groups", shapes.Page[shapes.Group])

    def get(self, name: str) -> shapes.Group:
        """One group, with the devices that are in it now."""
        return self._wire.get(f"/groups/{segment(name)}", shapes.Group)

    def put(
        self,
        name: str,
        *,
        selector: str | None = None,
        device_ids: Sequence[str] = (),
        edition: int | str | None = None,
    ) -> shapes.Group:
        """Make a group of those that a selector means or, without one, of a list.

        `edition` = only if it is still at this revision; NEW = only if there is none.
        """
        body = {"device_ids": list(device_ids)} if selector is None else {"selector": selector}
        return self._wire.ask("PUT", f"/groups/{segment(name)}", shapes.Group, edition=edition, json=body)

    def remove(self, name: str, *, edition: int | str | None = None) -> None:
        """Take a group away; `edition` as for `put`."""
        self._wire.send("DELETE", f"/groups/{segment(name)}", edition=edition)


class Pins:
    """Devices that stay on the model they have."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def every(self) -> Iterator[shapes.Pin]:
        """All pins."""
        return self._wire.pages("/pins", shapes.Page[shapes.Pin])

    def put(
        self,
        device_id: str,
        *,
        deployment: str | None = None,
        digest: str | None = None,
        reason: str = "",
        until: datetime | None = None,
        edition: int | str | None = None,
    ) -> shapes.Pin:
        """Keep a device, or one deployment of it, on an artifact; without a digest on what it runs.

        `edition` = only if the pin that is there is still this one; NEW = only if there is none.
        """
        body = {
            "deployment": deployment,
            "digest": digest,
            "reason": reason,
            "until": None if until is None else until.isoformat(),
        }
        return self._wire.ask("PUT", f"/devices/{segment(device_id)}/pin", shapes.Pin, edition=edition, json=body)

    def remove(self, device_id: str, *, deployment: str | None = None, edition: int | str | None = None) -> None:
        """Let rollouts have a device again; `edition` as of `put`."""
        path = f"/devices/{segment(device_id)}/pin"
        self._wire.send("DELETE", path, query={"deployment": deployment}, edition=edition)
