"""Placing candidates anew when axes or quality have changed: over which ranges, and which of them."""

from __future__ import annotations

from qdfeedback import archives
from qdfeedback.learning.part import AxesPart, Moment, View
from qdfeedback.search import add, refresh
from qdfeedback.types import Floats, Placement


def ranges_of(axes: AxesPart, view: View, moment: Moment) -> Floats:
    """Returns (k, 2) ranges for the present measures.

    Args:
        axes: what has changed.
        view: the run.
        moment: "end" needs less room.

    Raises:
        ValueError: A measure is the same everywhere.
    """
    diversity, how = axes.diversity, axes.placing
    assert diversity is not None, "a part that has changed has measures"
    if how.ranges is not None:
        return how.ranges
    margin = how.end if moment == "end" and how.end is not None else how.margin
    if how.of == "elites" or (how.rows == "elites" and view.placement is not None):
        measures = diversity.project(view.features(axes.askable(view)))
        return archives.ranges(measures, quantile=0.0, margin=margin)
    measures = diversity.project(view.scored(view.sample()))
    return archives.ranges(measures, quantile=how.quantile, margin=margin)


def placed(axes: AxesPart, view: View, empty: Placement) -> Placement:
    """Returns a placement that was empty with candidates in it: every one of the history, or today's elites."""
    if axes.placing.rows == "history":
        refresh(view.history, empty, apart=view.apart)
        return empty
    ids = axes.askable(view)
    rows = {"id": ids, "features": view.features(ids)}
    if not empty.holds_ids:
        rows["solution"] = view.history.take(ids, "solution")
    add(empty, rows)
    return empty
