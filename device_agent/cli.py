"""`edgeops-agent`: enrol a device, run its agent, play files or feed rows to it, try an artifact.

Reads arguments and prints; what is printed on stdout is data, the rest goes to stderr. Exit codes: 0
ok, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 unreachable, 6 conflict.
"""

import argparse
import csv
import faulthandler
import json
import os
import platform
import re
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Event

import msgspec

from device_agent.config import (
    Deployment,
    MqttTarget,
    PredictionMode,
    Replay,
    StateFolder,
    read_deployment,
    read_device,
    write_deployment,
)
from edgeops import __version__, limits
from edgeops.artifact.manifest import InputWindow
from edgeops.errors import ConfigError, ConflictError, EdgeOpsError, NotFoundError, UnreachableError
from edgeops.exits import exit_code
from edgeops.threads import multiply_in_one_thread

_BENCH_INFERENCES = 10_000
#: Stands for the rate that a file plays at unless somebody says otherwise; no rate is 0.
_AS_RECORDED = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry of `edgeops-agent`; the process's exit code."""
    multiply_in_one_thread()
    options = parser().parse_args(arguments)
    act: Callable[[argparse.Namespace], int] = options.act
    try:
        return act(options)
    except EdgeOpsError as error:
        print(f"error: {error}", file=sys.stderr)
        return exit_code(error)
    except BrokenPipeError:
        # Whoever read our output has enough; leave nothing that Python would flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"error: {error}; check the path, its permissions and disk space", file=sys.stderr)
        return 1


# -- commands ---------------------------------------------------------------------------


def _enrol(options: argparse.Namespace) -> int:
    from device_agent.enrol import enrol  # noqa: PLC0415 - only this command needs HTTP

    token = options.token or _read_token(options.token_file)
    device = enrol(_state(options), options.url, token=token, name=options.name, fingerprint=options.ca_fingerprint)
    print(device.id)
    _say(f"enrolled as {device.id} ({device.name}); next: edgeops-agent --state {_state(options).path} run")
    return 0


def _read_token(file: str) -> str:
    """A token that no list of processes shows; `-` = from stdin.

    Raises:
        ConfigError: there is none.
    """
    try:
        with nullcontext(sys.stdin) if file == "-" else Path(file).open(encoding="utf-8") as source:
            token = source.read(limits.MAX_TOKEN_LENGTH + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the token from {file}: {error}") from error
    if not token or len(token) > limits.MAX_TOKEN_LENGTH:
        raise ConfigError(f"{file} holds no token; write the one line there that `edgeops devices token` printed")
    return token


def _repin(options: argparse.Namespace) -> int:
    from device_agent.lock import only_agent  # noqa: PLC0415
    from device_agent.repin import repin  # noqa: PLC0415

    state = _state(options)
    read_device(state)
    with only_agent(state.pid):
        version = repin(state, options.root, fingerprint=options.fingerprint)
    _say(f"from now on root {version} is trusted and its successors; next: edgeops-agent --state {state.path} run")
    return 0


def _run(options: argparse.Namespace) -> int:
    from device_agent.agent import Agent  # noqa: PLC0415 - loads the runtime
    from device_agent.events import log_to_stderr  # noqa: PLC0415
    from device_agent.lock import only_agent  # noqa: PLC0415

    log_to_stderr(verbose=options.verbose)
    if sys.__stderr__ is not None:
        # Runtimes are native code: what one does to the process shall be in the log.
        faulthandler.enable(sys.__stderr__)
    state = _state(options)
    device = read_device(state)
    agent: Agent | None = None
    stopping = Event()

    def stop(*_: object) -> None:
        stopping.set()
        if agent is not None:
            agent.stop()

    with only_agent(state.pid):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        while not stopping.is_set():
            agent = Agent(state, device, broker=options.broker, server=options.server)
            if stopping.is_set():  # told so while there was nobody to tell
                agent.stop()
            agent.run()
    return 0


def _replay(options: argparse.Namespace) -> int:
    state = _state(options)
    read_device(state)
    file = options.file.absolute()
    if not file.exists():
        raise NotFoundError(f"no such file or folder: {file}")
    name = options.deployment
    from device_agent.sources.recordings import recording_of, require_rate  # noqa: PLC0415 - loads numpy

    window = _window_in_charge(state, name)
    if window is not None:
        from device_agent.sources.replay import read_table  # noqa: PLC0415 - loads numpy

        read_table(file, window.measured, window)
        require_rate(file, window)
    rate_hz = options.rate
    if rate_hz == _AS_RECORDED:
        recording = recording_of(file, window)
        rate_hz = limits.REPLAY_RATE_HZ if recording is None else recording.rate_hz
    order = Replay(file=str(file), run=secrets.token_hex(8), loop=not options.once, rate_hz=rate_hz)
    write_deployment(state, name, msgspec.structs.replace(_choices(state, options), source=order))
    _tell(state, "reload", name)
    rate = f"{rate_hz:g} rows a second" if rate_hz else "as fast as the model answers"
    waiting = "" if window is not None else "; it waits for a model"
    _say(f"{name} replays {file}, {'once' if options.once else 'in a loop'}, {rate}{waiting}")
    return 0


def _feed(options: argparse.Namespace) -> int:
    from device_agent.control import ask  # noqa: PLC0415
    from device_agent.feeding import Lines, feed  # noqa: PLC0415 - only this command talks for long

    state, name = _state(options), options.deployment
    read_device(state)
    write_deployment(state, name, _choices(state, options))
    ask(state.socket, {"do": "reload", "deployment": name})
    lines = Lines(sys.stdin.fileno())
    header = None
    first_line = 1
    if options.format == "csv":
        header = options.columns
        if header is None:
            header = lines.header()
            first_line = 2
    try:
        fed = feed(state.socket, name, lines, header=header, first_line=first_line, say=_say)
    except KeyboardInterrupt:
        return 130
    refused = f", {fed.refused} lines were no rows" if fed.refused else ""
    _say(f"{name} took {fed.rows} rows{refused}")
    return 1 if fed.refused and not fed.rows else 0


def _stop(options: argparse.Namespace) -> int:
    state = _state(options)
    before = read_deployment(state, options.deployment)
    write_deployment(state, options.deployment, msgspec.structs.replace(before, source=None))
    _tell(state, "stop", options.deployment)
    _say(f"{options.deployment} has no source any more")
    return 0


def _mqtt(options: argparse.Namespace) -> int:
    state, name = _state(options), options.deployment
    read_device(state)
    target = None
    if options.broker is not None:
        host, port = options.broker
        if options.credentials is not None or options.ca is not None:
            _try_files(options.credentials, options.ca)
        target = MqttTarget(
            host=host,
            port=port,
            topic=options.topic or f"edgeops/{name}",
            qos=options.qos,
            credentials=None if options.credentials is None else str(options.credentials.absolute()),
            ca=None if options.ca is None else str(options.ca.absolute()),
            actuating=options.actuating,
            safe=options.safe,
        )
    write_deployment(state, name, msgspec.structs.replace(read_deployment(state, name), mqtt=target))
    _tell(state, "reload", name)
    _say(f"{name} publishes to no broker" if target is None else f"{name} publishes to {host}:{port}, {target.topic}")
    return 0


def _try_files(credentials: Path | None, ca: Path | None) -> None:
    """What the sink will read: a mistake in it is told now."""
    from device_agent.sinks.mqtt import believing, read_credentials  # noqa: PLC0415 - loads paho

    if credentials is not None:
        read_credentials(credentials)
    if ca is not None:
        believing(ca)


def _status(options: argparse.Namespace) -> int:
    from device_agent.control import ask  # noqa: PLC0415

    state = _state(options)
    device = read_device(state)
    status = ask(state.socket, {"do": "status"})
    if options.json:
        print(json.dumps(status))
        return 0
    contact = "connected" if status["connected"] else "not connected"
    print(
        f"{device.id} ({device.name}), {contact}, {status['pending_records']} records wait for the server, "
        f"root version {status['root_version']}"
    )
    for deployment in status["deployments"]:
        active = deployment["active"] or "no model"
        print(
            f"  {deployment['deployment']}: {active[:19]} {deployment['state']}, source {deployment['source']}, "
            f"{deployment['source_rows']} rows, {deployment['errors']} errors, p95 {deployment['latency_p95_us']} us"
        )
        for line in (deployment["hold"], deployment["detail"]):
            if line:
                print(f"    {line}")
        if deployment["instead_of"]:
            why = "fell: the agent died at its starts" if deployment["fallen"] else "is damaged or gone from this disk"
            print(f"    {deployment['instead_of'][:19]} was committed, and {why}")
    return 0


def _hold(options: argparse.Namespace) -> int:
    from device_agent.holds import read_holds, write_holds  # noqa: PLC0415
    from edgeops.update.leave import Hold  # noqa: PLC0415

    state, name = _state(options), options.deployment
    read_device(state)
    if name is not None:
        state.deployment(name)
    if len(options.reason) > limits.MAX_HOLD_REASON_LENGTH:
        raise ConfigError(f"a reason of {len(options.reason)} characters; give {limits.MAX_HOLD_REASON_LENGTH} at most")
    write_holds(state, read_holds(state).held(name, Hold(reason=options.reason)))
    _instruct(state)
    _say(f"no update of {name or 'this device'} begins until: edgeops-agent release{f' {name}' if name else ''}")
    return 0


def _release(options: argparse.Namespace) -> int:
    from device_agent.holds import read_holds, write_holds  # noqa: PLC0415

    state, name = _state(options), options.deployment
    read_device(state)
    holds = read_holds(state)
    if name is not None and name not in holds.deployments and holds.device is not None:
        raise ConflictError(f"the whole device is held ({holds.device.words}); release that: edgeops-agent release")
    write_holds(state, holds.released(name))
    _instruct(state)
    _say(f"updates of {name or 'this device'} may begin")
    return 0


def _label(options: argparse.Namespace) -> int:
    from device_agent.labels import parse_labels, read_labels, write_labels  # noqa: PLC0415

    state = _state(options)
    read_device(state)
    before = read_labels(state)
    unknown = [key for key in options.remove if key not in before]
    if unknown:
        raise NotFoundError(f"this device has no label {', '.join(unknown)}; it has {', '.join(before) or 'none'}")
    labels = {key: value for key, value in before.items() if key not in options.remove} | parse_labels(options.labels)
    if labels != before:
        write_labels(state, labels)
        _instruct(state)
    for key, value in sorted(labels.items()):
        print(f"{key}={value}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from device_agent.workbench import predict  # noqa: PLC0415 - loads the runtime

    return predict(options.artifact, options.file, as_json=options.json)


def _batch(options: argparse.Namespace) -> int:
    from device_agent.workbench import batch  # noqa: PLC0415 - loads the runtime

    return batch(options.artifact, options.file, labels=options.labels, output=options.output, as_json=options.json)


def _bench(options: argparse.Namespace) -> int:
    from device_agent.workbench import bench  # noqa: PLC0415 - loads the runtime

    return bench(options.artifact, inferences=options.inferences, as_json=options.json)


def _tuf(options: argparse.Namespace) -> int:
    # Another program: nothing of the agent's imports tuf.
    program = [sys.executable, "-P", "-m", "edgeops.trust.conformance", *options.arguments]
    os.execv(program[0], program)  # noqa: S606 - its arguments are ours, and no shell is wanted


# -- below -------------------------------------------------------------------------------


def _state(options: argparse.Namespace) -> StateFolder:
    return StateFolder.chosen(options.state, os.environ)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _choices(state: StateFolder, options: argparse.Namespace) -> Deployment:
    """What is configured, with what these options change."""
    before = read_deployment(state, options.deployment)
    return msgspec.structs.replace(
        before,
        predictions=options.predictions or before.predictions,
        jsonl=str(options.jsonl.absolute()) if options.jsonl is not None else before.jsonl,
        samples=options.samples if options.samples is not None else before.samples,
    )


def _tell(state: StateFolder, what: str, deployment: str) -> None:
    """A running agent looks at the configuration again; without one it waits on disk."""
    from device_agent.control import ask  # noqa: PLC0415

    try:
        ask(state.socket, {"do": what, "deployment": deployment})
    except UnreachableError:
        _say(f"no agent runs here; this takes effect with: edgeops-agent --state {state.path} run")


def _instruct(state: StateFolder) -> None:
    """A running agent looks at what concerns the whole device; without one it waits on disk."""
    from device_agent.control import ask  # noqa: PLC0415

    try:
        ask(state.socket, {"do": "instructed"})
    except UnreachableError:
        _say(f"no agent runs here; this takes effect with: edgeops-agent --state {state.path} run")


def _window_in_charge(state: StateFolder, deployment: str) -> InputWindow | None:
    """What the active model reads; None without one."""
    from device_agent.store.slots import Slots  # noqa: PLC0415
    from edgeops.artifact.package import open_artifact  # noqa: PLC0415

    folder = state.deployment(deployment)
    active = Slots(folder).active if folder.is_dir() else None
    return None if active is None else open_artifact(active.path).manifest.window


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or re.fullmatch("[0-9]{1,5}", port) is None or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT")
    return host, int(port)


def _names(text: str) -> list[str]:
    try:
        names = [name.strip() for name in next(csv.reader([text]), [])]
    except csv.Error:
        names = []
    if not names or not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} names no columns; separate them with commas")
    return names


def _rate(text: str) -> float | None:
    """Rows a second; None = as fast as the model answers."""
    if text == "max":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate; give rows per second, above 0, or max")
    return rate


def parser() -> argparse.ArgumentParser:
    """All commands and their options; docs/cli.md is made from it."""
    root = argparse.ArgumentParser(
        prog="edgeops-agent", description="Run models on this device, kept right by a fleet server."
    )
    root.add_argument(
        "--state", type=Path, metavar="DIR", help="default: $EDGEOPS_AGENT_STATE or ~/.local/state/edgeops-agent"
    )
    root.add_argument("--version", action="version", version=f"edgeops-agent {__version__}")
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("enrol", help="make this machine a device of a fleet")
    command.add_argument("url", metavar="URL", help="the fleet server, https://HOST:PORT (http on this machine)")
    token = command.add_mutually_exclusive_group(required=True)
    token.add_argument("--token", help="one-time token from the server; others on this machine see it meanwhile")
    token.add_argument("--token-file", metavar="FILE", help="where the token is read instead; - = stdin")
    command.add_argument(
        "--ca-fingerprint",
        metavar="sha256:HEX",
        default="",
        help="of the CA that signed the server's certificate; a token of a TLS server carries it",
    )
    command.add_argument(
        "--name", default=platform.node() or "device", help="what people call it; default: the host name"
    )
    command.set_defaults(act=_enrol)

    command = commands.add_parser("repin", help="trust a new root that the old one's keys did not sign")
    command.add_argument("root", type=Path, metavar="ROOT", help="the new root.json, from whoever holds its keys")
    command.add_argument("--fingerprint", required=True, metavar="sha256:HEX", help="of that file, told by them")
    command.set_defaults(act=_repin)

    command = commands.add_parser("run", help="work until stopped")
    command.add_argument("--broker", type=_address, metavar="HOST:PORT", help="the broker, if it moved since enrolment")
    command.add_argument("--server", metavar="URL", help="the fleet server, if it moved since enrolment")
    command.add_argument("--verbose", action="store_true", help="log more")
    command.set_defaults(act=_run)

    command = commands.add_parser("replay", help="play CSV, JSONL, npz or a folder of files to a deployment")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--deployment", required=True, metavar="NAME")
    command.add_argument("--once", action="store_true", help="stop after the last row; default: begin again, for ever")
    command.add_argument(
        "--rate",
        type=_rate,
        default=_AS_RECORDED,
        metavar="HZ",
        help="rows per second, or max: as fast as the model answers; default: as recordings were recorded, "
        f"rows at {limits.REPLAY_RATE_HZ:g}",
    )
    _add_choices(command)
    command.set_defaults(act=_replay)

    command = commands.add_parser("feed", help="pass rows from stdin to a deployment as they come, until stdin ends")
    command.add_argument("--deployment", required=True, metavar="NAME")
    command.add_argument(
        "--format", choices=("csv", "jsonl"), default="csv", help="CSV, or a JSON object a line; default: csv"
    )
    command.add_argument(
        "--columns", type=_names, metavar="A,B,...", help="what the cells of CSV are; default: the first line says it"
    )
    _add_choices(command)
    command.set_defaults(act=_feed)

    command = commands.add_parser("stop", help="take a deployment's source away")
    command.add_argument("--deployment", required=True, metavar="NAME")
    command.set_defaults(act=_stop)

    _add_mqtt_command(commands)

    _add_owner_commands(commands)

    command = commands.add_parser("status", help="what a running agent does")
    command.add_argument("--json", action="store_true")
    command.set_defaults(act=_status)

    _add_artifact_commands(commands)
    return root


def _add_mqtt_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("mqtt", help="publish a deployment's answers to a broker of your own")
    command.add_argument("--deployment", required=True, metavar="NAME")
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("--broker", type=_address, metavar="HOST:PORT")
    where.add_argument("--off", action="store_true", help="publish there no more")
    command.add_argument("--topic", help="default: edgeops/<deployment>")
    command.add_argument("--qos", type=int, choices=(0, 1, 2), default=1)
    command.add_argument(
        "--credentials", type=Path, metavar="FILE", help="the user in its first line, the password in the second"
    )
    command.add_argument(
        "--ca", type=Path, metavar="FILE", help="speak TLS; the CAs, in PEM, that may have signed its certificate"
    )
    command.add_argument(
        "--actuating",
        action="store_true",
        help="something moves by the answers: those of a model that is not committed never go there",
    )
    command.add_argument(
        "--safe", type=float, metavar="NUMBER", help="the answer while no model answers; default: null"
    )
    command.set_defaults(act=_mqtt)


def _add_owner_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What the owner has to say about the device as a whole."""
    command = commands.add_parser("hold", help="let no update begin here, whatever the server wants")
    command.add_argument("deployment", nargs="?", metavar="DEPLOYMENT", help="only of this one; default: of all")
    command.add_argument("--reason", default="", metavar="TEXT", help="told to the server and shown there")
    command.set_defaults(act=_hold)

    command = commands.add_parser("release", help="let updates begin again")
    command.add_argument("deployment", nargs="?", metavar="DEPLOYMENT", help="only of this one; default: all holds")
    command.set_defaults(act=_release)

    command = commands.add_parser("label", help="name this device for selectors of rollouts, or show its labels")
    command.add_argument("labels", nargs="*", metavar="KEY=VALUE", help="site=plant-1 says where it stands")
    command.add_argument("--remove", action="append", default=[], metavar="KEY")
    command.set_defaults(act=_label)


def _add_artifact_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What needs no agent."""
    command = commands.add_parser("predict", help="an artifact's answer to every row of a file, or picture of a folder")
    command.add_argument("artifact", type=Path, metavar="ARTIFACT")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.set_defaults(act=_predict)

    command = commands.add_parser("batch", help="judge an artifact on a file")
    command.add_argument("artifact", type=Path, metavar="ARTIFACT")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--labels", type=Path, metavar="CSV", help="columns id and label: print the accuracy")
    command.add_argument(
        "--output", type=Path, metavar="FILE", help="write all answers, as CSV or JSON lines by suffix"
    )
    command.add_argument("--json", action="store_true")
    command.set_defaults(act=_batch)

    command = commands.add_parser("bench", help="latency of an artifact here, bare and through the agent")
    command.add_argument("artifact", type=Path, metavar="ARTIFACT")
    command.add_argument("--inferences", type=int, default=_BENCH_INFERENCES, metavar="N")
    command.add_argument("--json", action="store_true")
    command.set_defaults(act=_bench)

    command = commands.add_parser(
        "tuf", help="the client of the public TUF conformance suite", add_help=False, prefix_chars="\0"
    )
    command.add_argument("arguments", nargs="*", metavar="ARGUMENT")
    command.set_defaults(act=_tuf)


def _add_choices(command: argparse.ArgumentParser) -> None:
    """What an owner chooses for a deployment whatever its source; not chosen stays as it was."""
    command.add_argument(
        "--predictions", type=PredictionMode, choices=tuple(PredictionMode), help="which answers are published"
    )
    command.add_argument("--jsonl", type=Path, metavar="FILE", help="answers also go to this file")
    command.add_argument(
        "--samples",
        action=argparse.BooleanOptionalAction,
        help="whether inputs may leave the device to be labelled; at first they may",
    )


if __name__ == "__main__":
    sys.exit(main())
