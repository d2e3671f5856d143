"""Losses of triplets, and one optimiser for all fits of a linear map to them; what needs torch stands here."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit

from qdfeedback.diversity.fitting import Fit, Fits, Prepared
from qdfeedback.parallel import on_one_thread
from qdfeedback.types import Bools, Floats

HINGE_MARGIN = 0.05  # Ding 2024, released code
FLIP_PRIOR = 20.0  # exponential prior on the flip rate: worth 20 clean judgments
FLIP_START = -3.0  # its logit at the start, of the range from 0 to 0.5

# --- one line of torch each: (m, t) squared distances to near and far → (m, t) losses


def ste_loss(near: torch.Tensor, far: torch.Tensor, flip: torch.Tensor | float) -> torch.Tensor:
    """Returns the negative log-likelihood of the answers; with probability `flip` an answer is the opposite."""
    return -torch.log(flip + (1 - 2 * flip) * torch.sigmoid(far - near) + 1e-12)


def hinge_loss(near: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
    """Returns the published triplet loss (Ding 2024, eq. 2)."""
    return torch.relu(HINGE_MARGIN + near - far)


class Problem:
    """The summed losses of all fits, as one function of their maps and the logit of the flip rate.

    Only the loss itself is left to autograd; the maps around it are two matrix products, written out.

    Args:
        data: t triplets.
        fits: m of them.
        how: loss and flip rate.
    """

    def __init__(self, data: Prepared, fits: Fits, how: Fit) -> None:
        self.shape = fits.centres.shape  # (m, k, c)
        self.t, self.how = len(data), how
        self.rows = torch.from_numpy(np.ascontiguousarray(np.concatenate([data.near, data.far]).T))
        self.share, self.ridge = torch.from_numpy(fits.weights), torch.from_numpy(fits.ridges)[:, None, None]
        self.centre = torch.from_numpy(fits.centres)
        self.learn = how.flip is None and how.loss == "ste"

    def maps(self, x: Floats) -> Floats:
        """Returns the (m, k, c) maps in a vector."""
        return x[:-1].reshape(self.shape)

    def _squares(self, x: Floats) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        m, k, c = self.shape
        maps = torch.from_numpy(x[: m * k * c]).view(m, k, c)
        projected = (maps.view(m * k, c) @ self.rows).view(m, k, 2 * self.t)
        return maps, projected, projected.square().sum(dim=1)

    def _losses(self, squared: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
        near, far = squared[:, : self.t], squared[:, self.t :]
        if self.how.loss == "hinge":
            return hinge_loss(near, far)
        return ste_loss(near, far, 0.5 * torch.sigmoid(logit) if self.learn else float(self.how.flip or 0.0))

    def losses(self, x: Floats) -> Floats:
        """Returns the (m, t) loss of each triplet under each fit, unweighted."""
        found: Floats = self._losses(self._squares(x)[2], torch.tensor(x[-1])).numpy()
        return found

    def __call__(self, x: Floats) -> tuple[float, Floats]:
        """Returns the summed losses, priors included, and their gradient."""
        m, k, c = self.shape
        maps, projected, squared = self._squares(x)
        squared.requires_grad_()
        logit = torch.tensor(x[-1], requires_grad=self.learn)
        total = (self._losses(squared, logit) * self.share).sum() + FLIP_PRIOR * m * 0.5 * torch.sigmoid(logit)
        torch.autograd.backward(total)
        assert squared.grad is not None
        slope = (squared.grad[:, None] * projected).view(m * k, 2 * self.t)
        gradient = 2 * (slope @ self.rows.T).view(m, k, c) + self.ridge * (maps - self.centre)
        value = float(total.detach()) + float((self.ridge * (maps - self.centre).square()).sum()) / 2
        return value, np.append(gradient.numpy(), float(logit.grad) if logit.grad is not None else 0.0)


def optimise(
    data: Prepared,
    fits: Fits,
    how: Fit,
    *,
    rng: np.random.Generator,
    watch: Bools | None = None,
    begin: Floats | None = None,
) -> tuple[Floats, float]:
    """Returns (m, c, k) maps and the flip rate that minimise the summed losses, all fits in one problem.

    Args:
        data: t triplets.
        fits: m of them.
        how: loss and flip rate.
        rng: draws where each fit starts.
        watch: (t,) bool; each fit returns as it was when these triplets were likeliest.
        begin: (m, c, k) where the fits start, in place of what `rng` draws.
    """
    problem = Problem(data, fits, how)
    start = 0.1 * rng.standard_normal(problem.shape) if begin is None else begin.transpose(0, 2, 1)
    kept, least = start.copy(), np.full(len(start), np.inf)

    def keep_best(x: Floats) -> None:
        loss = problem.losses(x)[:, watch].mean(axis=1)
        better = loss < least
        least[better], kept[better] = loss[better], problem.maps(x)[better]

    watching = watch is not None and bool(watch.any())
    with on_one_thread():
        found = minimize(
            problem, np.append(start, FLIP_START), jac=True, method="L-BFGS-B",
            callback=keep_best if watching else None,
            options={"maxiter": how.steps, "maxcor": 20, "ftol": 1e-7, "gtol": 1e-4},
        )  # fmt: skip
    maps = kept if watching else problem.maps(found.x)
    flip = 0.5 * expit(found.x[-1]) if problem.learn else how.flip or 0.0
    return maps.transpose(0, 2, 1).copy(), float(flip)
