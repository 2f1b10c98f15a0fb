"""One parser under atheris, until its time is over or it breaks: `python -m tests.fuzz.target NAME [libFuzzer's options]`."""

import sys

import atheris

with atheris.instrument_imports(include=["edgeops", "device_agent", "fleet_server"]):
    from tests.fuzz.parser import check
    from tests.fuzz.table import PARSERS


def main() -> None:
    """What comes after the name is libFuzzer's; a file among it is tried once instead of fuzzing."""
    parser = PARSERS[sys.argv.pop(1)]
    parser.seeds()  # what they need is made before memory and time are watched
    atheris.Setup(sys.argv, lambda data: check(parser, data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
