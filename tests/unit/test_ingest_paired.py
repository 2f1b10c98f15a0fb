"""What a device says of a shadow is taken in where it can have happened, and put aside with its window where not."""

from contextlib import nullcontext

import pytest

from edgeops.artifact.manifest import Task, Variant, encode_value
from edgeops.artifact.package import tflite_part
from edgeops.digest import digest_bytes, digest_raw
from edgeops.errors import MessageError
from edgeops.protocol import messages
from edgeops.protocol.topics import UpKind
from fleet_server.db import models
from fleet_server.db.database import Database
from fleet_server.db.migrate import upgrade
from fleet_server.link.catalog import Catalog
from fleet_server.link.entries import WindowStored
from fleet_server.link.records import check_paired
from tests.golden.tiny import tiny_artifact, tiny_descriptor
from tests.unit.loop_rows import add_retraining, enrol
from tests.unit.run_rows import add_run
from tests.unit.sketches import packed
from tests.unit.test_ingest_records import NOW, answer, ask, details, of, opened, read, sample, stored, window

OLD, NEW = tiny_artifact(version=1, channels=()), tiny_artifact(version=2, channels=())
SHADOW, CHARGE = digest_bytes(OLD), digest_bytes(NEW)
UNKNOWN = "sha256:" + "77" * 32
CELLS = (2, 1, 0, 0, 3, 0, 0, 0, 1)


@pytest.fixture
def database(tmp_path):
    database = Database.in_folder(tmp_path)
    upgrade(database)
    with database.write() as connection:
        enrol(connection, "cam-1", now=NOW)
        add_retraining(connection, "retrain-1", now=NOW)
        run = add_run(connection, "tiny", NOW)
        for version, data in enumerate((OLD, NEW), 1):
            models.add_version(connection, "tiny", version, task=Task.CLASSIFICATION, run_id=run, now=NOW)
            models.add_artifact(
                connection,
                models.Artifact(
                    digest=digest_bytes(data),
                    model="tiny",
                    version=version,
                    variant=Variant.INT8,
                    size_bytes=len(data),
                    tflite_bytes=len(tflite_part(data)),
                    target=f"models/tiny/{version}-int8.json",
                    descriptor=encode_value(tiny_descriptor(data)),
                    created_at=NOW,
                    published_at=None,
                    withdrawn_at=None,
                ),
            )
    yield database
    database.close()


def paired(**values) -> messages.Paired:
    fields = {"shadow": digest_raw(SHADOW), "rows": 7, "cells": CELLS}
    return messages.Paired(**(fields | values))


def beside(rows=10, **values) -> messages.Window:
    fields = {"digest": digest_raw(CHARGE), "sketch": b"", "paired": paired()}
    return window(rows, **(fields | values))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"rows": 10, "cells": (10,) + (0,) * 8},
        {"shadow_errors": 3},
        {"errors": 2, "shadow_errors": 1, "skipped": 1, "unmatched": 1},
        {"rows": 0, "cells": (0,) * 9, "skipped": 12},
    ],
)
def test_what_can_have_happened_is_taken_in(values):
    check_paired(beside(10, errors=2, paired=paired(**values)), 9)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"shadow": digest_raw(CHARGE)}, "its own shadow"),
        ({"shadow_errors": 4}, "7 pairs, 0 and 4 errors"),
        ({"rows": 11, "cells": (11,) + (0,) * 8}, "11 pairs"),
        ({"errors": 3}, "7 pairs, 3 and 0 errors"),
        ({"skipped": 6}, "13 inputs to be paired in a window of 10 rows and 2 errors"),
        ({"unmatched": 6}, "13 inputs to be paired"),
        ({"errors": 2, "shadow_errors": 2, "skipped": 1, "unmatched": 1}, "13 inputs to be paired"),
        ({"cells": (7, 0, 0, 0)}, "4 cells that count 7 pairs of 7"),
        ({"cells": ()}, "0 cells that count 0 pairs of 7"),
        ({"cells": (8,) + (0,) * 8}, "9 cells that count 8 pairs of 7"),
        ({"cells": (6,) + (0,) * 8}, "9 cells that count 6 pairs of 7"),
    ],
)
def test_what_cannot_have_happened_is_refused(values, reason):
    with pytest.raises(MessageError, match=reason):
        check_paired(beside(10, errors=2, paired=paired(**values)), 9)


@pytest.mark.parametrize(("cells", "fits"), [((), True), (CELLS, False)])
def test_two_models_whose_answers_cannot_be_compared_are_counted_in_no_cell(cells, fits):
    with nullcontext() if fits else pytest.raises(MessageError, match="counted in 0"):
        check_paired(beside(paired=paired(cells=cells)), 0)


def test_a_window_without_a_shadow_is_none_of_its_business():
    check_paired(beside(paired=None), 9)


def test_pairs_are_stored_with_their_window(database):
    reading = read(database, opened(beside(), kind=UpKind.TELEMETRY))
    assert details(reading) == []
    (entry,) = of(reading, WindowStored)
    assert messages.decode(entry.row["paired"], messages.Paired) == paired()


@pytest.mark.parametrize(
    "body",
    [
        beside(paired=paired(shadow=digest_raw(CHARGE))),
        beside(paired=paired(rows=9)),
        beside(paired=paired(cells=(2, 1, 4))),
    ],
)
def test_a_made_up_shadow_is_put_aside_with_its_window_alone(database, body):
    reading = read(database, opened(beside(), body, beside(), kind=UpKind.TELEMETRY))
    assert [entry.place.seq for entry in of(reading, WindowStored)] == [0, 2]
    assert len(details(reading)) == 1
    assert details(reading)[0].startswith("record 1: ")


@pytest.mark.parametrize(
    "window", [beside(paired=paired(shadow=digest_raw(UNKNOWN))), beside(digest=digest_raw(UNKNOWN))]
)
def test_of_a_window_beside_a_model_that_the_server_lost_only_the_pairs_are_dropped(database, window):
    reading = read(database, opened(window, kind=UpKind.TELEMETRY))
    assert details(reading) == []
    (entry,) = of(reading, WindowStored)
    assert (entry.row["rows"], entry.row["paired"]) == (window.rows, b"")


def test_a_window_with_pairs_and_an_impossible_sketch_is_put_aside_once(database):
    reading = read(database, opened(beside(9, sketch=packed(10)), kind=UpKind.TELEMETRY))
    assert len(details(reading)) == 1


def test_how_two_artifacts_are_counted_is_asked_of_the_database_once(database):
    catalog = Catalog(database)
    assert catalog.cells(UNKNOWN, CHARGE) is None
    assert catalog.cells(SHADOW, CHARGE) == 9
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM artifacts")
    assert catalog.cells(SHADOW, CHARGE) == 9


@pytest.mark.parametrize("shadow_answer", [None, 2.0])
def test_what_a_shadow_answered_to_a_sample_is_stored(database, shadow_answer):
    nomination = ask(database)
    read(database, opened(answer(nomination, sample("a", shadow_answer=shadow_answer))))
    assert [one.shadow_answer for one in stored(database, nomination)] == [shadow_answer]


@pytest.mark.parametrize("shadow_answer", [float("nan"), float("-inf")])
def test_a_sample_whose_shadow_answered_no_number_is_put_aside(database, shadow_answer):
    nomination = ask(database)
    reading = read(database, opened(answer(nomination, sample("a", shadow_answer=shadow_answer))))
    assert "not finite" in details(reading)[0]
    assert stored(database, nomination) == ()
