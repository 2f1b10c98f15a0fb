"""What an agent says of itself: the counters it reports, and the answer to `edgeops-agent status`.

It reads what others keep and changes nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from device_agent.deployments import Deployed


def counters(own: Mapping[str, int], deployments: Iterable[Deployed]) -> dict[str, int]:
    """Mishaps by stable name, those of all deployments together; what never happened is left out."""
    total = Counter(own)
    for deployed in deployments:
        feed, totals = deployed.feed, deployed.feed.core.totals
        total["inference.errors"] += totals.errors
        total["sink.errors"] += totals.sink_errors
        total["sink.dropped"] += feed.core.dropped
        total["source.errors"] += feed.source_errors
        total["source.refused-lines"] += feed.refused_lines
        total["source.disordered-rows"] += feed.core.disordered
        total["model.errors"] += feed.model_errors
        total["shadow.given-up"] += feed.shadows.given_up
        total["slot.damaged"] += deployed.updates.damaged
        total["worker.errors"] += deployed.worker.failures
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
        "shadow": None if feed.core.shadow is None else feed.core.shadow.charge.digest,
        "reason": state.reason,
        "detail": state.detail or totals.detail,
        "hold": state.hold,
        "instead_of": state.instead_of,
        "fallen": state.fallen,
        "source": feed.source_state,
        "source_rows": feed.core.source_rows,
        "errors": totals.errors,
        "windows": totals.windows,
        "latency_p50_us": totals.latency_p50_us,
        "latency_p95_us": totals.latency_p95_us,
    }
