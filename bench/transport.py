"""A 10 MB artifact to a hundred devices: blocks over MQTT beside ranges over HTTPS of the same server, in one run."""

import os
import shutil
from pathlib import Path
from statistics import median
from typing import Any

from bench._blobs import site
from tests.integration.fetch_rig import enrol, fetch_all, start_api, stock

SIZE = 10_000_000
DEVICES = 100
#: No bucket holds anybody back: what is compared are the ways.
FAST = {"block_rate": 10**9, "range_rate": 10**9, "device_rate": 10**9}
#: Ranges are the default above 5 MB for what they spare the server, so that is what is held.
BAR = 1.0


def measure() -> dict[str, Any]:
    """CPU seconds of the server and its broker for the same bytes, both ways."""
    with site(**FAST) as rig:
        url = start_api(rig, tls=True, **FAST)
        # Whom devices of this run believe: OpenSSL's way to say it.
        os.environ["SSL_CERT_FILE"] = str(rig.config.authorities)
        try:
            descriptor, _ = stock(rig, SIZE)
            server = {"broker": rig.broker.pid, "link": rig.link.pid, "api": rig.api.pid}
            sides = {}
            for way, server_url in (("ranges", url), ("blocks", None)):
                # New devices each time: the same ones in a second session of the same number would be clones.
                identities = enrol(rig, DEVICES, rig.folder / "keys")
                before = {name: _cpu_s(pid) for name, pid in server.items()}
                folder = rig.folder / way
                taken = fetch_all(
                    rig.config.broker_port, identities, descriptor, folder, server=server_url, seconds=300.0
                )
                shutil.rmtree(folder)
                spent = {name: _cpu_s(pid) - before[name] for name, pid in server.items()}
                sides[way] = (sorted(taken), spent)
        finally:
            del os.environ["SSL_CERT_FILE"]
            rig.api.terminate()
            rig.api.wait()
    ranges, blocks = (sum(sides[way][1].values()) for way in ("ranges", "blocks"))
    return {
        "name": "transport",
        "value": round(ranges, 2),
        "unit": "s CPU",
        "baseline": round(blocks, 2),
        "bar": f"<= {BAR:g} x blocks",
        "holds": ranges <= BAR * blocks,
        "inside": (
            f"CPU of broker, link and API while {DEVICES} devices that start at once each get a blob of "
            f"{SIZE / 1e6:g} MB, "
            + "; ".join(f"{way}: {_told(*side)}" for way, side in sides.items())
            + "; rates without bounds; ranges over TLS, blocks without, devices in two processes on the same cores"
        ),
    }


def _told(taken: list[float], spent: dict[str, float]) -> str:
    each = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.items())
    return f"all in {taken[-1]:.1f} s (median {median(taken):.1f} s), {each}"


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
