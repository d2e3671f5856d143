"""What a run on pictures leaves behind: figures of a set of pictures, the summary, a collage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.images.attributes import alignment
from domains.images.figures import by_truth
from domains.images.reader import read
from experiments.images.arguments import ASKS, Args, is_ours
from experiments.images.seeing import Seeing
from qdfeedback import metrics, viz
from qdfeedback.feedback.judges import Judge
from qdfeedback.loop import Loop
from qdfeedback.models.pictures import Pictures
from qdfeedback.types import Annotator, Floats


@dataclass(frozen=True)
class Made:
    """The parts of a run.

    Attributes:
        loop: itself.
        seeing: what pictures are embedded and scored by.
        pictures: the pipeline and what it drew.
        annotator: who answers.
    """

    loop: Loop
    seeing: Seeing
    pictures: Pictures
    annotator: Annotator


def finish(args: Args, made: Made) -> dict[str, Any]:
    """Writes archive, pictures and summary; returns the summary."""
    loop, seeing = made.loop, made.seeing
    run, found = loop.run, loop.elites()
    everything = run.history.sample("features", most=None)
    scores = {name: quality.score(everything).mean for name, quality in seeing.qualities.items()}
    chosen = loop.put_forward()
    features = everything[chosen]
    embedded = features[:, seeing.learned]
    mean, spread = metrics.pairwise_distance(embedded)
    summary: dict[str, Any] = {
        "method": args.method, "seed": args.seed[0], "prompt": args.prompt, "evaluations": len(run.history),
        "drawn": made.pictures.drawn, "elites": len(found), "set": len(chosen),
        "solutions": args.varied, "asked": args.answers if args.method in ASKS else 0,
        "answers": loop.answers, "judgment_accuracy": getattr(loop.axes, "accuracy", None),
        "scores": {name: float(score[chosen].mean()) for name, score in scores.items()},
        "first_scores": {name: float(np.nanmean(score[: args.first])) for name, score in scores.items()},
        "distance_mean": mean, "distance_spread": spread, "vendi": metrics.vendi_score(embedded),
        "failed": run.history.failed(), "set_ids": chosen.tolist(), "seen_by": seen_by(run.settings),
    }  # fmt: skip
    if is_ours(args.model) and args.truth is None:
        pictures, measures = [image(loop, one) for one in chosen], loop.placement.diversity.project(everything)
        summary |= by_truth(args.prompt, everything[:, seeing.true], chosen, scores[args.quality], measures)
        summary["alignment_true"] = float(alignment([read(one) for one in pictures], args.prompt).mean())
    if args.truth is not None:
        mean, spread = metrics.pairwise_distance(features[:, seeing.true])
        summary |= {"distance_by_truth": mean, "spread_by_truth": spread}
        summary |= {"vendi_by_truth": metrics.vendi_score(features[:, seeing.true])}
    if isinstance(made.annotator, Judge):
        summary["judge"] = dict(+made.annotator.counts)
    _pictures(args, loop)
    if args.report:
        _scores(args, loop, scores)
    return loop.finish(summary)


def seen_by(settings: dict[str, Any]) -> dict[str, str]:
    """Returns role → exact name of the models by which pictures were made and seen, not of those that were asked."""
    return {role: name for role, name in settings["used"].items() if role not in ("judge", "writer")}


def image(loop: Loop, candidate: int) -> NDArray[np.uint8]:
    """Returns the pixels of a candidate's picture."""
    shown = loop.run.shown
    return shown.pixels(shown.names()[int(candidate)])


def _pictures(args: Args, loop: Loop) -> None:
    axes, found = ("learned axis 1", "learned axis 2"), loop.elites()
    figure, panels = viz.figure(2, width=6, height=5)
    named = title(args.quality) + (", as published," if args.published_objective else "")
    viz.heatmap(panels[0], loop.placement.archive, title=f"{named} in the archive", axes=axes)
    viz.own_curves(panels[1], loop.rows(), marks=loop.refits())
    viz.save(figure, loop.run.path / "archive.png")
    figure, panels = viz.figure(1, width=9, height=9)
    viz.collage(panels[0], found.measures, lambda i: image(loop, found.ids[i]), title=f"“{args.prompt}”", axes=axes)
    viz.save(figure, loop.run.path / "collage.png")


def title(quality: str) -> str:
    """Returns a quality's name for people."""
    return "CLIP score" if quality == "clip" else Path(quality).name


def _scores(args: Args, loop: Loop, scores: dict[str, Floats]) -> None:
    """Draws how each quality went, in standard deviations from its mean over the first pictures."""
    first, n = args.first, len(loop.history)
    ends = np.unique(np.r_[first, np.arange(first + args.batch_size, n, args.batch_size), n])
    rows: list[dict[str, float]] = [{"evaluations": int(end)} for end in ends]
    for name, score in scores.items():
        mean, spread = np.nanmean(score[:first]), np.nanstd(score[:first]) or 1.0
        for row, part in zip(rows, np.split(score, ends[:-1]), strict=True):
            row[name] = float((np.nanmean(part) - mean) / spread)
    lines = {name: f"{title(name)}{'' if number else ' (optimised)'}" for number, name in enumerate(scores)}
    figure, panels = viz.figure(1, width=7, height=4)
    viz.curves(panels[0], rows, x="evaluations", lines=lines, title="What is optimised, and what is only reported")
    panels[0].set_ylabel("mean of a batch, in deviations of the first")
    viz.save(figure, loop.run.path / "scores.png")


def one_line(summary: dict[str, Any]) -> str:
    """Returns one finished run in a line."""
    told = ", ".join(f"{title(name)} {score:.1f}" for name, score in summary["scores"].items())
    entropy = f", entropy {summary['entropy']:.2f}" if "entropy" in summary else ""
    return (
        f"{summary['method']} seed {summary['seed']}: {told}, distance "
        f"{summary['distance_mean']:.3f} (spread {summary['distance_spread']:.3f}), "
        f"Vendi {summary['vendi']:.1f}{entropy}"
    )


def closing_lines(path: Path, summary: dict[str, Any]) -> str:
    """Returns what a person wants to know at the end."""
    judged = f" and {summary['answers']:,} answers" if summary["answers"] else ""
    return (
        f"\n{summary['elites']:,} elites out of {summary['evaluations']:,} pictures{judged}.\n"
        f"A set of {summary['set']}: {one_line(summary)}\n"
        f"Look at {path}/collage.png and archive.png; figures in {path}/summary.json"
    )
