"""A diversity model from anyone's triplets: how well it predicts, how many judgments it needs, what it looks like.

    python -m experiments.similarity_from_triplets --features F.npy --triplets T.csv --run runs/mine

Triplets have the columns anchor, near, far: rows of the features. Accuracy is reported on judgments that were held
out, and, which is harder and what a search needs, on items that were. The saved model takes new rows:

    model = qdfeedback.diversity.similarity.load("runs/mine/model.npz")
    measures = model.project(features)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from sklearn.model_selection import GroupKFold, KFold
from tqdm import tqdm

from experiments.command import run_main
from qdfeedback import files, metrics, viz
from qdfeedback.bounds import Bounds, Count, Positive, Seed, read_arguments
from qdfeedback.diversity.fitting import check_triplets
from qdfeedback.diversity.similarity import Fit, Similarity, choose_ridge, fit_similarity
from qdfeedback.feedback.agreement import Interval, bootstrap, proportion
from qdfeedback.feedback.formats import read_features, read_triplets
from qdfeedback.parallel import compute_on
from qdfeedback.types import Floats, Ints


@dataclass(frozen=True)
class Args:
    features: Path
    """A .npy file, (items, d)."""
    triplets: Path
    """A .npy file (t, 3) or a .csv with columns anchor, near, far."""
    run: Path = Path("runs/similarity")
    """Folder for the model, the figures and the pictures."""
    dim: Count = 2
    """Number of axes."""
    judgments: Annotated[int, Bounds(2)] | None = None
    """Fit to so many judgments, drawn at random; to all of them if not given."""
    test_features: Path | None = None
    """Features of data that took no part; those of the fit if only test triplets are given."""
    test_triplets: Path | None = None
    """Triplets of data that took no part; their accuracy goes to the summary as test_accuracy."""
    folds: Annotated[int, Bounds(2)] = 5
    """Folds of the cross-validation."""
    loss: Literal["ste", "hinge"] = "ste"
    """Likelihood of the answers, or the loss that QDHF published."""
    prepare: Literal["center", "whiten", "standardize"] = "center"
    """Keep the features' own proportions, whiten them by PCA, or give each unit variance."""
    components: Count = 64
    """Principal components to fit on, for center and whiten."""
    ridge: Positive | None = None
    """Strength of the prior; chosen by cross-validation if not given."""
    seed: Seed = 0
    """Of the folds, the samples and the starting weights."""


def fit(features: Floats, triplets: Ints, args: Args, rng: np.random.Generator) -> tuple[Similarity, Fit]:
    """Returns a model fitted to all the triplets, and the settings it was fitted with."""
    how = Fit(loss=args.loss, prepare=args.prepare, components=args.components, flip=None, by_item=True)
    if args.ridge is not None:
        how = Fit(**{**asdict(how), "ridge": args.ridge})
    elif args.loss == "ste":
        how = choose_ridge(features, triplets, dim=args.dim, how=how, rng=rng)
    return fit_similarity(features, triplets, dim=args.dim, how=how, rng=rng), how


def held_out_judgments(features: Floats, triplets: Ints, args: Args, count: int) -> Interval:
    """Returns accuracy on judgments that were held out, `count` of the others being fitted to.

    Judgments about the same three items stay on one side, and count as one draw of the interval.
    """
    rng = np.random.default_rng([args.seed, count])
    triplets = triplets[rng.permutation(len(triplets))]
    _, groups = np.unique(np.sort(triplets, axis=1), axis=0, return_inverse=True)
    right, groups_tested = [], []
    for train, test in GroupKFold(args.folds).split(triplets, groups=groups):
        model, _ = fit(features, triplets[rng.permutation(train)[:count]], args, rng)
        right.append(metrics.orders_right(model, features, triplets[test]))
        groups_tested.append(groups[test])
    return bootstrap(np.concatenate(right).astype(float), groups=np.concatenate(groups_tested), rng=rng)


def item_folds(triplets: Ints, args: Args) -> list[tuple[Ints, Ints]]:
    """Returns per fold the rows of triplets wholly among its training items, and the rows with another item."""
    items = np.unique(triplets)
    folds: list[tuple[Ints, Ints]] = []
    for train, _ in KFold(args.folds, shuffle=True, random_state=args.seed).split(items):
        inside = np.isin(triplets, items[train]).all(axis=1)
        folds.append((np.flatnonzero(inside), np.flatnonzero(~inside)))
    return folds


def held_out_items(features: Floats, triplets: Ints, args: Args, count: int) -> tuple[Interval, list[float]]:
    """Returns accuracy on triplets with an item that no training triplet had: over all folds, and of each.

    `count` judgments are drawn from the triplets wholly among the training items; the interval resamples anchors.
    """
    rng = np.random.default_rng([args.seed, count])
    right, groups = [], []
    for inside, outside in item_folds(triplets, args):
        model, _ = fit(features, triplets[rng.permutation(inside)[:count]], args, rng)
        right.append(metrics.orders_right(model, features, triplets[outside]))
        groups.append(triplets[outside, 0])
    interval = bootstrap(np.concatenate(right).astype(float), groups=np.concatenate(groups), rng=rng)
    return interval, [float(found.mean()) for found in right]


def learning_curve(features: Floats, triplets: Ints, args: Args, most: int) -> list[dict[str, Any]]:
    """Returns both accuracies over growing numbers of judgments, no more than are left when a fold is held out."""
    left = min(len(inside) for inside, _ in item_folds(triplets, args))
    most = min(most, left, len(triplets) * (args.folds - 1) // args.folds)
    counts = [count for count in (50, 100, 200, 400, 1000, 2000, 4000, 10_000) if count < most]
    rows = []
    for count in tqdm([*counts, most], desc="learning curve", unit="size"):
        items, folds = held_out_items(features, triplets, args, count)
        held_out = held_out_judgments(features, triplets, args, count)
        rows.append({"judgments": count, "items": items, "folds": folds, "held_out": held_out})
    return rows


def pictures(model: Similarity, features: Floats, rows: Sequence[dict[str, Any]], run: Path) -> None:
    """Writes the learned map and the learning curve."""
    figure, axes = viz.figure(1, width=7, height=6)
    viz.learned_map(axes[0], model.project(features), title="Where the items lie on the learned axes")
    viz.save(figure, run / "map.png")
    figure, axes = viz.figure(1, width=6.5)
    lines = {"new judgments, known items": _line(rows, "held_out"), "new items": _line(rows, "items")}
    counts = np.array([row["judgments"] for row in rows])
    viz.learning_curve(axes[0], counts, figures=lines, title="Accuracy on what was held out, 95 % intervals")
    viz.save(figure, run / "learning_curve.png")


def _line(rows: Sequence[dict[str, Any]], name: str) -> tuple[Floats, Floats, Floats]:
    value, low, high = (np.array([getattr(row[name], part) for row in rows]) for part in ("value", "low", "high"))
    return value, low, high


def main(argv: Sequence[str] | None = None) -> None:
    """Fits, measures, saves."""
    args = read_arguments(Args, argv, __doc__)
    if args.test_features and not args.test_triplets:
        raise ValueError("--test-features needs --test-triplets beside it")
    compute_on()
    features = read_features(args.features)
    features, triplets = check_triplets(features, read_triplets(args.triplets, len(features)))
    rng = np.random.default_rng(args.seed)
    most = min(args.judgments or len(triplets), len(triplets))
    args.run.mkdir(parents=True, exist_ok=True)
    rows = learning_curve(features, triplets, args, most)
    model, how = fit(features, triplets[rng.permutation(len(triplets))[:most]], args, rng)
    model.save(args.run / "model.npz")
    summary: dict[str, Any] = {
        "items": len(features),
        "triplets": len(triplets),
        "judgments": most,
        "dim": args.dim,
        "ridge": how.ridge,
        "flip": model.flip,
        "judgment_accuracy": asdict(rows[-1]["held_out"]),
        "item_accuracy": asdict(rows[-1]["items"]),
        "item_accuracy_folds": rows[-1]["folds"],
        "accuracy_judgments": rows[-1]["judgments"],
        "learning_curve": [
            {"judgments": row["judgments"], "held_out": asdict(row["held_out"]), "items": asdict(row["items"])}
            for row in rows
        ],
    }
    if args.test_triplets:
        new = features if args.test_features is None else read_features(args.test_features)
        new, test = check_triplets(new, read_triplets(args.test_triplets, len(new)))
        right = metrics.orders_right(model, new, test)
        summary["test_accuracy"] = float(right.mean())
        summary["test_interval"] = asdict(proportion(int(right.sum()), len(right)))
    files.write_json(args.run / "summary.json", summary)
    pictures(model, features, rows, args.run)
    print(f"\n{most:,} judgments about {len(np.unique(triplets)):,} items, {args.dim} axes")
    print(f"fitted to {rows[-1]['judgments']:,} of them and tested on what was held out:")
    print(f"accuracy on new judgments about known items  {rows[-1]['held_out']}")
    print(f"accuracy on judgments about new items        {rows[-1]['items']}")
    if "test_accuracy" in summary:
        print(f"accuracy on the test data                    {summary['test_accuracy']:.3f}")
    print(f"look at {args.run}/map.png and learning_curve.png; the model is {args.run}/model.npz")


if __name__ == "__main__":
    run_main(main)
