"""Runs the broker as a child, mosquitto or the embedded one, and keeps its log in a file of bounded size.

What of it is kept decides `fleet_server.broker_log`.
The child writes into a pipe that never blocks it: what is not read in time is lost, which costs lines and no message.
It ends with this process, also when that is killed. It does not restart it.
"""

import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType

from edgeops import limits
from edgeops.errors import ConfigError, PlatformError
from edgeops.parent import end_with
from fleet_server.broker_log import LogFilter
from fleet_server.config import ServerConfig

_PIECE_BYTES = 64 * 1024


def run_broker(config: ServerConfig, mosquitto: Path | None) -> int:
    """Run it until it ends, or until SIGTERM or SIGINT ends it; its exit code. None = the embedded broker.

    Raises:
        ConfigError: the embedded broker shall speak TLS.
        PlatformError: it cannot be started.
    """
    if mosquitto is None and config.tls:
        raise ConfigError("the embedded broker speaks no TLS, on loopback only; name mosquitto with --mosquitto")
    command = [str(mosquitto), "-c", str(config.broker_conf)] if mosquitto else _embedded(config)
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stderr=write,
            preexec_fn=partial(_before_exec, os.getpid()),  # noqa: PLW1509 - bare system calls; the only way before exec
        )
    except OSError as error:
        raise PlatformError(f"cannot start {command[0]}: {error}") from error
    finally:
        os.close(write)

    def end(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    _keep_log(read, config)
    os.close(read)
    return child.wait()


def _embedded(config: ServerConfig) -> list[str]:
    place = (str(config.broker_conf), config.broker_host, str(config.broker_port), config.broker_user)
    return [sys.executable, "-m", "fleet_server.embedded.process", *place]


def _keep_log(read: int, config: ServerConfig) -> None:
    """Until the child has closed its end of the pipe."""
    kept = LogFilter(config.broker_user)
    path = config.broker_log
    log = path.open("ab", buffering=0)
    while data := os.read(read, _PIECE_BYTES):
        log.write(kept.take(data, now_s=time.monotonic()))
        if log.tell() > limits.BROKER_LOG_BYTES:
            log.close()
            path.replace(path.with_suffix(".previous.log"))
            log = path.open("ab", buffering=0)
    log.close()


def _before_exec(parent: int) -> None:
    """End with the parent; take as many connections as the system allows, not as the shell does."""
    end_with(parent)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
