"""What an agent says of itself: the counters it reports, and the answer to `edgeops-agent status`.

It reads what others keep and changes nothing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from device_agent.feed import Feed
from device_agent.updates import Updates


@dataclass(frozen=True, slots=True)
class Deployed:
    """One deployment at work: what shall run, and what runs it."""

    updates: Updates
    feed: Feed


def counters(own: Mapping[str, int], deployments: Mapping[str, Deployed]) -> dict[str, int]:
    """Mishaps by stable name, those of all deployments together; what never happened is left out."""
    total = Counter(own)
    for deployed in deployments.values():
        feed, totals = deployed.feed, deployed.feed.core.totals
        total["inference.errors"] += totals.errors
        total["sink.errors"] += totals.sink_errors
        total["spool.errors"] += totals.spool_errors
        total["source.errors"] += feed.source_errors
        total["model.errors"] += feed.model_errors
        total["slot.damaged"] += deployed.updates.damaged
    return {name: count for name, count in sorted(total.items()) if count}


def deployment_status(name: str, deployed: Deployed) -> dict[str, Any]:
    """One deployment, for its owner."""
    feed, state = deployed.feed, deployed.updates.state()
    totals = feed.core.totals
    return {
        "deployment": name,
        "state": state.state,
        "active": state.active,
        "candidate": state.candidate,
        "previous": state.previous,
        "reason": state.reason,
        "detail": state.detail or totals.detail,
        "source": feed.source_state,
        "source_rows": feed.core.source_rows,
        "errors": totals.errors,
        "windows": totals.windows,
        "latency_p50_us": totals.latency_p50_us,
        "latency_p95_us": totals.latency_p95_us,
    }
