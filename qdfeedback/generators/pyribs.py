"""Any pyribs emitter as a generator: Gaussian, iso-line, and the evolution strategies of CMA-ME and CMA-MAE.

Pyribs(lambda archive, seed: [EvolutionStrategyEmitter(archive, x0=x0, sigma0=0.5, batch_size=50, seed=seed)])
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdfeedback.generators import pyribs_state
from qdfeedback.types import Outcome, Placement, Proposal

if TYPE_CHECKING:
    from ribs.archives import ArchiveBase
    from ribs.emitters import EmitterBase

log = logging.getLogger(__name__)

Make = Callable[["ArchiveBase", int], Sequence["EmitterBase"]]
"""(archive, seed) → emitters on that archive; gradient emitters (`ask_dqd`) are not supported."""


class Pyribs:
    """Emitters of pyribs, built anew whenever the archive is another one: they are bound to theirs.

    What the emitters had adapted (a covariance matrix, say) starts afresh after a refresh; a log line says so.
    pyribs does not tell which elites a solution came from: parents are unknown.

    Args:
        make: builds the emitters on an archive.
        origin: how these candidates are named in the history.
    """

    def __init__(self, make: Make, *, origin: str = "pyribs") -> None:
        self._make = make
        self._origin = origin
        self._archive: ArchiveBase | None = None
        self._emitters: Sequence[EmitterBase] = ()
        self._counts: list[int] = []
        self._warned = False
        self._unknown, self._origins = np.empty((0, 1), dtype=np.int64), np.empty(0, dtype=np.str_)

    def ask(self, placement: Placement, n: int, rng: np.random.Generator) -> Proposal:
        """Returns what the emitters ask for.

        Raises:
            ValueError: Their batch sizes do not add up to n. Initial solutions, given while the archive is
                empty, may be any number.
        """
        if placement.archive is not self._archive:
            if self._archive is not None:
                log.info("the archive is new: emitters are built anew, what they had adapted starts afresh")
            self._archive = placement.archive
            self._emitters = self._make(self._archive, int(rng.integers(2**63)))
        asked = [emitter.ask() for emitter in self._emitters]
        self._counts = [len(part) for part in asked]
        solutions = asked[0] if len(asked) == 1 else np.concatenate(asked)
        total = len(solutions)
        if total != n and not self._archive.empty:
            raise ValueError(f"n must be the emitters' batch sizes together, {total}; got {n}")
        if len(self._unknown) != total:
            self._unknown, self._origins = np.full((total, 1), -1, dtype=np.int64), np.full(total, self._origin)
            self._unknown.flags.writeable = self._origins.flags.writeable = False  # shared by all proposals
        return Proposal(solutions, self._unknown, self._origins)

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Hands each emitter the fate of its own rows; rows that are not valid count as its worst valid one.

        Raises:
            RuntimeError: The proposal is not the one asked for last.
        """
        if len(proposal) != sum(self._counts):
            raise RuntimeError("tell must follow the ask that gave the proposal")
        if not outcome.valid.any():
            return  # nothing to learn from
        status, value, objective, measures = outcome.status, outcome.value, outcome.objective, outcome.measures
        if not outcome.valid.all():
            worst = np.lexsort((outcome.value, outcome.status, ~outcome.valid))[0]
            rows = np.where(outcome.valid, np.arange(len(proposal)), worst)
            status, value, objective, measures = (
                outcome.status * outcome.valid,
                value[rows],
                objective[rows],
                measures[rows],
            )
        low = 0
        for emitter, count in zip(self._emitters, self._counts, strict=True):
            own = slice(low, low + count)
            emitter.tell(
                solution=proposal.solutions[own],
                objective=objective[own],
                measures=measures[own],
                add_info={"status": status[own], "value": value[own]},
            )
            low += count

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Returns arrays and JSON from which `restore` continues exactly; says so where that cannot be."""
        arrays, state = pyribs_state.emitters_state(self._emitters)
        if "refused" in state and not self._warned:
            log.warning("this run cannot be resumed exactly: %s", state["refused"])
            self._warned = True
        return arrays, state

    def restore(self, placement: Placement, arrays: dict[str, NDArray[Any]], state: dict[str, Any]) -> None:
        """Takes up where `state` was read; the placement's archive must have been restored already.

        Raises:
            ValueError: The emitters cannot be continued exactly, or are others than those stored.
        """
        if state["emitters"]:
            self._archive = placement.archive
            self._emitters = self._make(self._archive, 0)
        pyribs_state.restore_emitters(self._emitters, arrays, state)
