"""What this machine is: facts for compatibility.

Reads /proc; decides nothing.
"""

import platform
import resource
import shutil
from pathlib import Path

from edgeops.model.runtime import runtime_facts
from edgeops.protocol.messages import DeviceFacts


def device_facts(folder: Path) -> DeviceFacts:
    """What a model must fit on; `folder` is where slots are kept."""
    runtime, version = runtime_facts()
    return DeviceFacts(
        arch=platform.machine(),
        runtime=runtime,
        runtime_version=version,
        python=platform.python_version(),
        memory_bytes=_memory_bytes(),
        disk_free_bytes=shutil.disk_usage(folder).free,
    )


def resident_bytes() -> int:
    """Memory of this process that is in RAM now (proc(5), statm)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def _memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0
