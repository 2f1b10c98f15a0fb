"""Benchmarks: artifacts that devices tried without installing them."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from edgeops.api.shapes.shape import Answer, Id, Request
from edgeops.artifact.manifest import Variant


class BenchmarkRequest(Request):
    """Have a device try an artifact of a published version."""

    model: Id
    version: Annotated[int, Field(ge=1, le=999_999_999)]
    variant: Variant = Variant.INT8
    device: Id
    #: Whose source the model must fit as well; null = no matter.
    deployment: Id | None = None


class BenchmarkResult(Answer):
    """What the device measured."""

    #: `none`: it answers its golden vectors as it must, and was measured; else why it was not.
    reason: str
    arch: str
    runtime: str
    runtime_version: str
    board: str = ""
    #: Inferences of the golden inputs that the percentiles are of, one thread.
    inferences: int = 0
    latency_p50_us: int = 0
    latency_p95_us: int = 0
    latency_p99_us: int = 0
    #: Inferences that were measured again, because something else took the processor meanwhile.
    disturbed: int = 0
    #: Resident memory of the loaded model, beyond that of the runtime.
    memory_bytes: int = 0
    #: Of the processor, in thousandths of a degree, and whether it was held back; null = the device does not tell.
    millicelsius_before: int | None = None
    millicelsius_after: int | None = None
    throttled: bool | None = None


class Benchmark(Answer):
    """One artifact on one device."""

    id: str
    #: The rollout, or the name of the token, that asked first.
    asked_by: str
    run_id: str
    model: str
    version: int
    variant: str
    digest: str
    device_id: str
    deployment: str | None = None
    #: Architecture, runtime and board: a blessing counts for all devices of its class.
    device_class: str
    asked_at: AwareDatetime
    #: When the device was asked last; null = it has not been online since.
    repeated_at: AwareDatetime | None = None
    #: Until when it is asked for.
    ends_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    #: `blessed`, `refused`, or `inconclusive` where it could not be tried; null while nobody has answered.
    outcome: str | None = None
    #: Why, for people.
    detail: str = ""
    result: BenchmarkResult | None = None
