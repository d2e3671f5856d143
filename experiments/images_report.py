"""What a run on pictures leaves behind: figures of a set of pictures, the summary, a collage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from domains.images.attributes import VALUES, alignment, open_attributes
from domains.images.reader import read
from experiments.images_encoders import is_ours
from experiments.images_setup import ASKS, SEARCHES, solutions_of
from qdfeedback import metrics, viz
from qdfeedback.archives import categorical
from qdfeedback.feedback.judges import Judge
from qdfeedback.search import elites
from qdfeedback.shown import pixels_of
from qdfeedback.types import ID_FIELD, Floats, Ints

if TYPE_CHECKING:
    from experiments.qdhf_images import ImageSearch

FIXED = ("colour", "ground", "texture", "size")  # of our pictures: the space that does not move


def finish(images: ImageSearch) -> dict[str, Any]:
    """Writes archive, pictures and summary; returns the summary."""
    args, run, placement = images.args, images.run, images.placement
    assert placement is not None
    assert images.model is not None
    run.save_archive(placement)
    found = elites(placement)
    everything = run.history.sample("features", most=len(run.history))  # all of them: a row is an id
    scores = {name: quality.score(everything).mean for name, quality in images.qualities.items()}
    chosen = the_set(images, scores[args.quality])
    features = everything[chosen]
    embedded = features[:, images.learned]
    mean, spread = metrics.pairwise_distance(embedded)
    summary: dict[str, Any] = {
        "method": args.method, "seed": args.seed[0], "prompt": args.prompt, "pictures": len(run.history),
        "drawn": images.pictures.drawn, "elites": len(found), "set": len(chosen),
        "solutions": solutions_of(args), "asked": args.judgments if args.method in ASKS else 0,
        "judgments": images.judgments, "judgment_accuracy": images.accuracy,
        "scores": {name: float(score[chosen].mean()) for name, score in scores.items()},
        "first_scores": {name: float(np.nanmean(score[: args.first])) for name, score in scores.items()},
        "distance_mean": mean, "distance_spread": spread, "vendi": metrics.vendi_score(embedded),
        "failed": run.history.failed(), "set_ids": chosen.tolist(), "seen_by": seen_by(run.settings),
    }  # fmt: skip
    if is_ours(args.model) and args.truth is None:
        summary |= by_truth(images, features[:, images.true], everything, scores[args.quality])
        summary["alignment_true"] = float(alignment([read(image(images, one)) for one in chosen], args.prompt).mean())
    if args.truth is not None:
        mean, spread = metrics.pairwise_distance(features[:, images.true])
        summary |= {"distance_by_truth": mean, "spread_by_truth": spread}
        summary |= {"vendi_by_truth": metrics.vendi_score(features[:, images.true])}
    if isinstance(images.annotator, Judge):
        summary["judge"] = dict(+images.annotator.counts)
    if args.method not in SEARCHES:
        run.save_best(placement, chosen, scores[args.quality][chosen], images.model.project(embedded))
    _pictures(images, found.ids, found.measures)
    if args.report:
        _scores(images, scores)
    run.save_summary(summary)
    images.store.close()
    return summary


def seen_by(settings: dict[str, Any]) -> dict[str, str]:
    """Returns role → exact name of the models by which pictures were made and seen, not of those that were asked."""
    return {role: name for role, name in settings["used"].items() if role not in ("judge", "writer")}


def the_set(images: ImageSearch, score: Floats) -> Ints:
    """Returns the ids of the pictures that are compared: some of the archive's, or those whose (n,) score is best."""
    args = images.args
    if args.method in SEARCHES:
        assert images.placement is not None
        ids = elites(images.placement).ids
        rng = np.random.default_rng(args.seed[0])
        return np.sort(rng.choice(ids, min(args.set_size, len(ids)), replace=False))
    best: Ints = np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable")[: args.set_size]
    return best


def by_truth(images: ImageSearch, true: Floats, everything: Floats, score: Floats) -> dict[str, Any]:
    """Returns figures by what is in our pictures.

    Args:
        images: the run.
        true: (n, 11) what is in the pictures of the set.
        everything: (m, d) features of all pictures.
        score: (m,) of all pictures.
    """
    prompt, left_open = images.args.prompt, open_attributes(images.args.prompt)
    entropies = {
        name: metrics.attribute_entropy(true[:, list(VALUES).index(name)], len(VALUES[name])) for name in left_open
    }
    summary: dict[str, Any] = {"entropy": float(np.mean(list(entropies.values()))), "entropy_of": entropies}
    summary["unreadable"] = float(np.isnan(true[:, : len(VALUES)]).any(axis=1).mean())
    fixed = [name for name in FIXED if name in left_open]
    if fixed:
        columns = [images.true.start + list(VALUES).index(name) for name in fixed]
        archive = categorical([len(VALUES[name]) for name in fixed])(np.empty((len(fixed), 2)), 0)
        good = np.flatnonzero(np.isfinite(score) & np.isfinite(everything[:, columns]).all(axis=1))
        archive.add(good, score[good], everything[good][:, columns], **dict.fromkeys(ID_FIELD, good))
        told = metrics.score(archive)
        summary |= {"coverage_true": told.coverage, "qd_score_true": told.qd_score, "true_axes": fixed}
    assert images.model is not None
    summary["axes"] = _axes(images.model.project(everything[:, images.learned]), everything, images, prompt)
    return summary


def _axes(measures: Floats, everything: Floats, images: ImageSearch, prompt: str) -> list[dict[str, float]]:
    """Returns for each learned axis and open attribute |Spearman's rho| with that of its values that fits best."""
    found = []
    for axis in measures.T:
        told = {}
        for name in open_attributes(prompt):
            column = everything[:, images.true.start + list(VALUES).index(name)]
            known = np.isfinite(column) & np.isfinite(axis)
            values = np.unique(column[known])
            each = [abs(spearmanr(axis[known], column[known] == i).statistic) for i in values if len(values) > 1]
            told[name] = float(max(each, default=0.0))
        found.append(told)
    return found


def image(images: ImageSearch, candidate: int) -> NDArray[np.uint8]:
    """Returns the pixels of a candidate's picture."""
    shown = images.run.shown
    path = shown.path(shown.names()[int(candidate)])
    return pixels_of(path.read_bytes(), str(path))


def _pictures(images: ImageSearch, ids: Ints, measures: Floats) -> None:
    assert images.placement is not None
    axes = ("learned axis 1", "learned axis 2")
    figure, panels = viz.figure(1, width=6, height=5)
    named = title(images.args.quality) + (", as published," if images.args.published_objective else "")
    viz.heatmap(panels[0], images.placement.archive, title=f"{named} in the archive", axes=axes)
    viz.save(figure, images.run.path / "archive.png")
    figure, panels = viz.figure(1, width=9, height=9)
    viz.collage(panels[0], measures, lambda i: image(images, ids[i]), title=f"“{images.args.prompt}”", axes=axes)
    viz.save(figure, images.run.path / "collage.png")


def title(quality: str) -> str:
    """Returns a quality's name for people."""
    return "CLIP score" if quality == "clip" else Path(quality).name


def _scores(images: ImageSearch, scores: dict[str, Floats]) -> None:
    """Draws how each quality went, in standard deviations from its mean over the first pictures."""
    first, n = images.args.first, len(images.history)
    ends = np.unique(np.r_[first, np.arange(first + images.args.batch_size, n, images.args.batch_size), n])
    figure, panels = viz.figure(1, width=7, height=4)
    for number, (name, score) in enumerate(scores.items()):
        mean, spread = np.nanmean(score[:first]), np.nanstd(score[:first]) or 1.0
        along = [np.nanmean(part) for part in np.split(score, ends[:-1])]
        panels[0].plot(
            ends, (np.array(along) - mean) / spread, label=f"{title(name)}{'' if number else ' (optimised)'}"
        )
    panels[0].set_title("What is optimised, and what is only reported", color=viz.INK, fontsize=11)
    panels[0].set_xlabel("pictures")
    panels[0].set_ylabel("mean of a batch, in deviations of the first")
    panels[0].grid(alpha=0.2)
    panels[0].spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    viz.save(figure, images.run.path / "scores.png")


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
    judged = f" and {summary['judgments']:,} answers" if summary["judgments"] else ""
    return (
        f"\n{summary['elites']:,} elites out of {summary['pictures']:,} pictures{judged}.\n"
        f"A set of {summary['set']}: {one_line(summary)}\n"
        f"Look at {path}/collage.png and archive.png; figures in {path}/summary.json"
    )
