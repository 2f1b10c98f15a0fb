"""A snapshot without a group: what is left, where it is, and when nothing can be learnt from it."""

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgeops.data.rules import BadRows, Rules
from edgeops.errors import DatasetError
from edgeops.learning.labels import LabelSource
from fleet_server.datasets.buying import Bought, extend
from fleet_server.datasets.forgetting import forget_group, without_group
from fleet_server.datasets.importing import import_file as import_to
from fleet_server.datasets.snapshot import IMPORTED, SnapshotFile, read_groups, read_snapshot
from tests.imported import import_file

PARENT = "sha256:" + "0" * 64
ROWS = [f"{row},{row % 7},{'ab'[row // 5 % 2]},g{1 + row % 5}" for row in range(100)]


def grouped(folder: Path, **rules: Any) -> SnapshotFile:
    file = folder / "rows.csv"
    file.write_text("\n".join(["n,x,label,who", *ROWS]))
    return import_file(file, file_name=file.name, **{"label": "label", "group": "who"} | rules)


def bought(sample: str, device: str, value: float) -> Bought:
    values = np.array([value, value], dtype="<f4").tobytes()
    return Bought(sample=sample, device=device, label="a", source=LabelSource.PERSON, values=values)


def test_the_rows_of_other_groups_stay_in_their_parts(tmp_path: Path) -> None:
    parent = grouped(tmp_path)
    left = without_group(parent, "g2")
    others = parent.rows.groups != parent.groups.index("g2")
    assert left.groups == ("g1", "g3", "g4", "g5")
    assert (left.rows.ids.tolist(), left.splits.tolist()) == (
        parent.rows.ids[others].tolist(),
        parent.splits[others].tolist(),
    )
    names = [f"g{1 + one % 5}" for one in left.rows.ids]
    assert [left.groups[place] for place in left.rows.groups] == names
    assert (left.schema.rows, sum(left.schema.class_rows), sum(left.schema.split_rows)) == (80, 80, 80)
    assert left.schema.groups == 4


def test_what_a_column_of_slices_names_can_be_forgotten_as_well(tmp_path: Path) -> None:
    file, destination = tmp_path / "rows.csv", tmp_path / "known"
    refused = "bad,1,a,g1,s2"
    file.write_text("\n".join(["n,x,label,who,site", *(f"{row},s{n % 3}" for n, row in enumerate(ROWS)), refused]))
    rules = Rules(label="label", group="who", slices=("site",), bad_rows=BadRows.QUARANTINE)
    import_to(file, rules, file_name=file.name, destination=destination, quarantine=tmp_path / "refused.jsonl.gz")
    assert {"g1", "s1", "s2"} <= read_groups(destination)
    left = forget_group(destination, "s2", quarantine=tmp_path / "refused.jsonl.gz", folder=tmp_path)
    known, rest = (read_snapshot(path) for path in (destination, tmp_path / "snapshot.npz"))
    kept = known.rows.slices[:, 0] != known.slices[0].index("s2")
    assert rest.slices == (("s0", "s1"),)
    assert rest.rows.ids.tolist() == known.rows.ids[kept].tolist()
    names = [rest.slices[0][place] for place in rest.rows.slices[:, 0]]
    assert names == [f"s{one % 3}" for one in rest.rows.ids]
    assert (left.refused, known.schema.refused) == ({}, {"not-a-number": 1})


def test_bought_rows_of_a_device_are_left_out_and_the_rest_is_told_where_it_came_from(tmp_path: Path) -> None:
    parent = extend(
        grouped(tmp_path),
        [bought(f"s{one}", device, float(one)) for one, device in enumerate(["dev-1", "dev-2", "dev-1", "dev-3"])],
        parent_digest=PARENT,
    )
    left = without_group(parent, "dev-1")
    assert left.schema.devices == ("dev-2", "dev-3")
    assert (left.schema.bought_rows, left.schema.fresh_rows, left.schema.without) == (2, 2, ("dev-1",))
    rows = left.rows.only(left.rows.origins != IMPORTED)
    told = [(left.purchases[-1 - one].device, left.purchases[-1 - one].sample) for one in rows.ids]
    assert told == [("dev-2", "s1"), ("dev-3", "s3")]
    assert [left.schema.devices[place] for place in rows.origins] == ["dev-2", "dev-3"]
    assert rows.values[:, 0].tolist() == [1.0, 3.0]


def test_what_descends_from_it_buys_nothing_more_from_the_device(tmp_path: Path) -> None:
    parent = extend(grouped(tmp_path), [bought("s0", "dev-1", 0.0)], parent_digest=PARENT)
    left = without_group(parent, "dev-1")
    child = extend(left, [bought("s0", "dev-1", 0.0), bought("s1", "dev-2", 1.0)], parent_digest=PARENT)
    assert [one.device for one in child.purchases] == ["dev-2"]


def test_no_name_of_the_group_is_left_in_the_file(tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    odd = ["oops,1,a,g2", "oops,1,a,g3", "1,2,a,g2,more", "1,2,a,g3,more"]
    source.write_text("\n".join(["n,x,label,who", *ROWS, *odd]))
    rules = msgspec.convert({"label": "label", "group": "who", "bad_rows": "quarantine"}, Rules)
    refused = tmp_path / "refused"
    import_to(source, rules, file_name="rows.csv", destination=tmp_path / "parent", quarantine=refused)
    folder = tmp_path / "made"
    folder.mkdir()
    schema = forget_group(tmp_path / "parent", "g2", quarantine=refused, folder=folder)
    assert read_groups(folder / "snapshot.npz") == {"g1", "g3", "g4", "g5"}
    assert b"g2" not in (folder / "snapshot.npz").read_bytes()
    kept = [json.loads(line) for line in gzip.decompress((folder / "refused.jsonl.gz").read_bytes()).splitlines()]
    assert [one["row"] if isinstance(one["row"], str) else one["row"]["who"] for one in kept] == ["g3", "1,2,a,g3,more"]
    assert {reason.value: rows for reason, rows in schema.refused.items()} == {"malformed": 1, "not-a-number": 1}
    assert read_snapshot(folder / "snapshot.npz").schema == schema


def test_the_last_group_that_judges_cannot_be_forgotten(tmp_path: Path) -> None:
    parent = grouped(tmp_path, split="group", held_out=("g5",))
    with pytest.raises(DatasetError, match="without 'g5' no row is left that judges"):
        without_group(parent, "g5")


def test_the_only_group_of_a_class_cannot_be_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    rows = [f"{row % 11},{'b' if row % 3 == 0 else 'a'},{'odd' if row % 3 == 0 else 'even'}" for row in range(90)]
    file.write_text("\n".join(["x,label,who", *rows]))
    parent = import_file(file, file_name=file.name, label="label", group="who")
    with pytest.raises(DatasetError, match="without 'odd' no training row is of class 'b'"):
        without_group(parent, "odd")
