"""How axes are fitted to triplets along a run: a new way of fitting goes here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np

from qdfeedback.diversity import models
from qdfeedback.diversity.linear import rotation_onto
from qdfeedback.diversity.similarity import Fit, fit_and_test
from qdfeedback.diversity.unsupervised import Autoencoder, fit_pca
from qdfeedback.feedback.queries import RANDOM
from qdfeedback.types import Floats, Ints


class Seen(NamedTuple):
    """What a fit may see.

    Attributes:
        points: (i, c) features of the items that were judged.
        triplets: (t, 3) rows of points: anchor, near, far, in the order in which they were answered.
        purpose: (t,) str; those that are "random" may measure accuracy.
        is_last: nothing is asked after this.
        before: the model before, None at first.
        current: gives the (n, c) features of what is in the archive.
    """

    points: Floats
    triplets: Ints
    purpose: np.ndarray
    is_last: bool
    before: models.Model | None
    current: Callable[[], Floats]


class FitTriplets(Protocol):
    """A way of fitting axes."""

    def __call__(self, seen: Seen, *, dim: int, rng: np.random.Generator) -> tuple[models.Model, float | None]:
        """Returns the model, and its accuracy on triplets that it did not see; None = not known."""
        ...


@dataclass(frozen=True)
class Likelihood:
    """The likelihood of all answers with a prior, and an ensemble (`diversity.similarity`).

    Attributes:
        how: loss, prior, ensemble.
        tested: when accuracy is measured, which takes fits of its own: at each refit, or at the last one.
        upright: the first map is turned to lie as the principal components of the "judged", or of the "current".
    """

    how: Fit = field(default_factory=lambda: Fit(flip=None))
    tested: Literal["always", "last"] = "always"
    upright: Literal["judged", "current"] = "judged"

    def __call__(self, seen: Seen, *, dim: int, rng: np.random.Generator) -> tuple[models.Model, float | None]:
        """Returns axes turned to lie as those before."""
        tests = self.tested == "always" or seen.is_last
        tested = np.flatnonzero((seen.purpose == RANDOM) & tests)
        model, accuracy = fit_and_test(seen.points, seen.triplets, tested, dim=dim, how=self.how, rng=rng)
        first = seen.points if self.upright == "judged" or seen.before is not None else seen.current()
        return turned(model, seen.points, seen.before or fit_pca(first, dim=dim)), accuracy


def turned(model: models.Model, points: Floats, before: models.Model | None) -> models.Model:
    """Returns a linear model turned so that it lies as the one before, by these (n, c) points; an autoencoder stays."""
    if before is None or isinstance(model, Autoencoder):
        return model
    return model.rotated(rotation_onto(model.project(points), before.project(points)))
