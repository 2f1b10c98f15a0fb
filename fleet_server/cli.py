"""`edgeops-server`: the processes of a server, and what its owner does on the machine itself.

Parses arguments, turns errors into one line and an exit code, and hands over. A process imports only what
it needs, so each command does its own imports.
"""

# ruff: noqa: PLC0415 - see above
# ruff: noqa: T201 - the CLI prints

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import edgeops
from edgeops import limits
from edgeops.api.roles import Role
from edgeops.errors import ConfigError, ConflictError, EdgeOpsError, InputError, NotFoundError
from edgeops.threads import multiply_in_one_thread
from edgeops.trust.transport import is_loopback
from fleet_server.config import DEFAULT_API_PORT, DEFAULT_BROKER_PORT, ServerConfig
from fleet_server.wall_clock import utc_now

_FAILED = 1
_CODES: tuple[tuple[type[EdgeOpsError], int], ...] = ((InputError, 2), (NotFoundError, 3), (ConflictError, 6))
#: What a shell says of a program that SIGINT ended.
_INTERRUPTED = 130
_MAX_TOKENS = 1000
_MAX_RATE = 10**12
#: Name, default and meaning of each.
_RATES = (
    ("block", limits.BLOCK_RATE_BYTES_PER_S, "artifact blocks over MQTT, each counted once"),
    ("range", limits.RANGE_RATE_BYTES_PER_S, "artifact ranges over HTTP, all devices together"),
    ("device", limits.BLOCK_RATE_BYTES_PER_S_PER_DEVICE, "artifacts to one device"),
)

_Command = Callable[[ServerConfig, argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 ok, 1 failed, 2 usage, 3 not found, 6 conflict, as of `edgeops`."""
    multiply_in_one_thread()
    options = _parser().parse_args(arguments)
    try:
        config = ServerConfig(
            options.data,
            api_host=options.listen,
            api_port=options.api_port,
            broker_host=options.listen,
            broker_port=options.broker_port,
            block_rate=options.block_rate,
            range_rate=options.range_rate,
            device_rate=options.device_rate,
            tls=options.tls or not is_loopback(options.listen),
            names=tuple(options.host),
            database=options.database or None,
        )
        if options.needs_data and not options.held:
            _require_data(config)
        options.run(config, options)
    except EdgeOpsError as error:
        print(f"edgeops-server {options.command}: {error}", file=sys.stderr)
        return next((code for kind, code in _CODES if isinstance(error, kind)), _FAILED)
    except KeyboardInterrupt:
        return _INTERRUPTED if options.command in ("backup", "restore") else 0
    return 0


def _init(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.setup import init

    init(config, now=utc_now(), starter=options.starter)
    print(f"{config.data} is ready; all keys lie in {config.keys}, the admin's token is {config.admin_token}")


def _api(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.app import serve

    _begin(config, options)
    _log_to_stderr()
    serve(config)


def _broker(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.broker_process import run_broker

    _begin(config, options)
    sys.exit(run_broker(config, options.mosquitto))


def _link(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.link.allowance import Share
    from fleet_server.link.run import run_link

    _begin(config, options)
    _log_to_stderr()
    run_link(config, share=Share.of(os.environ))


def _jobs(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.jobs import run_jobs

    _begin(config, options)
    _log_to_stderr()
    run_jobs(config, warm=options.warm)


def _token(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.access import Access
    from fleet_server.db.audit import OWNER
    from fleet_server.db.database import Database

    access = Access(Database.of(config))
    made = access.create_token(options.name, Role(options.role), created_by=OWNER, now=utc_now())
    print(made.text)


def _enrolment_token(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.access import Access
    from fleet_server.certificates import pinned
    from fleet_server.db.audit import OWNER
    from fleet_server.db.database import Database

    access = Access(Database.of(config))
    for made in access.create_enrolment_tokens(options.count, created_by=OWNER, now=utc_now()):
        print(pinned(config, made.text))


def _backup(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.backup import places, taking

    if options.keep and options.place.suffix == places.TAR:
        raise InputError(f"{options.place} holds one backup, so there is nothing to --keep; name a folder")
    taken = taking.take(config, options.place, with_online_keys=options.with_online_keys, now=utc_now(), say=_say)
    gone = taking.prune(options.place, keep=options.keep) if options.keep else []
    manifest = taken.manifest
    if options.json:
        facts = {"id": taken.id, "files": len(manifest.files), "bytes": manifest.size_bytes, "removed": gone}
        print(json.dumps(facts | {"devices": manifest.devices, "online_keys": manifest.online_keys}))
        return
    print(f"{taken.id}: {len(manifest.files)} files, {manifest.size_bytes} bytes, {manifest.devices} devices")
    for one in gone:
        _say(f"removed {one}")
    if manifest.online_keys:
        _say("the snapshot, timestamp, fleet and delegated keys are in it, readable: guard it like the server itself")
    else:
        _say("no private key is in it: to restore it, bring root.pem and targets.pem")
    if taken.offline_keys_here:
        _say(
            f"root.pem and targets.pem lie in {config.keys} and in no backup: without them nothing that was signed "
            "since can be undone; keep copies elsewhere: edgeops key move-offline DIR"
        )


def _restore(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.backup.restoring import Order, restore

    order = Order(
        place=options.place,
        target=config.data,
        backup_id=options.backup,
        offline_keys=tuple(options.keys),
        root_version=options.root_version,
        database=config.database,
    )
    restored = restore(order, utc_now(), say=_say)
    taken_at = f"{restored.manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC"
    if options.json:
        facts = {"id": restored.backup_id, "data": str(config.data), "taken_at": taken_at}
        print(json.dumps(facts | {"devices": restored.manifest.devices, "new_keys": restored.new_keys}))
        return
    print(f"{config.data} is the server of {taken_at}, with {restored.manifest.devices} devices")
    _say("the old server must not come back: end it, and let its address lead here")
    if not restored.new_keys:
        _say(
            "its keys are those of the old server; if anything was signed with the targets or root key since, devices "
            "refuse updates (rollback): restore again with --keys DIR"
        )
    if restored.new_authority:
        _say("its certificate authority is new: devices learn it by themselves, people's EDGEOPS_CA does not")
    _say(f"what was withdrawn or revoked since {taken_at} is back: models, devices, tokens; look at each of them")
    _say("devices that were enrolled since are unknown here and have to enrol again")
    if config.restored_recipes.is_dir():
        _say(f"recipes of your own are in {config.restored_recipes}: read them, for they are code, and name it recipes")
    _say("no model changes on any device until you roll one out")


def _accept_trail(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server import trail
    from fleet_server.db.database import Database

    print(trail.accept(config, Database.of(config), remark=options.remark, now=utc_now()))
    _say("accepted, and signed as it is now; a timestamp that was kept from before still says otherwise")


def _begin(config: ServerConfig, options: argparse.Namespace) -> None:
    """All is loaded; whoever holds this process makes the folder complete meanwhile."""
    if options.held:
        sys.stdin.buffer.read()
        _require_data(config)


def _require_data(config: ServerConfig) -> None:
    if not config.admin_token.exists():
        raise ConfigError(f"{config.data} is no data folder of a server; run `edgeops-server init --data ...` first")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data", type=Path, default=_default_data(), help="the data folder (default: %(default)s)")
    shared.add_argument("--api-port", type=int, default=DEFAULT_API_PORT, help="of the API (default: %(default)s)")
    shared.add_argument(
        "--broker-port", type=int, default=DEFAULT_BROKER_PORT, help="of the broker (default: %(default)s)"
    )
    for name, default, what in _RATES:
        shared.add_argument(
            f"--{name}-rate",
            # argparse reads a text default as it reads the command line, so a bad variable is told like a bad option.
            type=_rate,
            default=os.environ.get(f"EDGEOPS_{name.upper()}_RATE", str(default)),
            metavar="BYTES",
            help=f"bytes a second of {what}; EDGEOPS_{name.upper()}_RATE does the same (default: {default})",
        )
    shared.add_argument(
        "--listen",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="where API and broker listen; beyond loopback they speak TLS only (default: %(default)s)",
    )
    shared.add_argument(
        "--host",
        metavar="HOST",
        action="append",
        default=[],
        help="a host name or address under which devices reach this server; may be repeated",
    )
    shared.add_argument(
        "--database",
        metavar="URL",
        default=os.environ.get("EDGEOPS_DATABASE"),
        help="a PostgreSQL database for the tables, postgresql://USER@HOST/NAME; the password is in PGPASSFILE; "
        "EDGEOPS_DATABASE does the same (default: two files in the data folder)",
    )
    shared.add_argument("--tls", action="store_true", help="speak TLS on loopback too")
    parser = argparse.ArgumentParser(prog="edgeops-server", description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=edgeops.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: _Command, what: str, *, needs_data: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, parents=[shared], help=what, description=what)
        added.set_defaults(run=run, needs_data=needs_data, held=False)
        return added

    def process(name: str, run: _Command, what: str) -> argparse.ArgumentParser:
        added = command(name, run, what)
        added.add_argument(
            "--held", action="store_true", help="load what it needs, and begin when the standard input ends"
        )
        return added

    init = command("init", _init, "make a data folder complete; harmless to repeat", needs_data=False)
    init.add_argument("--starter", action="store_true", help="add the model that comes with the package")
    process("api", _api, "answer HTTP requests")
    broker = process("broker", _broker, "run the private broker")
    broker.add_argument(
        "--mosquitto", type=Path, metavar="PROGRAM", help="the program to run (default: the embedded broker, amqtt)"
    )
    process("link", _link, "speak to devices through the broker")
    jobs = process("jobs", _jobs, "do queued work and run rollouts")
    jobs.add_argument("--warm", action="store_true", help="load the training libraries before the first job")
    token = command("token", _token, "print a new API token")
    token.add_argument("--role", choices=[str(role) for role in Role], required=True)
    token.add_argument("--name", required=True, help="whose token it is")
    enrolment = command("enrolment-token", _enrolment_token, "print one-time tokens, each for one device")
    enrolment.add_argument("--count", type=int, choices=range(1, _MAX_TOKENS + 1), default=1, metavar="N")
    backup = command("backup", _backup, "copy what the server knows, while it runs")
    backup.add_argument("place", type=Path, metavar="PLACE", help="a folder of backups, or a .tar file")
    backup.add_argument("--with-online-keys", action="store_true", help="the private keys of the server itself, too")
    backup.add_argument("--keep", type=int, metavar="N", help="remove all but the newest N of the folder")
    backup.add_argument("--json", action="store_true", help="one JSON document")
    restore = command("restore", _restore, "make a data folder out of a backup", needs_data=False)
    restore.add_argument("place", type=Path, metavar="PLACE", help="what `backup` wrote")
    restore.add_argument("--backup", metavar="ID", help="which one of a folder (default: the newest)")
    restore.add_argument(
        "--keys", type=Path, action="append", default=[], metavar="DIR", help="where root.pem and targets.pem lie"
    )
    restore.add_argument(
        "--root-version",
        type=_version,
        default=0,
        metavar="N",
        help="with --keys, if the root changed since the backup: its version by `edgeops-agent status`",
    )
    restore.add_argument("--json", action="store_true", help="one JSON document")
    trail = command("accept-trail", _accept_trail, "sign an audit trail that lost what was signed of it")
    trail.add_argument("--remark", type=_remark, required=True, help="why; it becomes an entry of the trail")
    return parser


def _remark(text: str) -> str:
    if not 0 < len(text.strip()) <= limits.MAX_DETAIL_LENGTH:
        raise argparse.ArgumentTypeError(f"a remark has 1 to {limits.MAX_DETAIL_LENGTH} characters")
    return text.strip()


def _version(text: str) -> int:
    if not text.isdecimal() or int(text) > limits.MAX_ROOT_VERSION:
        raise argparse.ArgumentTypeError(f"{text!r} is no version of a root; the largest is {limits.MAX_ROOT_VERSION}")
    return int(text)


def _rate(text: str) -> int:
    if not text.isdecimal() or int(text) > _MAX_RATE:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes a second")
    return int(text)


def _default_data() -> Path:
    """`$EDGEOPS_DATA`, else the XDG data folder."""
    named = os.environ.get("EDGEOPS_DATA")
    if named:
        return Path(named)
    share = os.environ.get("XDG_DATA_HOME")
    return (Path(share) if share else Path.home() / ".local/share") / "edgeops"


if __name__ == "__main__":
    sys.exit(main())
