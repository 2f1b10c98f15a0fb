"""All parsers of what comes from outside, by name."""

from tests.fuzz import disk, model_files, people, rows, trusted, wire

PARSERS = {parser.name: parser for room in (wire, trusted, model_files, disk, rows, people) for parser in room.PARSERS}
