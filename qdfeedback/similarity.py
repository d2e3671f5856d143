"""A diversity model from anyone's triplets: how well it predicts, how many judgments it needs, what it looks like.

    qdfeedback similarity --features F.npy --triplets T.csv --run runs/mine

Triplets have the columns anchor, near, far: rows of the features. The accuracy of the saved model is that of fits like
it to what is left when judgments are held out, and, which is harder and what a search needs, when items are, with all
that was said of them. The saved model takes new rows:

    model = qdfeedback.diversity.similarity.load("runs/mine/model.npz")
    measures = model.project(features)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from qdfeedback import files, metrics, viz
from qdfeedback.bounds import Bounds, Count, Positive, Seed, read_arguments
from qdfeedback.diversity.accuracy import Tested, Validation, by_fold, learning_curve
from qdfeedback.diversity.fitting import check_triplets
from qdfeedback.diversity.similarity import Fit, Similarity, calibrated, choose_ridge, fit_similarity
from qdfeedback.feedback.agreement import Interval, proportion
from qdfeedback.feedback.formats import read_features, read_triplets
from qdfeedback.parallel import compute_on
from qdfeedback.types import Floats, Ints

MOST_TO_CHOOSE = 2000  # judgments: with more, every ridge predicts as well


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
    answers: Annotated[int, Bounds(2)] | None = None
    """Fit to so many answers, drawn at random; to all of them if not given."""
    test_features: Path | None = None
    """Features of data that took no part; those of the fit if only test triplets are given."""
    test_triplets: Path | None = None
    """Triplets of data that took no part; their accuracy goes to the summary as test_accuracy."""
    folds: Annotated[int, Bounds(2)] = 10
    """Folds of the cross-validation of judgments; of items, three of which make a judgment, there are three times as
    many, so that fits see about as much."""
    loss: Literal["ste", "hinge"] = "ste"
    """Likelihood of the answers, or the loss that QDHF published."""
    prepare: Literal["center", "whiten", "standardize"] = "center"
    """Keep the features' own proportions, whiten them by PCA, or give each unit variance."""
    components: Count = 64
    """Principal components to fit on, for center and whiten."""
    predict: Literal["items", "judgments"] = "items"
    """What the model is for: answers about new items, as in a search, or new answers about these."""
    ridge: Positive | None = None
    """Strength of the prior; if not given, the one that predicts best what the model is for, in cross-validation."""
    seed: Seed = 0
    """Of the folds, the samples and the starting weights."""


def settings(features: Floats, triplets: Ints, args: Args, rng: np.random.Generator) -> Fit:
    """Returns how the triplets are fitted."""
    how = Fit(
        loss=args.loss, prepare=args.prepare, components=args.components, flip=None, by_item=args.predict == "items"
    )
    if args.ridge is not None:
        return replace(how, ridge=args.ridge)
    some = triplets[rng.permutation(len(triplets))[:MOST_TO_CHOOSE]]
    return choose_ridge(features, some, dim=args.dim, how=how, folds=args.folds, rng=rng)


def pictures(model: Similarity, features: Floats, rows: Sequence[Tested], run: Path) -> None:
    """Writes the learned map and the learning curve."""
    figure, axes = viz.figure(1, width=7, height=6)
    viz.learned_map(axes[0], model.project(features), title="Where the items lie on the learned axes")
    viz.save(figure, run / "map.png")
    figure, axes = viz.figure(1, width=6.5)
    lines = {"new judgments, known items": _line([row.held_out for row in rows])}
    measured = [row.items for row in rows if row.items is not None]
    if len(measured) == len(rows):
        lines["new items"] = _line(measured)
    counts = np.array([row.judgments for row in rows])
    viz.learning_curve(axes[0], counts, figures=lines, title="Accuracy on what was held out, 95 % intervals")
    viz.save(figure, run / "learning_curve.png")


def _line(row: Sequence[Interval]) -> tuple[Floats, Floats, Floats]:
    value, low, high = (np.array([getattr(one, part) for one in row]) for part in ("value", "low", "high"))
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
    most = min(args.answers or len(triplets), len(triplets))
    args.run.mkdir(parents=True, exist_ok=True)
    sample = triplets[rng.permutation(len(triplets))[:most]]
    how = settings(features, sample, args, rng)
    rows = learning_curve(features, triplets, Validation(args.dim, how, args.folds, args.seed), most)
    last = rows[-1]
    asked = last.by_item if args.predict == "items" and last.by_item else last.by_judgment
    model = calibrated(fit_similarity(features, sample, dim=args.dim, how=how, rng=rng), asked)
    model.save(args.run / "model.npz")
    summary: dict[str, Any] = {
        "items": len(features),
        "triplets": len(triplets),
        "judgments": most,
        "dim": args.dim,
        "ridge": how.ridge,
        "ridge_chosen_for": args.predict if args.ridge is None else None,
        "flip": model.flip,
        "temperature": model.temperature,
        "constant_columns": int(model.note.get("constant_columns", 0)),
        "judgment_accuracy": asdict(last.held_out),
        "item_accuracy": asdict(last.items) if last.items else None,
        "item_accuracy_folds": by_fold(last.by_item) if last.by_item else None,
        "accuracy_judgments": last.summary()["fitted"],
        "learning_curve": [row.summary() for row in rows],
    }
    if args.test_triplets:
        summary |= on_test_data(model, features, args)
    files.write_json(args.run / "summary.json", summary)
    pictures(model, features, rows, args.run)
    tell(summary, last, len(np.unique(triplets)), args)


def on_test_data(model: Similarity, features: Floats, args: Args) -> dict[str, Any]:
    """Returns the accuracy on data that took no part."""
    assert args.test_triplets is not None
    new = features if args.test_features is None else read_features(args.test_features)
    new, triplets = check_triplets(new, read_triplets(args.test_triplets, len(new)))
    right = metrics.orders_right(model, new, triplets)
    interval = proportion(int(right.sum()), len(right))
    return {"test_accuracy": float(right.mean()), "test_interval": asdict(interval)}


def tell(summary: dict[str, Any], last: Tested, items: int, args: Args) -> None:
    """Prints what was found."""
    print(f"\n{summary['judgments']:,} judgments about {items:,} items, {args.dim} axes, ridge {summary['ridge']:g}")
    if constant := summary["constant_columns"]:
        print(f"{constant:,} feature columns are the same for all items that were judged, and say nothing")
    print("accuracy, of fits to what is left when a part is held out:")
    print(f"new judgments about known items  {last.held_out}  (fits to {last.by_judgment.fitted:,.0f})")
    if last.by_item is None:
        print(f"judgments about new items        not measured: {last.why}")
    else:
        print(f"judgments about new items        {last.items}  (fits to {last.by_item.fitted:,.0f})")
    if "test_accuracy" in summary:
        print(f"the test data                    {summary['test_accuracy']:.3f}")
    print(f"look at {args.run}/map.png and learning_curve.png; the model is {args.run}/model.npz")
