"""What `edgeops rollout create --dry-run` shows: totals, waves, and every device with why it is in or left out."""

from collections.abc import Mapping
from typing import Any

from edgeops import limits
from edgeops.api.client import Client
from edgeops.api.shapes import Placement, RolloutPreview
from edgeops.cli.live import say
from edgeops.cli.output import print_facts, print_json, print_table
from edgeops.errors import InputError


def show_preview(client: Client, order: Mapping[str, Any], *, limit: int, as_json: bool) -> None:
    """Print what the order would do.

    Raises:
        InputError: nothing could begin; every reason was printed.
    """
    preview, devices = _read(client, order, limit)
    if as_json:
        print_json({**preview.model_dump(mode="json", exclude={"items", "next"}), "devices": devices})
    else:
        _print(preview, devices)
    if preview.problems:
        raise InputError("; ".join(f"{one.pointer}: {one.detail}" for one in preview.problems))


def _read(client: Client, order: Mapping[str, Any], limit: int) -> tuple[RolloutPreview, list[Placement]]:
    first = client.preview_rollout(order, limit=min(limit, limits.MAX_PAGE_SIZE))
    devices, cursor = list(first.items), first.next
    while cursor is not None and len(devices) < limit:
        part = client.preview_rollout(order, cursor=cursor, limit=min(limit - len(devices), limits.MAX_PAGE_SIZE))
        devices += part.items
        cursor = part.next
    return first, devices


def _print(preview: RolloutPreview, devices: list[Placement]) -> None:
    told = {standing: count for standing, count in preview.totals.items() if count}
    print_facts({"matched": preview.matched, "asked": preview.asked, **told})
    print_table(
        ("wave>", "devices>", "who"),
        [
            (
                one.position + 1,
                one.size,
                "control: held back until the last bake" if one.control else one.selector or None,
            )
            for one in preview.waves
        ],
        empty="no waves",
    )
    if len(preview.waves) == 1 and preview.asked >= limits.CONTROL_FROM_DEVICES:
        say("one wave asks all of them: there is no canary, and nobody is held back as control")
    print_table(
        ("device", "name", "wave>", "stands", "reason"),
        [
            (one.device_id, one.name, None if one.wave is None else one.wave + 1, one.standing, one.reason or None)
            for one in devices
        ],
        empty="no devices",
    )
    if len(devices) < preview.matched:
        say(f"{preview.matched - len(devices)} more devices; see them with --limit {preview.matched}")
    if preview.problems:
        say("nothing was started, and nothing would be without --dry-run")
    else:
        say("nothing was started; without --dry-run it is")
