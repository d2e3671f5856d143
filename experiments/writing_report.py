"""What a run over texts leaves behind: figures along the way, the summary, a heat map, and the texts by cell."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from domains.writing import Writing, words_of
from experiments import writing_setup
from experiments.command import hint
from qdfeedback import files, metrics, viz
from qdfeedback.csv_files import write_csv
from qdfeedback.diversity.bins import Bins
from qdfeedback.encoders.attributes import Attribute
from qdfeedback.search import elites
from qdfeedback.types import Elites, Floats, Placement

if TYPE_CHECKING:
    from experiments.qdaif_writing import TextSearch


class Log:
    """Figures along the run, by the judge and, where it is known, by the truth."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._before = 0.0
        self.rows: list[dict[str, Any]] = []

    @property
    def seconds(self) -> float:
        """Time spent on the run, over all its sessions."""
        return self._before + time.perf_counter() - self._began

    def add(self, texts: TextSearch) -> dict[str, str]:
        """Takes figures; returns those for the progress bar."""
        qd_score, coverage = qd(texts.placement)
        totals = texts.ledger.totals(texts.run.settings["id"])
        tokens = totals.prompt_tokens + totals.completion_tokens
        self.rows.append(
            {
                "candidates": len(texts.history), "qd_score": qd_score, "coverage": coverage,
                "requests": totals.requests, "tokens": tokens, "paid": totals.paid, "seconds": round(self.seconds, 1),
            }
        )  # fmt: skip
        paid = {"paid": f"{totals.paid:.4g}"} if texts.ledger.prices else {}
        return {"QD": f"{qd_score:.1f}", "cells": f"{coverage:.0f}%", "tokens": f"{tokens / 1e6:.1f}M"} | paid

    def state(self) -> dict[str, Any]:
        """Returns what `restore` needs, as JSON."""
        return {"rows": self.rows, "seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.rows, self._before = state["rows"], state["seconds"]


def qd(placement: Placement) -> tuple[float, float]:
    """Returns the QD score, a sum over cells as in the paper, and the percentage of cells filled."""
    found = metrics.score(placement.archive)
    return found.qd_score * int(placement.archive.cells), found.coverage


def finish(texts: TextSearch, log: Log) -> dict[str, Any]:
    """Writes archive, curves, pictures, texts and summary; returns the summary."""
    run, args, placement = texts.run, texts.args, texts.placement
    run.history.flush(sync=True)
    run.save_archive(placement)
    run.save_curves(log.rows)
    found = elites(placement)
    run.show(texts.search, found.ids)
    qd_score, coverage = qd(placement)
    totals = texts.ledger.totals(run.settings["id"])
    summary: dict[str, Any] = {
        "domain": args.domain,
        "axes": [axis.name for axis in texts.writing.axes],
        "method": args.method,
        "begin": args.begin,
        "seed": args.seed[0],
        "candidates": len(texts.history),
        "cells": int(placement.archive.cells),
        "highest": texts.writing.highest,
        "elites": len(found),
        "qd_score": qd_score,
        "coverage": coverage,
        "best": float(found.objective.max()),
    }
    summary |= _by_truth(texts, found)
    summary |= {
        "failed": _reasons(texts),
        "unmeasured": _unmeasured(texts),
        "requests": totals.requests,
        "prompt_tokens": totals.prompt_tokens,
        "completion_tokens": totals.completion_tokens,
        "failed_requests": totals.failures,
        "failed_requests_for": texts.ledger.reasons(run.settings["id"]),
        "possibly_paid": totals.possibly_paid,
        "paid": totals.paid,
        "paid_at_most": totals.paid + totals.reserved,
        "seconds": round(log.seconds, 2),
    }
    _pictures(texts, log)
    write_texts(run.path, texts.writing, texts.bins, found)
    run.save_summary(summary)
    return summary


def _by_truth(texts: TextSearch, found: Elites) -> dict[str, Any]:
    """Returns the figures of all texts, and of the elites alone, where they really lie and as good as they really are.

    `judge_agreement` is how often the judge is on the right side, over answers and texts that have a clear truth;
    `true_ceiling` the QD score of the best text in each cell that a text can truly lie in.
    """
    truth = texts.writing.truth
    if truth is None:
        return {}
    columns, bins, history = writing_setup.truth_columns(texts.args), texts.bins, texts.history
    cells = int(texts.placement.archive.cells)

    def score(true: Floats) -> metrics.GridScore:
        return metrics.score_in(bins.ranges, bins.dims, true[:, 0], bins.project(true.astype(np.float32)))

    parts, said = [], []
    for part in history.chunks("solution", "features"):
        parts.append(truth([str(text) for text in part["solution"]])[:, columns])
        said.append(part["features"])
    true, features = np.concatenate(parts), np.concatenate(said)
    judged = np.isfinite(features).all(axis=1)
    readable = float(np.isfinite(true[judged]).all(axis=1).mean())
    if readable < READABLE:
        return {"readable": readable}
    everything = score(true[judged])
    archive = score(truth([str(text) for text in history.take(found.ids, "solution")])[:, columns])
    clear = judged[:, None] & (np.abs(true - 0.5) > 0.3)
    agrees = (true > 0.5) == (features > 0.5)
    return {
        "readable": readable,
        "true_qd_score_all": everything.qd_score * cells,
        "true_coverage_all": everything.coverage,
        "true_qd_score": archive.qd_score * cells,
        "true_coverage": archive.coverage,
        "true_ceiling": _ceiling(texts.writing, bins),
        "judge_agreement": float(agrees[clear].mean()) if clear.any() else None,
    }


def _ceiling(writing: Writing, bins: Bins) -> float:
    levels = expit(writing.grade * np.arange(-writing.levels, writing.levels + 1)).astype(np.float32)
    columns = np.zeros((len(levels), max(bins.indices) + 1), dtype=np.float32)
    columns[:, 1:] = levels[:, None]
    reached = np.minimum(bins.project(columns).astype(int), np.array(bins.dims) - 1)
    return float(np.prod([len(set(axis)) for axis in reached.T]) * expit(writing.best))


def _reasons(texts: TextSearch) -> dict[str, int]:
    """Returns how many candidates failed for which reason."""
    found = Counter(reason for part in texts.history.chunks("error") for reason in part["error"] if reason is not None)
    return dict(found.most_common())


def _unmeasured(texts: TextSearch) -> dict[str, int]:
    """Returns how often a judge gave no value, for which reason."""
    return {reason: count for reason, count in texts.encoder.reasons.most_common() if count}


def why_unmeasured(texts: TextSearch) -> str:
    """Returns the commonest reason for which judges gave no value, "" where they gave all."""
    found = list(_unmeasured(texts).items())
    return f"; the judge, {found[0][1]} times: {found[0][0]}" if found else ""


def closing_lines(path: Path, summary: dict[str, Any]) -> str:
    """Returns what a person wants to know at the end."""
    most = summary["cells"] * summary["highest"]
    true = (
        f", by the truth {summary['true_qd_score']:.1f} of {summary['true_ceiling']:.1f}"
        if "true_qd_score" in summary
        else ""
    )
    lost = sum(summary["failed"].values())
    why = f" ({next(iter(summary['failed']))} most of all)" if lost else ""
    why += hint(why)
    tokens = summary["prompt_tokens"] + summary["completion_tokens"]
    paid = f", {summary['paid']:.4g} paid" if summary["paid"] else ""
    return (
        f"\n{summary['method']}: {summary['elites']} of {summary['cells']} cells filled by {summary['candidates']:,} "
        f"texts, {lost} of them no candidates{why}.\n"
        f"QD score {summary['qd_score']:.1f} of {most:g} by the judge{true}.\n"
        f"{summary['requests']:,} model calls, {tokens / 1e6:.2f} million tokens{paid}, {summary['seconds']:.0f} s.\n"
        f"Read {path}/texts.html, look at {path}/archive.png; figures in {path}/summary.json"
    )


def one_line(summary: dict[str, Any]) -> str:
    """Returns one finished run in a line."""
    true = f", by truth {summary['true_qd_score']:.2f}" if "true_qd_score" in summary else ""
    return (
        f"{summary['domain']} {summary['method']} seed {summary['seed']}: QD score {summary['qd_score']:.2f}{true}, "
        f"coverage {summary['coverage']:.1f} %, {summary['seconds']:.0f} s"
    )


def cell_names(axis: Attribute, edges: Sequence[float]) -> list[str]:
    """Returns what each cell of an axis is called: categories, or the range of the first answer's probability."""
    if axis.kind == "category":
        return list(axis.answers)
    return [f"{low:g}-{high:g}" for low, high in pairwise(edges)]


def _pictures(texts: TextSearch, log: Log) -> None:
    figure, axes = viz.figure(2, width=5.6)
    writing = texts.writing
    names = [axis.name if axis.kind == "category" else f"{axis.name}: {axis.answers[0]}" for axis in writing.axes]
    labels = [cell_names(axis, edges) for axis, edges in zip(writing.axes, texts.bins.edges, strict=True)]
    viz.cells(
        axes[0], texts.placement.archive, title=f"The best {writing.what} of each cell", axes=names, labels=labels,
        limits=(0.0, writing.highest),
    )  # fmt: skip
    lines = {"qd_score": "QD score", "coverage": "cells filled, %"}
    viz.curves(axes[1], log.rows, x="candidates", lines=lines, title="Along the run, by the judge")
    viz.save(figure, texts.run.path / "archive.png")


READABLE = 0.9  # share of texts whose truth is known; of fewer it says nothing
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2933; margin: 2rem auto; max-width: 96rem; padding: 0 1rem }}
table {{ border-collapse: separate; border-spacing: 3px; table-layout: fixed; width: 100% }}
th {{ font-weight: 600; font-size: .8rem; vertical-align: bottom; text-align: left }}
tbody th {{ width: 7rem; vertical-align: top }}
td {{ background: #f1f4f6; vertical-align: top; border-radius: 4px; padding: 0 }}
details {{ padding: .35rem .5rem; border-radius: 4px }}
summary {{ cursor: pointer; list-style: none; font-size: .8rem; overflow-wrap: anywhere }}
summary b {{ display: block }}
p {{ margin: .4rem 0 0; white-space: pre-line }}
</style>
<h1>{title}</h1>
<p>{about}</p>
<div style="overflow-x: auto"><table><thead><tr><th></th>{head}</tr></thead><tbody>
{rows}
</tbody></table></div>
</html>
"""
BEGINNING = 60  # characters of a text that are seen before it is opened


def write_texts(path: Path, writing: Writing, bins: Bins, found: Elites) -> None:
    """Writes every elite with its cell and scores as `elites.csv`, and as a page to read, `texts.html`.

    The page is a table of cells, the first axis across and the second down; a cell opens to its text.
    """
    dims = bins.dims
    cells = np.minimum(found.measures.astype(int), np.array(dims) - 1)
    names = [cell_names(axis, edges) for axis, edges in zip(writing.axes, bins.edges, strict=True)]
    rows = []
    there: dict[tuple[int, ...], int] = {}
    for i in np.lexsort(cells.T[::-1]):
        cell = tuple(int(number) for number in cells[i])
        there[cell] = int(i)
        where = [of_axis[number] for of_axis, number in zip(names, cell, strict=True)]
        rows.append([int(found.ids[i]), *where, round(float(found.objective[i]), 4), str(found.solutions[i])])
    write_csv(path / "elites.csv", ["id", *(axis.name for axis in writing.axes), "quality", "text"], rows)
    files.write_atomic(path / "texts.html", _page(writing, dims, names, there, found).encode())


def _page(
    writing: Writing, dims: tuple[int, ...], names: list[list[str]], there: dict[tuple[int, ...], int], found: Elites
) -> str:
    across, down = writing.axes[0], writing.axes[1] if len(dims) > 1 else None
    words = words_of(across, dims[0])
    columns = range(dims[0])
    head = "".join(f"<th>{escape(words(x))}<br><small>{escape(names[0][x])}</small></th>" for x in columns)
    rows = []
    for y in reversed(range(dims[1])) if down is not None else [0]:
        label = "" if down is None else f"{escape(words_of(down, dims[1])(y))}<br><small>{escape(names[1][y])}</small>"
        filled = [_cell(there.get((x, y) if down is not None else (x,)), found, writing.highest) for x in columns]
        rows.append(f"<tr><th>{label}</th>{''.join(filled)}</tr>")
    axes = " by ".join(axis.name for axis in writing.axes)
    about = (
        f"The best {writing.what} of each of {np.prod(dims)} cells, {len(found)} filled; its quality, of "
        f"{writing.highest:g}, above it. Click to read. Everything here is as the judge sees it."
    )
    title = escape(f"{writing.what} archive: {axes}".capitalize())
    return PAGE.format(title=title, about=about, head=head, rows="\n".join(rows))


def _cell(i: int | None, found: Elites, highest: float) -> str:
    if i is None:
        return "<td></td>"
    text, share = str(found.solutions[i]), float(np.clip(found.objective[i] / highest, 0, 1))
    begin = text if len(text) <= BEGINNING else f"{text[:BEGINNING].rsplit(' ', 1)[0]} …"
    colour = f"hsl(190 60% {96 - 34 * share:.0f}%)"
    return (
        f'<td><details style="background: {colour}"><summary><b>{found.objective[i]:.2f}</b>{escape(begin)}'
        f"</summary><p>{escape(text)}</p></details></td>"
    )
