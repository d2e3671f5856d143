"""The training procedure that the QDHF authors released, kept as it is for comparison.

Mini-batches of 32 drawn with replacement, Adam at 1e-3, the last quarter of the rows for validation without
shuffling, stop when the mean of the last ten validation figures falls below that of the ten one epoch before,
last weights kept (Ding 2024, App. B and released code).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from qdfeedback.diversity.descent import hinge_loss
from qdfeedback.diversity.fitting import check_triplets
from qdfeedback.diversity.triplet_model import Similarity, constant_note
from qdfeedback.diversity.variation import varying
from qdfeedback.parallel import on_one_thread
from qdfeedback.types import Floats, Ints

BATCH = 32
LEARNING_RATE = 1e-3
EPOCHS = 1000
PATIENCE = 10


def fit_published(features: Floats, triplets: Ints, *, dim: int = 2, rng: np.random.Generator) -> Similarity:
    """Returns a similarity model trained from scratch by the published procedure, with the hinge loss.

    Args:
        features: (n, d) of the items judged.
        triplets: (t, 3) rows of features: anchor, near, far; in the order they were judged, for the last
            quarter validates. Degenerate ones are allowed: the procedure draws them.
        dim: number of measures, k.
        rng: draws the starting weights and the mini-batches.

    Raises:
        ValueError: Fewer than four triplets, triplets that point outside the features, items that are all alike, or
            a dim below 1.
    """
    given = np.asarray(features)
    features, triplets = check_triplets(features, triplets, degenerate=True)
    if len(triplets) < 4:
        raise ValueError(f"triplets must hold at least 4 judgments to split, got {len(triplets)}")
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    differ = varying(given[np.unique(triplets)])
    weight, bias = linear_start(features.shape[1], dim, rng)
    items = torch.from_numpy(features.astype(np.float32))
    n_train = int(len(triplets) * 0.75)
    anchor, near, far = (items[torch.from_numpy(triplets[:, i])] for i in range(3))

    def squared(rows: slice | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b, c = (side[rows] @ weight + bias for side in (anchor, near, far))
        return (a - b).square().sum(dim=1), (a - c).square().sum(dim=1)

    def accuracy() -> float:
        d_near, d_far = squared(slice(n_train, None))
        return float((d_near < d_far).float().mean())

    history = train([weight, bias], lambda rows: hinge_loss(*squared(rows)).mean(), accuracy, n=n_train, rng=rng)
    note = {"triplets": float(len(triplets)), "epochs": float(len(history)), "validation_accuracy": history[-1]}
    note |= constant_note(int((~differ).sum()))
    weights = weight.detach().numpy().astype(np.float64)
    return Similarity(np.zeros(features.shape[1]), weights, weights[None], 1.0, 0.0, note)


def linear_start(d_in: int, d_out: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the weight (d_in, d_out) and bias (d_out,) that a torch linear layer starts from."""
    bound = 1 / np.sqrt(d_in)
    weight = rng.uniform(-bound, bound, (d_in, d_out)).astype(np.float32)
    bias = rng.uniform(-bound, bound, d_out).astype(np.float32)
    return torch.from_numpy(weight).requires_grad_(), torch.from_numpy(bias).requires_grad_()


@on_one_thread()
def train(
    parameters: Sequence[torch.Tensor],
    loss: Callable[[torch.Tensor], torch.Tensor],
    figure: Callable[[], float],
    *,
    n: int,
    rng: np.random.Generator,
) -> list[float]:
    """Trains in place and returns the validation figure of every epoch.

    Args:
        parameters: what Adam moves.
        loss: rows → the scalar to go down.
        figure: the validation figure after an epoch, higher is better.
        n: number of training rows.
        rng: draws the mini-batches.
    """
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    figures: list[float] = []
    for epoch in range(EPOCHS):
        for rows in torch.from_numpy(rng.integers(n, size=(max(n // BATCH, 1), BATCH))):
            optimizer.zero_grad()
            torch.autograd.backward(loss(rows))
            optimizer.step()
        with torch.no_grad():
            figures.append(figure())
        if epoch > PATIENCE and sum(figures[-PATIENCE:]) < sum(figures[-PATIENCE - 1 : -1]):
            break
    return figures
