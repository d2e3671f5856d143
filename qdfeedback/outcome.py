"""What a run leaves in its folder for people: pictures, a table of its elites, the figures of its summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qdfeedback import metrics, viz
from qdfeedback.archives import clipped_share
from qdfeedback.csv_files import write_csv_records
from qdfeedback.loop import Loop
from qdfeedback.types import Elites, Floats

BEGINNING = 200  # characters of a text in a table


def describe(loop: Loop, *, known: Sequence[str] = ()) -> dict[str, Any]:
    """Draws `archive.png` and, of what can be seen, `elites.png`, writes `elites.csv`; returns the figures.

    Args:
        loop: a run at its end.
        known: columns that say what candidates really are: it is told how much of each the axes explain.
    """
    run, found, placement = loop.run, loop.elites(), loop.placement
    shown = run.show(loop.search, found.ids)
    own, places = metrics.score(placement.archive), found.measures
    true = _columns(loop, found, known)
    summary: dict[str, Any] = {
        "seed": loop.search.seed, "evaluations": len(run.history), "answers": loop.answers, "elites": len(found),
        "qd_score": own.qd_score, "coverage": own.coverage, "best": float(found.objective.max()),
        "judgment_accuracy": getattr(loop.axes, "accuracy", None),
        "clipped": clipped_share(placement.diversity.project(run.history.sample("features")), placement.archive),
        "failed": run.history.failed(),
    }  # fmt: skip
    if known:
        summary["linear_r2"] = {name: metrics.linear_r2(places, true[:, i]) for i, name in enumerate(known)}
    if loop.curves is not None:
        summary["seconds"] = round(loop.curves.seconds, 2)
    names = tuple(f"axis {i + 1}" for i in range(placement.diversity.dim))
    _draw(loop, found, names)
    pictures = {one: name for one, name in shown.items() if not name.endswith(".txt")}
    seen = np.array([int(one) in pictures for one in found.ids])
    if seen.any() and places.shape[1] > 1:
        figure, axes = viz.figure(1, width=8, height=8)
        ids = found.ids[seen]
        viz.collage(
            axes[0], places[seen, :2], lambda row: run.shown.pixels(pictures[int(ids[row])]),
            title="Elites by their place in the archive", axes=names[:2],
        )  # fmt: skip
        viz.save(figure, run.path / "elites.png")
    write_csv_records(
        run.path / "elites.csv",
        [
            {"id": int(one), "objective": float(found.objective[i])}
            | dict(zip(names, places[i].tolist(), strict=True))
            | dict(zip(known, true[i].tolist(), strict=True))
            | {"shown": _said(loop, shown.get(int(one), ""))}
            for i, one in enumerate(found.ids)
        ],
    )
    return summary


def _columns(loop: Loop, found: Elites, names: Sequence[str]) -> Floats:
    where = [loop.history.names.index(name) for name in names]
    return loop.history.take(found.ids, "features")[:, where]


def _said(loop: Loop, name: str) -> str:
    """Returns a text itself, of anything else its file."""
    return loop.run.shown.text(name)[:BEGINNING] if name.endswith(".txt") else name


def _draw(loop: Loop, found: Elites, names: Sequence[str]) -> None:
    figure, axes = viz.figure(2)
    if len(names) > 1:
        viz.heatmap(axes[0], loop.placement.archive, title="The archive", axes=names[:2])
    else:
        axes[0].scatter(found.measures[:, 0], found.objective, s=8, color=viz.ACCENT)
        axes[0].set(title="The archive", xlabel=names[0], ylabel="objective")
    viz.own_curves(axes[1], loop.rows(), marks=loop.refits())
    viz.save(figure, loop.run.path / "archive.png")
