"""Pictures of archives, curves and learned maps; every function draws on the axes it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdfeedback.types import Floats, Ints

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from ribs.archives import ArchiveBase

INK = "#1f2933"
ACCENT = "#0b6e8a"
SECOND = "#c8553d"
EMPTY = "#dfe3e8"
MAP = "viridis"


def figure(columns: int, rows: int = 1, *, width: float = 5.0, height: float = 4.4) -> tuple[Figure, list[Axes]]:
    """Returns a figure of so many panels and its axes in reading order."""
    from matplotlib import pyplot as plt

    drawn, axes = plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), squeeze=False, layout="constrained"
    )
    return drawn, list(axes.ravel())


def save(drawn: Figure, path: Any) -> None:
    """Writes a figure and closes it."""
    from matplotlib import pyplot as plt

    drawn.savefig(path, dpi=110)
    plt.close(drawn)


def heatmap(
    ax: Axes,
    archive: ArchiveBase,
    *,
    title: str,
    axes: Sequence[str] = ("measure 1", "measure 2"),
    limits: tuple[float, float] | None = None,
) -> None:
    """Draws an archive of two measures, coloured by objective; one of more measures as a scatter of its first two.

    Args:
        ax: where.
        archive: a grid or CVT archive.
        title: says what it shows.
        axes: names of the measures.
        limits: objective at both ends of the colour scale; the archive's 2 % and 100 % quantiles where None.
    """
    from ribs.archives import CVTArchive
    from ribs.visualize import cvt_archive_heatmap, grid_archive_heatmap

    objective = archive.data("objective")
    if limits is None and len(objective):
        limits = (float(np.quantile(objective, 0.02)), float(objective.max()))
    low, high = limits or (0.0, 1.0)
    if archive.measure_dim == 2 and isinstance(archive, CVTArchive):
        cvt_archive_heatmap(archive, ax=ax, cmap=MAP, vmin=low, vmax=high, lw=0.1)
    elif archive.measure_dim == 2:
        grid_archive_heatmap(archive, ax=ax, cmap=MAP, vmin=low, vmax=high)
    else:
        places = archive.data("measures")
        dots = ax.scatter(places[:, 0], places[:, 1], c=objective, s=6, cmap=MAP, vmin=low, vmax=high)
        ax.figure.colorbar(dots, ax=ax)
    ax.set_title(title, color=INK, fontsize=11)
    ax.set_xlabel(axes[0])
    ax.set_ylabel(axes[1])


def collage(
    ax: Axes,
    places: Floats,
    image: Callable[[int], NDArray[np.uint8]],
    *,
    title: str,
    axes: Sequence[str] = ("measure 1", "measure 2"),
    side: int = 12,
) -> None:
    """Draws images where they lie on the map: in each of side × side squares the one nearest to its middle.

    Args:
        ax: where.
        places: (n, 2) measures.
        image: row → its image (h, w, 3); asked only for what is shown.
        title: says what it shows.
        axes: names of the measures.
        side: squares along each axis.
    """
    low, high = places.min(axis=0), places.max(axis=0)
    unit = (places - low) / np.where(high > low, high - low, 1) * side
    square = np.minimum(unit.astype(int), side - 1)
    away = np.square(unit - square - 0.5).sum(axis=1)
    size = (high - low) / side
    nearest: dict[tuple[int, int], int] = {}
    for i in np.argsort(-away):
        nearest[square[i, 0], square[i, 1]] = int(i)
    for (column, row), i in nearest.items():
        x, y = low + size * (column, row)
        ax.imshow(image(i), extent=(x, x + size[0], y, y + size[1]), interpolation="bilinear")
    ax.set_facecolor(EMPTY)  # pictures can be as white as the page
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    ax.set_aspect("auto")
    ax.set_title(title, color=INK, fontsize=11)
    ax.set_xlabel(axes[0])
    ax.set_ylabel(axes[1])


def curves(
    ax: Axes,
    rows: Sequence[Mapping[str, Any]],
    *,
    x: str,
    lines: Mapping[str, str],
    title: str,
    marks: Sequence[float] = (),
    thin: Mapping[str, str] | None = None,
) -> None:
    """Draws logged figures over the run.

    Args:
        ax: where.
        rows: what was logged, oldest first.
        x: the column along the bottom.
        lines: column → its label.
        title: says what it shows.
        marks: values of x at which something happened (a refit), drawn as thin lines.
        thin: like lines, drawn thin in the same colours.
    """
    for mark in marks:
        ax.axvline(mark, color=INK, alpha=0.15, lw=0.8)
    for which, width in ((thin or {}, 0.8), (lines, 1.8)):
        for (name, label), colour in zip(which.items(), (ACCENT, SECOND, "#6b8e23", "#7d5ba6"), strict=False):
            ax.plot([row[x] for row in rows], [row[name] for row in rows], label=label, color=colour, lw=width)
    ax.set_title(title, color=INK, fontsize=11)
    ax.set_xlabel(x)
    ax.grid(alpha=0.2)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9)


def own_curves(ax: Axes, rows: Sequence[Mapping[str, Any]], *, marks: Sequence[float] = ()) -> None:
    """Draws QD score and coverage of a run on its own axes.

    Where axes or quality were learned, the figures in the space at the end are drawn thick, and those on the axes of
    the moment, which jump at every refit, thin.

    Args:
        ax: where.
        rows: as `Loop.rows` gives them.
        marks: numbers of evaluations at which something was learned.
    """
    own = {"qd_score": "QD score", "coverage": "coverage in %"}
    if not rows or "qd_score_fixed" not in rows[0]:
        curves(ax, rows, x="evaluations", lines=own, title="On the archive's axes", marks=marks)
        return
    lines = {f"{name}_fixed": f"{label}, on the last axes" for name, label in own.items()}
    thin = {name: f"{label}, on those of the moment" for name, label in own.items()}
    curves(ax, rows, x="evaluations", lines=lines, title="On the archive's axes", marks=marks, thin=thin)


def learned_map(ax: Axes, places: Floats, *, colour: Floats | None = None, title: str) -> None:
    """Draws where items lie under a learned map.

    Args:
        ax: where.
        places: (n, k); the first two measures are drawn.
        colour: (n,) a value each.
        title: says what it shows.
    """
    second = places[:, 1] if places.shape[1] > 1 else np.zeros(len(places))
    shade: dict[str, Any] = {"color": ACCENT} if colour is None else {"c": colour, "cmap": MAP}
    ax.scatter(places[:, 0], second, s=22, alpha=0.85, **shade)
    if len(places) <= 150:
        for i, (x, y) in enumerate(zip(places[:, 0], second, strict=True)):
            ax.annotate(str(i), (x, y), xytext=(3, 2), textcoords="offset points", fontsize=6, color=INK)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_title(title, color=INK, fontsize=11)
    ax.set_xlabel("measure 1")
    ax.set_ylabel("measure 2")


def learning_curve(ax: Axes, counts: Ints, *, figures: Mapping[str, tuple[Floats, Floats, Floats]], title: str) -> None:
    """Draws accuracy over the number of judgments, with intervals.

    Args:
        ax: where.
        counts: (c,) numbers of judgments, on a logarithmic scale.
        figures: label → (value, low, high), each (c,).
        title: says what it shows.
    """
    for (label, (value, low, high)), colour in zip(figures.items(), (ACCENT, SECOND, "#6b8e23"), strict=False):
        ax.plot(counts, value, "o-", label=label, color=colour, lw=1.8, ms=4)
        ax.fill_between(counts, low, high, color=colour, alpha=0.15, lw=0)
    ax.set_xscale("log")
    ax.set_xticks(list(counts), [f"{count:,}" for count in counts])
    ax.minorticks_off()
    ax.set_xlabel("judgments")
    ax.set_ylabel("accuracy")
    ax.set_title(title, color=INK, fontsize=11)
    ax.grid(alpha=0.2)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9)


def cells(
    ax: Axes,
    archive: ArchiveBase,
    *,
    title: str,
    axes: Sequence[str],
    labels: Sequence[Sequence[str]],
    limits: tuple[float, float],
) -> None:
    """Draws an archive of one or two measures as a table of cells, coloured by objective and named along both sides.

    Args:
        ax: where.
        archive: a grid or categorical archive, whose `dims` say how many cells there are.
        title: says what it shows.
        axes: names of the measures.
        labels: for each measure, the names of its cells.
        limits: objective at both ends of the colour scale.
    """
    dims = tuple(int(count) for count in archive.dims)
    index, objective = archive.data(["index", "objective"], return_type="tuple")
    values = np.full(int(archive.cells), np.nan)
    values[index] = objective
    table = values.reshape(dims).T if len(dims) == 2 else values[None]
    drawn = ax.pcolormesh(table, cmap=MAP, vmin=limits[0], vmax=limits[1], edgecolors="white", linewidth=0.5)
    ax.figure.colorbar(drawn, ax=ax)
    ax.set_xticks(np.arange(dims[0]) + 0.5, labels[0], rotation=60, ha="right", fontsize=8)
    ax.set_yticks(np.arange(dims[1]) + 0.5 if len(dims) == 2 else [], labels[1] if len(dims) == 2 else [], fontsize=8)
    ax.set_title(title, color=INK, fontsize=11)
    ax.set_xlabel(axes[0])
    ax.set_ylabel(axes[1] if len(dims) == 2 else "")


def intervals(
    ax: Axes, rows: Sequence[tuple[float, tuple[float, float, float]]], *, label: str, colour: str, marker: str = "o"
) -> None:
    """Draws figures with their intervals, one above the other.

    Args:
        ax: where.
        rows: the height of each, and its value with both ends; NaN = it has none.
        label: in the legend.
        colour: of all.
        marker: of the values.
    """
    if rows:
        values = [value for _, (value, _, _) in rows]
        ends = np.nan_to_num([(value - low, high - value) for _, (value, low, high) in rows]).T
        places = [y for y, _ in rows]
        ax.errorbar(values, places, xerr=ends, fmt=marker, color=colour, label=label, capsize=3, alpha=0.8)


def rows_of_figures(ax: Axes, labels: Sequence[str], *, most: float, title: str) -> None:
    """Names the rows that `intervals` has drawn, the first one on top.

    Args:
        ax: where.
        labels: of the rows.
        most: the end of the axis.
        title: says what it shows.
    """
    ax.set_yticks(range(len(labels))[::-1], labels)
    ax.set_ylim(-0.6, len(labels) - 0.4)
    ax.set_xlim(0, most)
    ax.set_title(title, color=INK, fontsize=11)
    ax.grid(alpha=0.2)
    ax.spines[["top", "right"]].set_visible(False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=9, loc="best")
