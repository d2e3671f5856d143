"""What a run on the arm leaves behind: figures along the way, the summary, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from domains.arm import RANGES
from domains.arm.arm import draw
from experiments.arm.arguments import Args
from experiments.arm.parts import CELLS, HAND
from qdfeedback import metrics, viz
from qdfeedback.archives import clipped_share
from qdfeedback.loop import Loop


def finish(args: Args, loop: Loop) -> dict[str, Any]:
    """Writes archive, curves, pictures and summary; returns the summary."""
    assert loop.curves is not None
    run, placement, found = loop.run, loop.placement, loop.elites()
    if args.present:
        run.show(loop.search, found.ids)
    features = run.history.take(found.ids, "features")
    archive = metrics.score_in(RANGES, (CELLS, CELLS), found.objective, HAND.project(features))
    last = loop.curves.rows[-1]
    summary: dict[str, Any] = {
        "method": args.method, "seed": args.seed[0], "iterations": args.iterations, "evaluations": len(run.history),
        "answers": loop.answers, "annotator": args.annotator, "label_noise": args.label_noise,
        "without": list(args.without), "qd_score_all": last["qd_score_all"], "coverage_all": last["coverage_all"],
        "qd_score_archive": archive.qd_score, "coverage_archive": archive.coverage,
        "judgment_accuracy": getattr(loop.axes, "accuracy", None),
        "axes_accuracy": metrics.axes_accuracy(placement.diversity, features, HAND, features), "elites": len(found),
        "clipped": clipped_share(placement.diversity.project(run.history.sample("features")), placement.archive),
        "failed": run.history.failed(),
    }  # fmt: skip
    if args.reevaluate:
        corrected, raw = loop.corrected(args.reevaluate), metrics.score(placement.archive)
        summary |= {"qd_score": raw.qd_score, "qd_score_corrected": corrected.qd_score, "reevaluated": len(found)}
    _pictures(args, loop)
    return loop.finish(summary | {"seconds": round(loop.curves.seconds, 2)})


def closing_lines(path: Path, summary: dict[str, Any]) -> str:
    """Returns what a person wants to know at the end."""
    judged = f" from {summary['answers']:,} answers" if summary["answers"] else ""
    return (
        f"\n{summary['method']}: {summary['elites']:,} elites out of {summary['evaluations']:,} arms{judged}, "
        f"in {summary['seconds']:.0f} s.\n"
        f"In the true space all arms fill {summary['coverage_all']:.1f} % of the cells "
        f"(about 80 % can be reached), QD score {summary['qd_score_all']:.1f} of 100.\n"
        f"Look at {path}/archive.png, arms.png and curves.png; figures in {path}/summary.json"
    )


def one_line(summary: dict[str, Any]) -> str:
    """Returns one finished run in a line."""
    return (
        f"{summary['method']} seed {summary['seed']}: QD score All {summary['qd_score_all']:.2f}, "
        f"Archive {summary['qd_score_archive']:.2f}, coverage {summary['coverage_all']:.1f} %, "
        f"{summary['seconds']:.0f} s"
    )


def _pictures(args: Args, loop: Loop) -> None:
    names, path = ("x of the hand", "y of the hand"), loop.run.path
    learned = tuple(f"learned axis {i + 1}" for i in range(args.dim))
    own = names if args.method == "gt" else (*(f"{name} of the hand" for name in args.pinned), *learned)[:2]
    figure, axes = viz.figure(2)
    viz.heatmap(axes[0], loop.placement.archive, title="The archive, on its own axes", axes=own, limits=(0, 100))
    true = loop.followed("all").archive
    viz.heatmap(axes[1], true, title="All arms, in the true space", axes=names, limits=(0, 100))
    viz.save(figure, path / "archive.png")

    figure, axes = viz.figure(2)
    lines = {"qd_score_all": "QD score, all arms", "coverage_all": "coverage in %, all arms"}
    viz.curves(axes[0], loop.rows(), x="evaluations", lines=lines, title="In the true space", marks=loop.refits())
    viz.own_curves(axes[1], loop.rows(), marks=loop.refits())
    viz.save(figure, path / "curves.png")

    found = loop.elites()
    figure, axes = viz.figure(1, width=7, height=7)
    places, arms = found.measures[:, :2], found.solutions
    title = "Arms by their place in the archive"
    viz.collage(axes[0], places, lambda i: draw(np.cumsum(arms[i])), title=title, axes=own)
    viz.save(figure, path / "arms.png")
