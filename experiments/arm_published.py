"""The seven methods of the paper on the arm, refitted as the released code does it (Ding 2024, App. B).

Four refits, before iterations 1, 101, 251 and 501 of 1,000. Each trains from scratch on all judgments so far, sets
the ranges to the minimum and maximum of today's elites, and re-inserts those alone: what collides is lost, and
what lies outside later is clipped into the border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from domains.arm import RANGES
from qdfeedback import archives
from qdfeedback.diversity.published import fit_published
from qdfeedback.diversity.unsupervised import fit_autoencoder, fit_pca
from qdfeedback.feedback.queries import RANDOM, ask, uniform_triplets
from qdfeedback.search import add, evaluate
from qdfeedback.types import Floats, Ints, Placement, Scores, first

if TYPE_CHECKING:
    from experiments.qdhf_arm import ArmSearch

SHARES = (0.0, 0.1, 0.25, 0.5)
REDRAW = 32  # at least so many at a time: a lone one that fails would be a batch without a valid row


def schedule(method: str, iterations: int, judgments: int) -> dict[int, int]:
    """Returns iteration → judgments to ask for before it."""
    if method in ("gt", "aurora-pca", "aurora-ae"):
        return {1: 0}
    if method == "qdhf-base":
        return {1: judgments}
    when = sorted({1 + int(share * iterations) for share in SHARES})
    counts = np.diff(np.linspace(0, judgments, len(when) + 1).round().astype(int))
    return {iteration: int(count) if method == "qdhf" else 0 for iteration, count in zip(when, counts, strict=True)}


def refit(arm: ArmSearch, iteration: int, count: int) -> None:
    """Learns axes by the run's method and re-inserts the elites on them."""
    method = arm.args.method
    ids = arm.current()
    learned = arm.history.take(ids, "features")[:, arm.learned]
    if method.startswith("aurora-pca"):
        arm.model = fit_pca(learned, dim=arm.args.dim)
    elif method.startswith("aurora-ae"):
        arm.model = fit_autoencoder(learned, dim=arm.args.dim, rng=arm.rng)
    elif method.startswith("qdhf"):
        triplets = _judge(arm, iteration, count, ids)
        items, local = np.unique(triplets, return_inverse=True)
        judged = arm.history.take(items, "features")[:, arm.learned]
        arm.model = fit_published(judged, local.reshape(-1, 3), dim=arm.args.dim, rng=arm.rng)
        arm.accuracy = arm.model.note["validation_accuracy"]
        arm.judgments = len(triplets)
    reinsert(arm, ids)


def _judge(arm: ArmSearch, iteration: int, count: int, ids: Ints) -> Ints:
    """Returns every judgment so far; new ones are about random arms at first, then about today's elites."""
    if iteration == 1:
        ids = _random_arms(arm, 3 * count)
        rows: Ints = np.arange(3 * count).reshape(count, 3)
    else:
        rows = uniform_triplets(len(ids), count, arm.rng, degenerate=True)
    shown = arm.history.take(ids, "features")[rows]
    queries = ask(rows, ids, np.full(count, RANDOM), batch=f"{iteration:06d}", shown=shown)
    return arm.answered(iteration, queries).items


def _random_arms(arm: ArmSearch, n: int) -> Ints:
    """Returns the ids of n fresh random arms: judged and kept in the history, but not offered to the archive."""

    def score_only(features: Floats) -> tuple[Scores, Floats, Floats]:
        scores = arm.quality.score(features)
        return scores, scores.mean, np.empty((len(features), 0))

    good, wanted = np.empty(0, dtype=np.int64), n
    while len(good) < n:  # one that cannot be measured is replaced
        proposal = first(arm.search.domain.initial(wanted, arm.rng))
        batch = evaluate(arm.search, proposal, score_only, first_id=len(arm.history), iteration=0)
        arm.history.append(batch)
        good = np.concatenate([good, batch.ids[np.isfinite(batch.features).all(axis=1)]])
        wanted = max(n - len(good), REDRAW)
    return good[:n]


def reinsert(arm: ArmSearch, ids: Ints, *, margin: float = 0.0) -> None:
    """Puts the candidates with these ids, and no others, into a new archive on the present axes."""
    features = arm.history.take(ids, "features")
    diversity: Any = arm.diversity()
    measures = diversity.project(features)
    bounds = RANGES if arm.args.method == "gt" else archives.ranges(measures, quantile=0.0, margin=margin)
    archive = arm.build(bounds, int(arm.rng.integers(2**63)))
    arm.placement = Placement(arm.quality, diversity, archive)
    add(arm.placement, {"id": ids, "features": features, "solution": arm.history.take(ids, "solution")})
