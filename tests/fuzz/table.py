"""All parsers of what comes from outside, by name."""

from tests.fuzz import disk, model_files, orders, packets, people, rows, signed, trusted, wire

PARSERS = {
    parser.name: parser
    for room in (wire, packets, trusted, signed, model_files, disk, rows, people, orders)
    for parser in room.PARSERS
}
