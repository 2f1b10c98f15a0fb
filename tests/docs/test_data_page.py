"""docs/data.md: its file is inspected, and its rules refuse of it what it says."""

import gzip
import re
from pathlib import Path

from edgeops.cli.inspection import commented_rules
from edgeops.data.reasons import Reason
from edgeops.data.rules import read_rules
from edgeops.data.units import conversion
from fleet_server.datasets.importing import import_file
from fleet_server.datasets.inspecting import inspect_file

PAGE = (Path(__file__).resolve().parents[2] / "docs/data.md").read_text()
#: Enough good rows around those of the page.
MORE = 60


def example(kind: str) -> str:
    found = re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_rules_of_the_page_refuse_the_rows_that_it_says(tmp_path: Path) -> None:
    good = [f"g{1 + row % 4},2026-03-02T12:00:{row:02}Z,{68 + row / 10},auto,,{410 + row}" for row in range(MORE)]
    source = tmp_path / "rows.csv"
    source.write_text(example("csv") + "\n".join(good))
    refused = tmp_path / "refused"
    schema = import_file(
        source,
        read_rules(example("toml")),
        file_name=source.name,
        destination=tmp_path / "snapshot",
        quarantine=refused,
    )
    assert gzip.decompress(refused.read_bytes()).decode() == example("json")
    assert (schema.rows, schema.columns) == (MORE + 1, ("temperature", "hour-sin", "hour-cos"))


def test_an_inspection_says_of_the_file_what_the_page_does(tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text(example("csv"))
    told = commented_rules(inspect_file(source, file_name=source.name), file_name=source.name)
    assert told == example("text")
    read_rules(told)


def test_every_reason_has_a_row_in_the_table() -> None:
    assert re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE) == [reason.value for reason in Reason]


def test_every_unit_of_the_page_is_known() -> None:
    found = re.search(r"Units that are known: (.*?)\.\n\n", PAGE, re.DOTALL)
    assert found is not None
    for quantity in found[1].replace("\n", " ").split("; "):
        first, *others = quantity.split(", ")
        assert all(conversion(one, first).multiply > 0 for one in others)
