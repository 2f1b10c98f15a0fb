"""What this machine is: facts for compatibility.

Reads /proc; decides nothing.
"""

import platform
import resource
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from device_agent.hardware import board
from edgeops import __version__, limits
from edgeops.model.runtime import runtime_facts
from edgeops.protocol.messages import DeviceFacts


def device_facts(
    folder: Path, *, labels: Mapping[str, str] | None = None, sensors: Mapping[str, Sequence[str]] | None = None
) -> DeviceFacts:
    """What a model must fit on.

    Args:
        folder: where slots are kept.
        labels: what the owner calls the device by.
        sensors: by deployment, the columns that its source offers.
    """
    runtime, version = runtime_facts()
    return DeviceFacts(
        arch=platform.machine(),
        runtime=runtime,
        runtime_version=version,
        python=platform.python_version(),
        memory_bytes=_memory_bytes(),
        disk_free_bytes=shutil.disk_usage(folder).free,
        agent_version=__version__,
        os=_system(),
        labels=dict(labels or {}),
        sensors={name: tuple(columns) for name, columns in (sensors or {}).items() if _can_be_told(columns)},
        board=board(),
    )


def _can_be_told(columns: Sequence[str]) -> bool:
    """What does not fit into a report is left out, and counts as not known."""
    return len(columns) <= limits.MAX_SENSORS and all(len(name) <= limits.MAX_FACT_LENGTH for name in columns)


@cache
def _system() -> str:
    """As os-release(5) names it; what changes it restarts the machine."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system().lower()
    return f"{release['ID']} {release.get('VERSION_ID', '')}".strip()[: limits.MAX_FACT_LENGTH]


def resident_bytes() -> int:
    """Memory of this process that is in RAM now (proc(5), statm)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def _memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0
