"""`edgeops up`: a whole site on this machine, until Ctrl-C."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from edgeops.cli.live import say
from edgeops.local.endpoints import LOOPBACK, VARIABLE, default_data, keys_folder
from edgeops.local.listening import Listening
from edgeops.local.up import DEFAULT_AGENTS, MAX_AGENTS, Site
from edgeops.trust import custody


def up(
    data: Annotated[
        Path | None, typer.Option("--data", envvar=VARIABLE, help="Data folder.  [default: the XDG data folder]")
    ] = None,
    *,
    agents: Annotated[
        int, typer.Option(min=0, max=MAX_AGENTS, help="Agents to run beside the server.")
    ] = DEFAULT_AGENTS,
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where API and broker listen; beyond loopback with TLS only.")
    ] = LOOPBACK,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Name or address under which devices reach this machine; may be repeated."),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Speak TLS on loopback too.")] = False,
    starter: Annotated[
        bool, typer.Option("--starter/--no-starter", help="Let a fresh site begin with a model that reads digits.")
    ] = True,
) -> None:
    """Start server, broker and agents on this machine; Ctrl-C ends them all."""
    shall_end = end_on_signals()
    listening = Listening(address=listen, hosts=tuple(host or ()), forced_tls=tls)
    try:
        with Site(data or default_data(), agents=agents, starter=starter, listening=listening, say=say) as site:
            _print(site)
            if starter:
                _begin(site)
            site.watch(shall_end)
    except KeyboardInterrupt:
        pass
    say("ended")


def _print(site: Site) -> None:
    print(f"EdgeOps is up: {site.endpoints.url}  (data in {site.data}; Ctrl-C ends everything)")
    for agent in site.agents:
        print(f"  {agent.name}  {agent.device_id}  pid {agent.child.pid}  {agent.state}")
    print("a token:       edgeops token create NAME --role ROLE  (viewer, data-scientist, operator, approver, admin)")
    if custody.lie_together(keys_folder(site.data)):
        print(
            f"all keys, root and targets among them, lie in {keys_folder(site.data)}: who reads it can sign models; "
            "edgeops key move-offline DIR",
        )
    sys.stdout.flush()


def _begin(site: Site) -> None:
    from edgeops.local.starter import begin  # noqa: PLC0415 - it imports numpy, which no other command needs

    rollout = begin(site)
    if rollout is not None:
        print("the agents begin with the starter model; watch them: edgeops telemetry tail", flush=True)


def end_on_signals() -> Callable[[], bool]:
    """Let Ctrl-C and `kill` end a command with its children in order; after `kill -9` the kernel ends them.

    SIGINT is set too: a shell without job control starts background commands with it ignored (POSIX 2.11).

    Returns:
        Whether a signal has come. What it raises is lost when it falls into a destructor or a native module's first
        import; who stays for long asks this.
    """
    came: list[int] = []  # no event: its lock may be held by what the signal interrupts

    def interrupt(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise _Interrupted

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    return lambda: bool(came)


class _Interrupted(KeyboardInterrupt):
    """A KeyboardInterrupt of our own.

    One of Python's own class that passes through `exec`, which importing a dataclass runs, makes the interpreter end by
    SIGINT although it was caught (CPython, `run_eval_code_obj`).
    """
