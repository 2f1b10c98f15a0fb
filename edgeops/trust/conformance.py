"""The client protocol of the public TUF conformance suite, over the verification that devices run.

    edgeops-agent tuf --metadata-dir DIR init ROOT
    edgeops-agent tuf --metadata-dir DIR --metadata-url URL refresh
    edgeops-agent tuf --metadata-dir DIR --metadata-url URL --target-name PATH ... --target-base-url URL
                      --target-dir DIR download

Exit 0 or 1. It differs from the agent in where bytes come from (HTTP, as at enrolment) and in that it keeps targets
which are listed no more. https://github.com/theupdateframework/tuf-conformance, CLIENT-CLI.md.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from tuf.api import exceptions

from edgeops.digest import write_atomically
from edgeops.errors import ConfigError, TrustError
from edgeops.trust.fetching import HttpFetcher
from edgeops.trust.verification import Places, Verification, kind_of

#: Beside the metadata, which tuf renews in place.
_PINNED = "pinned"


def main(arguments: list[str] | None = None) -> int:
    """Run one command of the protocol; see the module's docstring."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "init":
            _init(options.metadata_dir, options.root)
        else:
            _download(options)
    except (exceptions.RepositoryError, exceptions.DownloadError, TrustError, ConfigError, OSError) as error:
        sys.stderr.write(f"{kind_of(error)}: {error}\n")
        return 1
    return 0


def _init(metadata: Path, root: Path) -> None:
    content = root.read_bytes()
    for folder in (metadata, metadata / _PINNED):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "root.json", content)


def _download(options: argparse.Namespace) -> None:
    """A refresh is a download of nothing."""
    verification = _verification(options)
    verification.refresh()
    for name in options.target_name:
        target = verification.find(name)
        if target is None:
            raise TrustError(f"current metadata does not list {name}")
        verification.file(target)


def _verification(options: argparse.Namespace) -> Verification:
    metadata: Path = options.metadata_dir
    places = Places(
        metadata,
        options.target_dir or metadata / "targets",
        (metadata / _PINNED / "root.json").read_bytes(),
        metadata_url=options.metadata_url,
        targets_url=options.target_base_url or "",
    )
    return Verification(places, HttpFetcher(options.metadata_url), now=datetime.now(UTC))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edgeops-agent tuf", description="TUF conformance client")
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-base-url")
    parser.add_argument("--target-dir", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    return parser


if __name__ == "__main__":
    sys.exit(main())
