"""`edgeops-server`: the processes of a server, and what its owner does on the machine itself.

Parses arguments, turns errors into one line and an exit code, and hands over. A process imports only what
it needs, so each command does its own imports.
"""

# ruff: noqa: PLC0415 - see above
# ruff: noqa: T201 - the CLI prints

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import edgeops
from edgeops.api.shapes import Role
from edgeops.errors import ConfigError, EdgeOpsError, InputError
from fleet_server.config import DEFAULT_API_PORT, DEFAULT_BROKER_PORT, ServerConfig

_FAILED, _USAGE = 1, 2
_MAX_TOKENS = 1000

_Command = Callable[[ServerConfig, argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 ok, 1 failed, 2 usage."""
    options = _parser().parse_args(arguments)
    try:
        config = ServerConfig(options.data, api_port=options.api_port, broker_port=options.broker_port)
        if options.needs_data and not config.admin_token.exists():
            raise ConfigError(
                f"{config.data} is no data folder of a server; run `edgeops-server init --data ...` first"
            )
        options.run(config, options)
    except EdgeOpsError as error:
        print(f"edgeops-server {options.command}: {error}", file=sys.stderr)
        return _USAGE if isinstance(error, InputError) else _FAILED
    except KeyboardInterrupt:
        return 0
    return 0


def _init(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.setup import init

    init(config, now=datetime.now(UTC), starter=options.starter)
    print(f"{config.data} is ready; all keys lie in {config.keys}, the admin's token is {config.admin_token}")


def _api(config: ServerConfig, _options: argparse.Namespace) -> None:
    from fleet_server.app import serve

    _log_to_stderr()
    serve(config)


def _broker(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.broker_process import run_broker

    sys.exit(run_broker(config, options.mosquitto))


def _link(config: ServerConfig, _options: argparse.Namespace) -> None:
    from fleet_server.link.allowance import Share
    from fleet_server.link.run import run_link

    _log_to_stderr()
    run_link(config, share=Share.of(os.environ))


def _jobs(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.jobs import run_jobs

    _log_to_stderr()
    run_jobs(config, warm=options.warm)


def _token(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.access import OWNER, Access
    from fleet_server.db.database import Database

    access = Access(Database.in_folder(config.db))
    made = access.create_token(options.name, Role(options.role), created_by=OWNER, now=datetime.now(UTC))
    print(made.text)


def _enrolment_token(config: ServerConfig, options: argparse.Namespace) -> None:
    from fleet_server.access import OWNER, Access
    from fleet_server.db.database import Database

    access = Access(Database.in_folder(config.db))
    for made in access.create_enrolment_tokens(options.count, created_by=OWNER, now=datetime.now(UTC)):
        print(made.text)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data", type=Path, default=_default_data(), help="the data folder (default: %(default)s)")
    shared.add_argument("--api-port", type=int, default=DEFAULT_API_PORT, help="of the API (default: %(default)s)")
    shared.add_argument(
        "--broker-port", type=int, default=DEFAULT_BROKER_PORT, help="of the broker (default: %(default)s)"
    )
    parser = argparse.ArgumentParser(prog="edgeops-server", description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=edgeops.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: _Command, what: str, *, needs_data: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, parents=[shared], help=what, description=what)
        added.set_defaults(run=run, needs_data=needs_data)
        return added

    init = command("init", _init, "make a data folder complete; harmless to repeat", needs_data=False)
    init.add_argument("--starter", action="store_true", help="add the model that comes with the package")
    command("api", _api, "answer HTTP requests")
    broker = command("broker", _broker, "run the private broker")
    broker.add_argument(
        "--mosquitto", type=Path, metavar="PROGRAM", help="the program to run (default: the embedded broker, amqtt)"
    )
    command("link", _link, "speak to devices through the broker")
    jobs = command("jobs", _jobs, "do queued work and run rollouts")
    jobs.add_argument("--warm", action="store_true", help="load the training libraries before the first job")
    token = command("token", _token, "print a new API token")
    token.add_argument("--role", choices=[str(role) for role in Role], required=True)
    token.add_argument("--name", required=True, help="whose token it is")
    enrolment = command("enrolment-token", _enrolment_token, "print one-time tokens, each for one device")
    enrolment.add_argument("--count", type=int, choices=range(1, _MAX_TOKENS + 1), default=1, metavar="N")
    return parser


def _default_data() -> Path:
    """`$EDGEOPS_DATA`, else the XDG data folder."""
    named = os.environ.get("EDGEOPS_DATA")
    if named:
        return Path(named)
    share = os.environ.get("XDG_DATA_HOME")
    return (Path(share) if share else Path.home() / ".local/share") / "edgeops"


if __name__ == "__main__":
    sys.exit(main())
