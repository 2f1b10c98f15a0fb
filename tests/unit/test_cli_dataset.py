"""What `edgeops dataset` says before it asks a server."""

import pytest

from edgeops.cli.app import run

NOWHERE = ("--url", "http://127.0.0.1:9", "--token", "none")


@pytest.mark.parametrize(
    ("file", "options", "name"), [("a.csv", (), "a"), ("rows.csv", ("--name", "My rows"), "My rows")]
)
def test_what_is_no_name_of_a_dataset_is_refused_before_a_byte_is_sent(tmp_path, capsys, file, options, name):
    path = tmp_path / file
    path.write_text("x,y\n1,a\n")
    assert run(["dataset", "import", str(path), "--label", "y", *options, *NOWHERE]) == 1
    assert f"{name!r} is no name of a dataset: 3 to 63 of a-z, 0-9 and -" in capsys.readouterr().err
