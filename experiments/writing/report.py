"""What a run over texts leaves behind: figures along the way, the summary, a heat map, and the texts by cell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.writing.arguments import Args, truth_columns
from qdfeedback import metrics, viz
from qdfeedback.commands import hint
from qdfeedback.curves import Observed
from qdfeedback.encoders.attributes import Attributes
from qdfeedback.loop import Loop
from qdfeedback.models.ledger import Ledger
from qdfeedback.text_map import cell_names, write_texts
from qdfeedback.text_truth import by_truth
from qdfeedback.types import Placement
from qdfeedback.writing import Writing, bins_of


@dataclass(frozen=True)
class Made:
    """The parts of a run.

    Attributes:
        loop: itself.
        writing: the domain, with its first texts.
        encoder: the judges.
        ledger: what models replied, and cost.
    """

    loop: Loop
    writing: Writing
    encoder: Attributes
    ledger: Ledger

    @property
    def own(self) -> str:
        """The run's name in the ledger."""
        return str(self.loop.run.settings["id"])


@dataclass(frozen=True)
class Along:
    """Figures along a run, beside the archive's own: the QD score as the paper has it, and what models cost.

    Attributes:
        ledger: what models replied.
        own: the run's name in it.
    """

    ledger: Ledger
    own: str

    def __call__(self, loop: Observed) -> dict[str, Any]:
        """Returns them."""
        totals = self.ledger.totals(self.own)
        tokens = totals.prompt_tokens + totals.completion_tokens
        return {"qd_score": qd(loop.placement)[0], "requests": totals.requests, "tokens": tokens, "paid": totals.paid}


def qd(placement: Placement) -> tuple[float, float]:
    """Returns the QD score, a sum over cells as in the paper, and the percentage of cells filled."""
    found = metrics.score(placement.archive)
    return found.qd_score * int(placement.archive.cells), found.coverage


def finish(args: Args, made: Made) -> dict[str, Any]:
    """Writes archive, curves, pictures, texts and summary; returns the summary."""
    loop, writing, ledger = made.loop, made.writing, made.ledger
    run, found, cells = loop.run, loop.elites(), int(loop.placement.archive.cells)
    assert loop.curves is not None
    run.show(loop.search, found.ids)
    qd_score, coverage = qd(loop.placement)
    totals = ledger.totals(made.own)
    summary: dict[str, Any] = {
        "domain": args.domain, "axes": [axis.name for axis in writing.axes], "method": args.method,
        "begin": args.begin, "seed": args.seed[0], "evaluations": len(run.history), "cells": cells,
        "highest": writing.highest, "elites": len(found), "qd_score": qd_score, "coverage": coverage,
        "best": float(found.objective.max()),
    }  # fmt: skip
    summary |= by_truth(writing, run.history, found.ids, columns=truth_columns(args))
    errors = Counter(reason for part in run.history.chunks("error") for reason in part["error"] if reason is not None)
    summary |= {
        "failed": dict(errors.most_common()), "unmeasured": _unmeasured(made.encoder), "requests": totals.requests,
        "prompt_tokens": totals.prompt_tokens, "completion_tokens": totals.completion_tokens,
        "failed_requests": totals.failures, "failed_requests_for": ledger.reasons(made.own),
        "possibly_paid": totals.possibly_paid, "paid": totals.paid, "paid_at_most": totals.paid + totals.reserved,
        "seconds": round(loop.curves.seconds, 2),
    }  # fmt: skip
    _pictures(made)
    write_texts(run.path, writing, found)
    return loop.finish(summary)


def _unmeasured(encoder: Attributes) -> dict[str, int]:
    """Returns how often a judge gave no value, for which reason."""
    return {reason: count for reason, count in encoder.reasons.most_common() if count}


def why_unmeasured(encoder: Attributes) -> str:
    """Returns the commonest reason for which judges gave no value, "" where they gave all."""
    found = list(_unmeasured(encoder).items())
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
        f"\n{summary['method']}: {summary['elites']} of {summary['cells']} cells filled by {summary['evaluations']:,} "
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


def _pictures(made: Made) -> None:
    figure, axes = viz.figure(2, width=5.6)
    writing = made.writing
    names = [axis.name if axis.kind == "category" else f"{axis.name}: {axis.answers[0]}" for axis in writing.axes]
    labels = [cell_names(axis, edges) for axis, edges in zip(writing.axes, bins_of(writing).edges, strict=True)]
    viz.cells(
        axes[0], made.loop.placement.archive, title=f"The best {writing.what} of each cell", axes=names, labels=labels,
        limits=(0.0, writing.highest),
    )  # fmt: skip
    lines = {"qd_score": "QD score", "coverage": "cells filled, %"}
    viz.curves(axes[1], made.loop.rows(), x="evaluations", lines=lines, title="Along the run, by the judge")
    viz.save(figure, made.loop.run.path / "archive.png")
