"""Making what a judge says agree with what people say: curves from its scores to theirs.

said = marks(store, study, "genre", label="horror")           # shares of people, by candidate
curve = fit_temperature(history.take(said.ids, "features")[:, 1], said.mean, said.count)
Calibrated(bins, ((1, curve),))                               # a map on the same history: no judge is asked again
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, xlogy

from qdfeedback.feedback.store import Store, candidate_of
from qdfeedback.types import Floats, Ints

NEVER_SURE = 1e-6  # a probability lies at least so far from 0 and 1


@dataclass(frozen=True)
class Marks:
    """What people said about candidates.

    Attributes:
        ids: (n,) int64 candidate ids, rising.
        mean: (n,) mean rating, or the share of people who chose the label.
        count: (n,) people.
    """

    ids: Ints
    mean: Floats
    count: Ints

    def __len__(self) -> int:
        return len(self.ids)


def marks(
    store: Store,
    study: str,
    question: str,
    *,
    label: str | None = None,
    source: str = "",
    without: Collection[str] = (),
) -> Marks:
    """Returns people's ratings of a question, or with a label their answers to a question with labels.

    Repeats, practice and catch trials, ties and skipped answers are left out, and whatever models and simulations said.

    Args:
        store: the judgments.
        study: which.
        question: which of its questions.
        label: whose share is wanted.
        source: in a study that joins several runs, the label of the run whose candidates are wanted.
        without: people who are left out.
    """
    said: dict[int, list[float]] = {}
    for row in store.records(study):
        value = row["value"] if label is None else None if row["label"] is None else float(row["label"] == label)
        candidate = candidate_of(source, row["left_id"])
        counts = row["annotator_kind"] == "person" and row["annotator_id"] not in without and row["kind"] == "main"
        if counts and candidate is not None and row["question"] == question and value is not None:
            said.setdefault(candidate, []).append(float(value))
    ids = np.array(sorted(said), dtype=np.int64)
    means = np.array([np.mean(said[one]) for one in ids.tolist()])
    return Marks(ids, means, np.array([len(said[one]) for one in ids.tolist()], dtype=np.int64))


@dataclass(frozen=True)
class Temperature:
    """Log-odds divided by a temperature, and shifted (Platt scaling; temperature scaling where the shift is 0).

    Attributes:
        temperature: above 1 makes a judge less sure.
        shift: added to the log-odds afterwards.
    """

    temperature: float
    shift: float = 0.0

    def __call__(self, probability: Floats) -> Floats:
        """Returns calibrated probabilities; NaN stays NaN."""
        odds = logit(np.clip(np.asarray(probability, dtype=float), NEVER_SURE, 1 - NEVER_SURE))
        found: Floats = expit(odds / self.temperature + self.shift)
        return found


@dataclass(frozen=True)
class Isotonic:
    """A rising curve through points, straight between them.

    Attributes:
        x: what the judge says, rising.
        y: what people say, never falling.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, values: Floats) -> Floats:
        """Returns values on people's scale; beyond the ends the curve is flat, NaN stays NaN."""
        found: Floats = np.interp(np.asarray(values, dtype=float), self.x, self.y)
        return found


Curve = Temperature | Isotonic
Fit = Callable[[Floats, Floats, Floats | Ints], Callable[[Floats], Floats]]
"""(n,) values, what people say, and how many of them → a curve."""


def fit_temperature(probability: Floats, share: Floats, count: Floats | Ints, *, shift: bool = False) -> Temperature:
    """Returns the temperature at which people's answers are likeliest (Guo 2017; Platt 1999 with a shift).

    Args:
        probability: (n,) what the judge says; rows with NaN are left out.
        share: (n,) of people who agree.
        count: (n,) people.
        shift: fit one too.

    Raises:
        ValueError: There are fewer than five texts.
    """
    from scipy.optimize import minimize

    good = _enough(probability, share)
    odds = logit(np.clip(np.asarray(probability, dtype=float)[good], NEVER_SURE, 1 - NEVER_SURE))
    target, weight = np.asarray(share, dtype=float)[good], np.asarray(count, dtype=float)[good]

    def loss(at: Floats) -> float:
        value = odds / np.exp(at[0]) + (at[1] if shift else 0.0)
        likely = target * np.logaddexp(0, -value) + (1 - target) * np.logaddexp(0, value)
        return float((weight * likely).sum() / weight.sum() + 1e-3 * (at**2).sum())  # kept finite where all agree

    found = minimize(loss, np.zeros(2 if shift else 1)).x
    return Temperature(float(np.exp(found[0])), float(found[1]) if shift else 0.0)


def fit_isotonic(values: Floats, mean: Floats, count: Floats | Ints) -> Isotonic:
    """Returns the rising curve that comes nearest to what people say, each text weighed by how many said it.

    Args:
        values: (n,) what the judge says; rows with NaN are left out.
        mean: (n,) rating or share.
        count: (n,) people.

    Raises:
        ValueError: There are fewer than five texts.
    """
    from sklearn.isotonic import IsotonicRegression

    good = _enough(values, mean)
    model = IsotonicRegression(out_of_bounds="clip")
    model.fit(np.asarray(values)[good], np.asarray(mean)[good], sample_weight=np.asarray(count)[good])
    return Isotonic(tuple(model.X_thresholds_.tolist()), tuple(model.y_thresholds_.tolist()))


def cross_entropy(probability: Floats, share: Floats, count: Floats | Ints) -> float:
    """Returns the mean of -log(probability of what a person said), in nats, over all who said something."""
    p = np.clip(np.asarray(probability, dtype=float), NEVER_SURE, 1 - NEVER_SURE)
    lost = -(xlogy(share, p) + xlogy(1 - np.asarray(share), 1 - p))
    return float(np.average(lost, weights=count))


def _enough(values: Floats, said: Floats) -> Floats:
    good: Floats = np.isfinite(np.asarray(values, dtype=float)) & np.isfinite(np.asarray(said, dtype=float))
    if good.sum() < 5:
        raise ValueError(f"a curve needs five texts with answers or more, got {int(good.sum())}")
    return good


def fitter(kind: str) -> Fit:
    """Returns what fits a curve: "temperature", "shifted" (with a shift) or "isotonic"."""
    if kind == "isotonic":
        return fit_isotonic
    return lambda values, mean, count: fit_temperature(values, mean, count, shift=kind == "shifted")


def fit_line(values: Floats, mean: Floats, count: Floats | Ints) -> Callable[[Floats], Floats]:
    """Returns a straight line from a judge's scale to people's."""
    line = np.polyfit(values, mean, 1, w=np.sqrt(count))
    return lambda unseen: np.polyval(line, unseen)


def unseen(values: Floats, said: Marks, fit: Fit, seed: int) -> Floats:
    """Returns (n,) values through curves that were fitted without them, in five folds."""
    from sklearn.model_selection import KFold

    found = np.empty(len(values))
    for seen, left_out in KFold(5, shuffle=True, random_state=seed).split(values):
        found[left_out] = fit(values[seen], said.mean[seen], said.count[seen])(values[left_out])
    return found


def error(values: Floats, said: Marks, *, ratings: bool) -> float:
    """Returns how far values are from what people said: mean absolute error of ratings, else cross-entropy in nats."""
    if ratings:
        return float(np.average(np.abs(values - said.mean), weights=said.count))
    return cross_entropy(values, said.mean, said.count)


def marks_by_truth(true: Floats, n: int, *, people: int = 3, rng: np.random.Generator) -> Marks:
    """Returns what people would say who answer as the truth has it.

    Args:
        true: (m,) probabilities, NaN = nobody knows.
        n: items at most.
        people: who answer about each.
        rng: draws items and answers.
    """
    fine = np.flatnonzero(np.isfinite(true))
    ids = np.sort(rng.choice(fine, min(n, len(fine)), replace=False))
    return Marks(ids, rng.binomial(people, true[ids]) / people, np.full(len(ids), people))
