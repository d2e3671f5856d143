"""What a run on the arm leaves behind: figures along the way, the summary, pictures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from domains.arm import RANGES, ArmEncoder
from domains.arm.arm import draw
from qdfeedback import metrics, viz
from qdfeedback.archives import bounds, clipped_share, grid
from qdfeedback.diversity.columns import Columns
from qdfeedback.feedback.queries import uniform_triplets
from qdfeedback.quality.columns import column
from qdfeedback.runs import Run
from qdfeedback.search import elites, reevaluate, refresh
from qdfeedback.types import Diversity, Floats, Placement

if TYPE_CHECKING:
    from experiments.qdhf_arm import ArmSearch

DIMS = (50, 50)
NAMES = ArmEncoder.names
HAND = Columns((NAMES.index("x"), NAMES.index("y")))
EVERY = 50


class Log:
    """Figures along the run, taken in the true space by a placement of their own, which reads the history."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._began = time.perf_counter()
        self._before = 0.0
        self._scored = 0
        self.rows: list[dict[str, Any]] = []
        self.truth = Placement(column(NAMES, "straightness"), HAND, grid(10, DIMS)(RANGES, 0))

    @property
    def seconds(self) -> float:
        """Time spent on the run, over all its sessions."""
        return self._before + time.perf_counter() - self._began

    def due(self, iteration: int, iterations: int) -> bool:
        """True when figures are to be taken after this iteration."""
        return iteration % EVERY == 0 or iteration == iterations - 1

    def add(self, iteration: int, placement: Placement, *, judgments: int, clipped: float) -> dict[str, str]:
        """Takes figures; returns those for the progress bar."""
        refresh(self._run.history, self.truth, start=self._scored)
        self._scored = len(self._run.history)
        own, true = metrics.score(placement.archive), metrics.score(self.truth.archive)
        self.rows.append(
            {
                "iteration": iteration,
                "evaluations": self._scored,
                "judgments": judgments,
                "qd_score": own.qd_score,
                "coverage": own.coverage,
                "qd_score_all": true.qd_score,
                "coverage_all": true.coverage,
                "clipped": clipped,
            }
        )
        return {
            "evals/s": f"{self._scored / self.seconds:,.0f}",
            "QD": f"{true.qd_score:.1f}",
            "coverage": f"{true.coverage:.1f}%",
            "judgments": str(judgments),
        }

    def state(self) -> dict[str, Any]:
        """Returns what `restore` needs, as JSON."""
        return {"rows": self.rows, "seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.rows, self._before = state["rows"], state["seconds"]
        refresh(self._run.history, self.truth)
        self._scored = len(self._run.history)


def finish(arm: ArmSearch, log: Log) -> dict[str, Any]:
    """Writes archive, curves, pictures and summary; returns the summary."""
    run, args, placement = arm.run, arm.args, arm.placement
    assert placement is not None
    run.history.flush(sync=True)
    run.save_archive(placement)
    run.save_curves(log.rows)
    found = elites(placement)
    if args.present:
        run.show(arm.search, found.ids)
    features = run.history.take(found.ids, "features")
    everything = metrics.score(log.truth.archive)
    archive = metrics.score_in(RANGES, DIMS, found.objective, HAND.project(features))
    summary: dict[str, Any] = {
        "method": args.method,
        "seed": args.seed[0],
        "iterations": args.iterations,
        "evaluations": len(run.history),
        "judgments": arm.judgments,
        "annotator": args.annotator,
        "label_noise": args.label_noise,
        "without": list(args.without),
        "qd_score_all": everything.qd_score,
        "coverage_all": everything.coverage,
        "qd_score_archive": archive.qd_score,
        "coverage_archive": archive.coverage,
        "judgment_accuracy": arm.accuracy,
        "axes_accuracy": _axes_accuracy(placement.diversity, features),
        "elites": len(found),
        "clipped": clipped_share(placement.diversity.project(run.history.sample("features")), placement.archive),
        "failed": run.history.failed(),
    }
    if args.reevaluate:
        again, objectives, measured = reevaluate(arm.search, placement, times=args.reevaluate, rng=arm.rng)
        empty = arm.build(bounds(placement.archive), 0)
        corrected, raw = metrics.corrected_score(empty, objectives, measured), metrics.score(placement.archive)
        summary |= {"qd_score": raw.qd_score, "qd_score_corrected": corrected.qd_score, "reevaluated": len(again)}
    _pictures(arm, placement, log)
    summary["seconds"] = round(log.seconds, 2)
    run.save_summary(summary)
    arm.store.close()
    return summary


def closing_lines(path: Path, summary: dict[str, Any]) -> str:
    """Returns what a person wants to know at the end."""
    judged = f" from {summary['judgments']:,} judgments" if summary["judgments"] else ""
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


def _axes_accuracy(diversity: Diversity, features: Floats) -> float:
    """Returns how often the final axes order random triplets of elites as the true space does."""
    triplets = uniform_triplets(len(features), 20_000, np.random.default_rng(0))
    true = metrics.orders_right(HAND, features, triplets)
    return float((metrics.orders_right(diversity, features, triplets) == true).mean())


def _pictures(arm: ArmSearch, placement: Placement, log: Log) -> None:
    names = ("x of the hand", "y of the hand")
    learned = tuple(f"learned axis {i + 1}" for i in range(arm.args.dim))
    own = names if arm.args.method == "gt" else (*(f"{name} of the hand" for name in arm.args.pinned), *learned)[:2]
    figure, axes = viz.figure(2)
    viz.heatmap(axes[0], placement.archive, title="The archive, on its own axes", axes=own, limits=(0, 100))
    viz.heatmap(axes[1], log.truth.archive, title="All arms, in the true space", axes=names, limits=(0, 100))
    viz.save(figure, arm.run.path / "archive.png")

    figure, axes = viz.figure(2)
    marks = sorted(
        {
            row["evaluations"]
            for before, row in zip(log.rows, log.rows[1:], strict=False)
            if row["judgments"] != before["judgments"]
        }
    )
    lines = {"qd_score_all": "QD score, all arms", "coverage_all": "coverage in %, all arms"}
    viz.curves(axes[0], log.rows, x="evaluations", lines=lines, title="In the true space", marks=marks)
    lines = {"qd_score": "QD score", "coverage": "coverage in %"}
    viz.curves(axes[1], log.rows, x="evaluations", lines=lines, title="On the archive's own axes", marks=marks)
    viz.save(figure, arm.run.path / "curves.png")

    found = elites(placement)
    figure, axes = viz.figure(1, width=7, height=7)
    viz.collage(
        axes[0],
        found.measures[:, :2],
        lambda i: draw(np.cumsum(found.solutions[i])),
        title="Arms by their place in the archive",
        axes=own,
    )
    viz.save(figure, arm.run.path / "arms.png")
