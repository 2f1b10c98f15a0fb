"""The picture at the end of a demo: how right the fleet was, stretch by stretch, healed and not.

Drawn by matplotlib, as SVG and PNG.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeops.errors import PlatformError
from edgeops.local.circle import StageFigures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colour-blind safe (Okabe & Ito).
_STATIC, _BEFORE, _AFTER = "#999999", "#E69F00", "#0072B2"
_INCHES = (8.0, 4.2)
_DOTS_PER_INCH = 150


def draw(stages: Sequence[StageFigures], *, title: str, stem: Path) -> tuple[Path, Path]:
    """Write `<stem>.svg` and `<stem>.png`.

    Raises:
        PlatformError: matplotlib is not installed, or a file cannot be written.
    """
    try:
        figure = _empty_figure()
    except ModuleNotFoundError as error:
        raise PlatformError(
            f"the picture needs matplotlib ({error}); install it: pip install 'edgeops[demo]'"
        ) from error
    axes = figure.subplots()
    places = range(len(stages))
    lines: tuple[tuple[str, list[float | None], str], ...] = (
        ("never healed", [one.static for one in stages], _STATIC),
        ("before: as the change was met", [one.before for one in stages], _BEFORE),
        ("after: healed, as the devices published", [one.after for one in stages], _AFTER),
    )
    for label, values, colour in lines:
        shown = [float("nan") if value is None else 100 * value for value in values]
        axes.plot(places, shown, marker="o", color=colour, label=label, linewidth=2)
    for place, stage in zip(places, stages, strict=True):
        if stage.after is not None:
            note = f"{stage.labels} labels"
            axes.annotate(
                note, (place, 100 * stage.after), xytext=(0, 7), textcoords="offset points", ha="center", size=8
            )
    axes.set_xticks(list(places), [_name(stage.stage) for stage in stages])
    axes.set_ylim(min(40.0, *(100 * stage.static for stage in stages)) - 5, 106)
    axes.set_ylabel("right answers on held-out rows, %")
    axes.set_title(title)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(lines), frameon=False)
    paths = stem.with_suffix(".svg"), stem.with_suffix(".png")
    try:
        for path in paths:
            figure.savefig(path, dpi=_DOTS_PER_INCH)
    except OSError as error:
        raise PlatformError(
            f"cannot write the picture to {stem}: {error}; name another place with --picture"
        ) from error
    return paths


def _empty_figure() -> "Figure":
    """Imports matplotlib, for the last second of a demo only; what it caches goes with this process."""
    with tempfile.TemporaryDirectory(prefix="matplotlib-") as folder:
        os.environ.setdefault("MPLCONFIGDIR", folder)
        from matplotlib import font_manager  # noqa: F401, PLC0415 - it writes its cache when it is imported
        from matplotlib.figure import Figure  # noqa: PLC0415

        return Figure(figsize=_INCHES, layout="constrained")


def _name(stage: int | str) -> str:
    return f"batch {stage}" if isinstance(stage, int) else stage
