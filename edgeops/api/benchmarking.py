"""What a client asks of benchmarks."""

from collections.abc import Callable
from datetime import timedelta

from edgeops import limits
from edgeops.api import shapes
from edgeops.api.waiting import wait
from edgeops.api.wire import Wire, segment


class BenchmarkCalls:
    """`client.benchmarks`: errors as `edgeops.api.client.Client` names them."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def ask(
        self, model: str, version: int, *, variant: str, device: str, deployment: str | None = None
    ) -> shapes.Benchmark:
        """Have a device try a published artifact, now or when it comes online; it installs nothing."""
        body = {"model": model, "version": version, "variant": variant, "device": device, "deployment": deployment}
        return self._wire.post("/benchmarks", shapes.Benchmark, body)

    def get(self, benchmark_id: str) -> shapes.Benchmark:
        """One benchmark: how it stands, or what came of it."""
        return self._wire.get(f"/benchmarks/{segment(benchmark_id)}", shapes.Benchmark)

    def wait(
        self,
        benchmark_id: str,
        *,
        on_change: Callable[[shapes.Benchmark], object] | None = None,
        timeout: timedelta = limits.BENCHMARK_LIFE,
    ) -> shapes.Benchmark:
        """Ask until the device has answered or its time is over; `on_change` sees every change.

        Raises:
            WaitTimeoutError: neither came in `timeout`; it goes on by itself.
        """
        return wait(
            lambda: self.get(benchmark_id),
            has_ended=lambda one: one.ended_at is not None,
            on_change=on_change,
            timeout=timeout,
            overdue=lambda one: (
                f"benchmark {benchmark_id} has no answer of {one.device_id} after {timeout}; it goes on, look again:"
                f" edgeops model show {one.model}@{one.version}"
            ),
        )
