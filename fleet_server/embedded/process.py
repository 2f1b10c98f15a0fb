"""The process of the embedded broker: listens, keeps its accounts as the file has them, ends on SIGTERM.

Started as `python -m fleet_server.embedded.process CONFIGURATION HOST PORT SERVER_USER`; the configuration's folder is
where accounts are read and the pid is written, and its name in the command line is how it is known again.
"""

import asyncio
import logging
import os
import signal
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator, Sequence
from pathlib import Path

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType

from edgeops import limits
from edgeops.digest import write_atomically
from fleet_server.embedded.guard import Guard
from fleet_server.wall_clock import utc_now

_LISTENER = "default"
_PLUGINS = "fleet_server.embedded.rules"
_SWEEP_S = 5.0


class _Subscriptions(dict[str, list[object]]):
    """amqtt walks through these while others come and go, which a plain dict does not allow."""

    def __iter__(self) -> Iterator[str]:
        return iter(list(super().__iter__()))

    def items(self) -> list[tuple[str, list[object]]]:  # type: ignore[override]
        return list(super().items())

    def sweep(self) -> None:
        """Forget the filters that nobody has any more; amqtt would keep one for every block that ever was."""
        for topic_filter, sessions in self.items():
            if not sessions:
                del self[topic_filter]


def main(arguments: Sequence[str]) -> None:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.CRITICAL)  # amqtt tells of every packet; what matters, the guard says
    configuration, host, port, server_user = arguments
    asyncio.run(_serve(Path(configuration), host, int(port), server_user))


async def _serve(configuration: Path, host: str, port: int, server_user: str) -> None:
    guard = Guard(server_user=server_user, packet_bytes=limits.MAX_PACKET_BYTES, say=_say)
    guard.set_accounts(_accounts(configuration))
    broker = Broker(
        BrokerConfig(
            listeners={_LISTENER: ListenerConfig(type=ListenerType.EXTERNAL)},
            plugins={f"{_PLUGINS}.Admitted": {}, f"{_PLUGINS}.Rules": {"server_user": server_user}},
        )
    )
    subscriptions = _Subscriptions()
    broker._subscriptions = subscriptions  # noqa: SLF001 - the version is pinned, and a test fails without it
    await broker.start()

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        connection = await guard.admit(reader, writer)
        if connection is None:
            return
        try:
            await broker.external_connected(connection.reading, connection.writing, _LISTENER)
        finally:
            guard.gone(connection)
            writer.close()

    server = await asyncio.start_server(connected, host, port)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, lambda: guard.set_accounts(_accounts(configuration)))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    write_atomically(configuration.parent / "pid", f"{os.getpid()}\n".encode())
    sweeping = loop.create_task(_sweep(subscriptions))
    await stopping.wait()
    sweeping.cancel()
    server.close()
    await broker.shutdown()


async def _sweep(subscriptions: _Subscriptions) -> None:
    while True:
        await asyncio.sleep(_SWEEP_S)
        subscriptions.sweep()


def _accounts(configuration: Path) -> dict[str, str]:
    lines = (configuration.parent / "passwd").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _say(line: str) -> None:
    print(f"{utc_now():%Y-%m-%dT%H:%M:%S+0000}: {line}", file=sys.stderr, flush=True)  # noqa: T201 - its log


if __name__ == "__main__":
    main(sys.argv[1:])
