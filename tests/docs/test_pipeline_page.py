"""docs/pipeline.md: its file is one."""

import re
from pathlib import Path

from edgeops.pipeline.document import read_pipeline
from edgeops.pipeline.steps import steps_of

PAGE = (Path(__file__).resolve().parents[2] / "docs/pipeline.md").read_text()


def test_the_file_of_the_page_can_be_used(tmp_path: Path) -> None:
    found = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "gas.csv").touch()
    (tmp_path / "gas.rules.toml").write_text('label = "ppm"\ntask = "regression"\n')
    (tmp_path / "edgeops.toml").write_text("\n".join(found))
    steps = [str(step) for step in steps_of(read_pipeline(tmp_path / "edgeops.toml"))]
    assert steps == ["import gas", "train gas-ppm", "publish gas-ppm", "train gas-small", "publish gas-small"]
