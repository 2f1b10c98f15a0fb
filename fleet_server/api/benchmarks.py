"""Benchmarks: artifacts that devices try without installing them."""

from fastapi import APIRouter

from edgeops.api.shapes import Benchmark, BenchmarkRequest, shape_of
from edgeops.errors import ConflictError, NotFoundError
from fleet_server import blessings, roster
from fleet_server.api.callers import VIEWER, Operator
from fleet_server.api.devices import require_deployment
from fleet_server.api.once import Act
from fleet_server.api.server import ServerOf
from fleet_server.db import audit, benchmarks
from fleet_server.rollout_plans import listed_artifact

router = APIRouter(prefix="/benchmarks", tags=["models"], route_class=Act)


@router.post("", status_code=201)
def ask_benchmark(server: ServerOf, caller: Operator, wanted: BenchmarkRequest) -> Benchmark:
    """Have a device try a published artifact, now or when it comes online; it installs nothing."""
    now = server.now()
    with server.database.write() as connection:
        artifact = listed_artifact(connection, wanted.model, wanted.version, wanted.variant)
        device = roster.known(connection, wanted.device)
        require_deployment(device, wanted.deployment)
        if device.quarantined:
            raise ConflictError(f"device {device.id} is in quarantine; release it: edgeops devices release {device.id}")
        asked = blessings.ask(
            connection, device.id, artifact.digest, deployment=wanted.deployment, asked_by=caller.name, now=now
        )
        data = {"device": device.id, "digest": artifact.digest, "deployment": wanted.deployment}
        audit.append(connection, caller.name, "benchmark.asked", asked.id, data, now)
    return shape_of(Benchmark, asked)


@router.get("/{benchmark_id}", dependencies=[VIEWER])
def read_benchmark(server: ServerOf, benchmark_id: str) -> Benchmark:
    """One benchmark: how it stands, or what came of it."""
    with server.database.read() as connection:
        found = benchmarks.get(connection, benchmark_id)
    if found is None:
        raise NotFoundError(f"no benchmark {benchmark_id[:80]!r}; a version names its own: edgeops model show MODEL@V")
    return shape_of(Benchmark, found)
