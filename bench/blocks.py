"""Messages a block that an artifact of 4 MiB takes for a hundred devices, beside those for ten."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median
from typing import Any

from bench._blobs import MIB, fetched, site
from edgeops import limits
from tests.integration.fetch_rig import stock

SIZE = 4 * MIB
FEW, MANY = 10, 100
SPREAD_S = 60.0
SPREAD_RATE = MIB
BLOCKS = SIZE // limits.BLOCK_BYTES
#: Messages a block; a hundred on two slow cores with three other processes in them need 1.5.
BAR_AT_ONCE = 2.0
BAR_SPREAD, BAR_FAIR = 3.0, 1.5


def measure() -> dict[str, Any]:
    """PUBLISH messages below blob/, at once and spread over a minute."""
    (few, _), (many, taken) = _count(FEW), _count(MANY)
    spread_few, spread_many = _spread()
    at_once, spread, fair = many / BLOCKS, spread_many / spread_few, taken[-1] / median(taken)
    return {
        "name": "blocks",
        "value": round(at_once, 2),
        "unit": "messages a block",
        "baseline": round(few / BLOCKS, 2),
        "bar": f"<= {BAR_AT_ONCE:g}",
        "holds": at_once <= BAR_AT_ONCE and spread <= BAR_SPREAD and fair <= BAR_FAIR,
        "inside": (
            f"messages below blob/ as a subscriber counts them, a blob of {BLOCKS} blocks: {many} for {MANY} "
            f"devices that start at once, {few} for {FEW}; {spread_many} and {spread_few} ({spread:.2f} x, bar "
            f"{BAR_SPREAD:g}) when each starts at a moment of its own within {SPREAD_S:.0f} s and the server sends "
            f"{SPREAD_RATE // MIB} MiB/s; of the {MANY} at once the slowest took {taken[-1]:.1f} s, the median "
            f"{median(taken):.1f} s ({fair:.2f} x, bar {BAR_FAIR:g}); real mosquitto, link process and fetch machine, "
            "devices in two processes"
        ),
    }


def _count(devices: int) -> tuple[int, list[float]]:
    with site() as rig:
        descriptor, _ = stock(rig, SIZE)
        return fetched(rig, devices, descriptor)


def _spread() -> list[int]:
    """Messages for few and for many, side by side on two sites: the rate holds them up, not the cores."""
    with ExitStack() as sites, ThreadPoolExecutor() as side_by_side:
        runs = []
        for devices in (FEW, MANY):
            rig = sites.enter_context(site(block_rate=SPREAD_RATE))
            descriptor, _ = stock(rig, SIZE)
            runs.append(side_by_side.submit(fetched, rig, devices, descriptor, spread_s=SPREAD_S))
        return [run.result()[0] for run in runs]
