"""The whole algorithm: ask → evaluate → insert → tell, and placing a whole history anew.

    for iteration in range(1000):
        batch = step(search, placement, n=100, first_id=len(history), iteration=iteration, rng=rng)
        history.append(batch)

When a judgment has changed what is good or different, `refresh` lays out every candidate again from its
features; nothing is rendered and nobody is asked a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qdfeedback.bounds import Bounds, check_number
from qdfeedback.failures import Failures
from qdfeedback.types import (
    Artifacts,
    Batch,
    Domain,
    Elites,
    Encoder,
    Floats,
    Generator,
    Ints,
    Outcome,
    Placement,
    Proposal,
    Quality,
    Scores,
    Solutions,
    first,
    listed,
    mean_objective,
)

Measure = Callable[[Floats], tuple[Scores, Floats, Floats]]
"""(n, d) features → scores, (n,) objective, (n, k) measures."""

_SOME = Bounds(1)


@dataclass(frozen=True)
class Search:
    """What stays the same through a run.

    Attributes:
        domain: what is searched.
        encoder: the waist.
        generator: where candidates come from.
        seed: from it and a candidate's id comes the candidate's own seed.
        failures: where tracebacks of the domain and the encoder go; of a run, `Run.failures`.
    """

    domain: Domain
    encoder: Encoder
    generator: Generator
    seed: int
    failures: Failures = field(default_factory=Failures)


class Rows(Protocol):
    """What `refresh` needs of a history."""

    def chunks(self, *columns: str, start: int = 0, rows: int = 65536) -> Iterator[dict[str, NDArray[Any]]]:
        """Yields the named columns in order, as dicts of arrays."""
        ...


@dataclass(frozen=True)
class Refreshed:
    """What `refresh` did: candidates read, those with a finite objective and measures, those placed from outside."""

    rows: int
    valid: int
    clipped: int


class NothingEvaluatedError(RuntimeError):
    """No candidate of a batch has scores and measures."""


def start(
    search: Search,
    quality: Quality,
    n: int,
    *,
    rng: np.random.Generator,
    solutions: Solutions | None = None,
    objective: Callable[[Scores], Floats] = mean_objective,
) -> Batch:
    """Returns the first population, iteration 0: scored, with no measures, for there are no axes yet.

    Append it to the history, choose axes and ranges by it, then `refresh` places it.

    Args:
        search: the domain and encoder.
        quality: features → scores.
        n: how many.
        rng: what draws them.
        solutions: (n, …) in place of the domain's own first ones.
        objective: scores → (n,) what an archive will maximise.

    Raises:
        NothingEvaluatedError: No row could be.
    """
    check_number(n, "n", _SOME, kind=int)
    with search.failures.watch("initial"):
        begin = search.domain.initial(n, rng) if solutions is None else solutions
    return evaluate(search, first(begin), without_axes(quality, objective), first_id=0, iteration=0)


def step(
    search: Search, placement: Placement, *, n: int, first_id: int, iteration: int, rng: np.random.Generator
) -> Batch:
    """Returns one iteration: n candidates asked for, evaluated, inserted, and their fate told to the generator.

    Raises:
        NothingEvaluatedError: No row of the batch could be.
        ValueError: The domain or the encoder returned the wrong number of rows or columns.
    """
    check_number(n, "n", _SOME, kind=int)
    with search.failures.watch("the generator's ask"):
        proposal = search.generator.ask(placement, n, rng)
    if not isinstance(proposal, Proposal) or not len(proposal):
        what = "no candidate" if isinstance(proposal, Proposal) else f"a {type(proposal).__name__}"
        raise ValueError(f"the generator's ask must return a Proposal with candidates in it, it returned {what}")
    batch = evaluate(search, proposal, partial(measure, placement), first_id=first_id, iteration=iteration)
    search.generator.tell(proposal, insert(placement, batch))
    return batch


def evaluate(search: Search, proposal: Proposal, place: Measure, *, first_id: int, iteration: int) -> Batch:
    """Returns the batch that a proposal becomes: rendered, encoded, scored and measured.

    A candidate that cannot be made, rendered or measured is a row of NaN with its reason in `errors`.

    Args:
        search: the domain and encoder.
        proposal: n solutions.
        place: features → scores, objective, measures.
        first_id: the id of the first one.
        iteration: counted from 0.

    Raises:
        NothingEvaluatedError: No row could be, of a generator that does not say what it could not make. Where one
            does, batches may be small and makers fail: how long to go on is for the caller to say.
        ValueError: The domain or the encoder returned the wrong number of rows or columns.
    """
    ids = np.arange(first_id, first_id + len(proposal), dtype=np.int64)
    artifacts, errors = _render_made(search, proposal, candidate_seeds(search.seed, ids))
    with search.failures.watch("encode"):
        features = encode(search.encoder, artifacts, errors)
    with search.failures.watch("score or project"):
        scores, objective, measures = place(features)
    valid = np.isfinite(objective)
    if not np.isfinite(np.einsum("nk->k", measures)).all():  # rarely, and only then is each row looked at
        valid &= np.isfinite(measures).all(axis=1)
    if not valid.all():
        errors = _explain(errors, valid, features, search.encoder.names)
        if not valid.any() and proposal.errors is None:
            raise NothingEvaluatedError(
                f"none of the {len(ids)} candidates of iteration {iteration} could be evaluated; "
                f"the first failed with: {errors[0]}"
            )
    return Batch(ids, iteration, proposal, artifacts, errors, features, scores, measures, objective, valid)


def without_axes(quality: Quality, objective: Callable[[Scores], Floats]) -> Measure:
    """Returns what scores features where there is nothing to measure them by yet."""

    def score(features: Floats) -> tuple[Scores, Floats, Floats]:
        scores = quality.score(features)
        return scores, objective(scores), np.empty((len(features), 0))

    return score


def measure(placement: Placement, features: Floats) -> tuple[Scores, Floats, Floats]:
    """Returns scores, (n,) objective and (n, k) measures of (n, d) features under a placement."""
    scores = placement.quality.score(features)
    return scores, placement.objective(scores), placement.diversity.project(features)


def insert(placement: Placement, batch: Batch) -> Outcome:
    """Adds the rows of a batch that are valid and good enough to the archive, and returns what became of each row.

    The batch's own objective and measures are used: it must have been evaluated under this placement.
    """
    good = batch.valid & (batch.objective >= placement.least)
    poor = batch.valid & ~good
    everything = bool(good.all())
    objective = batch.objective if everything else np.where(batch.valid, batch.objective, np.nan)
    measures = batch.measures if everything else np.where(batch.valid[:, None], batch.measures, np.nan)
    status, value = np.zeros(len(batch), dtype=np.int32), np.full(len(batch), np.nan)
    if good.any():  # not every archive takes in nothing
        rows = slice(None) if everything else good
        added = placement.archive.add(
            batch.ids[rows] if placement.holds_ids else batch.proposal.solutions[rows],
            batch.objective[rows],
            batch.measures[rows],
            id=batch.ids[rows],
        )
        status[rows], value[rows] = added["status"], added["value"]
    if poor.any():
        value[poor] = objective[poor] - placement.least + min(0.0, value[good].min(initial=0.0))
    return Outcome(status, value, objective, measures, batch.valid)


def elites(placement: Placement) -> Elites:
    """Returns the archive's elites with their solutions resolved.

    Raises:
        RuntimeError: The archive is empty, or holds ids that nothing resolves.
    """
    if placement.archive.empty:
        raise RuntimeError("the archive is empty: run a step first")
    ids, solutions, objective, measures = placement.archive.data(
        ["id", "solution", "objective", "measures"], return_type="tuple"
    )
    if placement.holds_ids:
        solutions = placement.resolved(ids)
    return Elites(ids, solutions, objective, measures)


def refresh(history: Rows, placement: Placement, *, start: int = 0, apart: Sequence[tuple[int, int]] = ()) -> Refreshed:
    """Places every candidate from row `start` on, in chronological order; the archive is the result.

    Reads the history a part at a time: a million candidates take seconds and no more memory than one part.

    Args:
        history: the candidates.
        placement: where they are placed.
        start: the first row.
        apart: (first id, id after the last) of candidates that no archive is to hold.
    """
    columns = ("id", "features") if placement.holds_ids else ("id", "features", "solution")
    done = [add(placement, _without(part, apart)) for part in history.chunks(*columns, start=start)]
    return Refreshed(sum(one.rows for one in done), sum(one.valid for one in done), sum(one.clipped for one in done))


def is_apart(ids: Ints, apart: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Returns (n,) bool, True for ids that lie in one of the stretches.

    Args:
        ids: (n,).
        apart: (first id, id after the last) of each.
    """
    found = np.zeros(len(ids), dtype=bool)
    for low, high in apart:
        found |= (ids >= low) & (ids < high)
    return found


def _without(part: dict[str, NDArray[Any]], apart: Sequence[tuple[int, int]]) -> dict[str, NDArray[Any]]:
    """Returns rows of a history without those whose ids lie in one of the stretches."""
    out = is_apart(part["id"], apart)
    return {name: values[~out] for name, values in part.items()} if out.any() else part


def add(placement: Placement, rows: Mapping[str, NDArray[Any]]) -> Refreshed:
    """Places candidates that were evaluated before.

    Args:
        placement: where.
        rows: their columns as a history has them: id (n,), features (n, d), and solution (n, …) where the archive does
            not hold ids.
    """
    _, objective, measures = measure(placement, rows["features"])
    valid = np.isfinite(objective) & np.isfinite(measures).all(axis=1)
    good = valid & (objective >= placement.least)
    if not good.all():
        rows = {name: values[good] for name, values in rows.items()}
        objective, measures = objective[good], measures[good]
    clipped = 0
    if len(objective):
        placement.archive.add(
            rows["id"] if placement.holds_ids else rows["solution"], objective, measures, id=rows["id"]
        )
        low, high = (getattr(placement.archive, name, None) for name in ("lower_bounds", "upper_bounds"))
        if low is not None and high is not None:
            clipped = int(np.count_nonzero(((measures < low) | (measures > high)).any(axis=1)))
    return Refreshed(len(good), int(np.count_nonzero(valid)), clipped)


def reevaluate(
    search: Search, placement: Placement, *, times: int, rng: np.random.Generator
) -> tuple[Elites, Floats, Floats]:
    """Evaluates every elite again under fresh seeds, for objectives or measures that are noisy.

    Args:
        search: the domain and encoder.
        placement: whose elites.
        times: evaluations of each elite.
        rng: source of the fresh seeds.

    Returns:
        The e elites; (times, e) objectives; (times, e, k) measures. NaN = that evaluation failed.
    """
    if times < 1:
        raise ValueError(f"times must be at least 1, got {times}")
    found = elites(placement)
    objectives, measured = [], []
    for _ in range(times):
        seeds = rng.integers(2**63, size=len(found), dtype=np.uint64)
        artifacts, errors = render(search.domain, found.solutions, seeds, search.failures)
        _, objective, measures = measure(placement, encode(search.encoder, artifacts, errors))
        objectives.append(objective)
        measured.append(measures)
    return found, np.stack(objectives), np.stack(measured)


def present(search: Search, solutions: Solutions, ids: Ints) -> list[str | bytes | NDArray[np.uint8]]:
    """Returns what people look at, one per candidate, rendered again under the candidates' own seeds.

    Raises:
        RuntimeError: One cannot be rendered; says which.
    """
    artifacts, errors = render(search.domain, solutions, candidate_seeds(search.seed, ids), search.failures)
    failed = [row for row, error in enumerate(errors) if error is not None]
    if failed:
        raise RuntimeError(f"candidates {listed(ids[failed])} cannot be rendered; the first: {errors[failed[0]]}")
    with search.failures.watch("present"):
        return [search.domain.present(artifact) for artifact in artifacts]


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def candidate_seeds(seed: int, ids: Ints) -> NDArray[np.uint64]:
    """Returns (n,) seeds that depend on the run's seed and each candidate's id alone, all different within a run.

    They are spread over 64 bits (a Weyl sequence), not random themselves: give them to a generator that mixes its
    seed, as numpy's and torch's do.
    """
    seeds = ids.astype(np.uint64)
    seeds += _offset(seed)
    seeds *= _GOLDEN
    return seeds


@lru_cache
def _offset(seed: int) -> np.uint64:
    return np.uint64(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])


def render(
    domain: Domain, solutions: Solutions, seeds: Ints, failures: Failures | None = None
) -> tuple[Artifacts, Sequence[str | None]]:
    """Returns n artifacts and n reasons for failure, whatever single candidates do.

    A domain that raises for the whole batch is asked again candidate by candidate, so that one bad
    solution costs its own row only. The tracebacks of what it raises go to `failures`.

    Raises:
        ValueError: The domain returned another number of artifacts or errors than it was given solutions.
    """
    n = len(solutions)
    try:
        artifacts, errors = domain.render(solutions, seeds)
    except Exception as error:  # noqa: BLE001 - any failure of one candidate is a row of data
        if n == 1:
            if failures is not None:
                failures.note(error, f"render, seed {int(seeds[0])},")
            return [None], [f"{type(error).__name__}: {error}"]
        artifacts = None
    if artifacts is None:
        singles = [render(domain, solutions[i : i + 1], seeds[i : i + 1], failures) for i in range(n)]
        return [part[0] for part, _ in singles], [reason[0] for _, reason in singles]
    if len(artifacts) != n or len(errors) != n:
        raise ValueError(f"render must return {n} artifacts and {n} errors, got {len(artifacts)} and {len(errors)}")
    return artifacts, errors


def _render_made(search: Search, proposal: Proposal, seeds: Ints) -> tuple[Artifacts, Sequence[str | None]]:
    """Returns artifacts and errors of a proposal; what could not be made never reaches the domain."""
    if proposal.errors is None:
        return render(search.domain, proposal.solutions, seeds, search.failures)
    reasons = list(proposal.errors)
    if len(reasons) != len(proposal):
        raise ValueError(f"proposal.errors must be {len(proposal)} reasons, got {len(reasons)}")
    made = [i for i, reason in enumerate(reasons) if reason is None]
    artifacts: list[Any] = [None] * len(proposal)
    if made:
        rendered, errors = render(search.domain, proposal.solutions[made], seeds[made], search.failures)
        for i, artifact, error in zip(made, rendered, errors, strict=True):
            artifacts[i], reasons[i] = artifact, error
    return artifacts, reasons


def encode(encoder: Encoder, artifacts: Artifacts, errors: Sequence[str | None]) -> Floats:
    """Returns (n, d) float32 features; rows of artifacts that failed are NaN and never reach the encoder.

    Raises:
        ValueError: The encoder returned another shape.
    """
    n, d = len(artifacts), len(encoder.names)
    good = [i for i in range(n) if errors[i] is None] if errors.count(None) < n else None
    if good is not None and not good:
        return np.full((n, d), np.nan, dtype=np.float32)
    if good is not None:
        kept = [artifacts[i] for i in good]
        artifacts = np.stack(kept) if isinstance(kept[0], np.ndarray) else kept
    features = np.asarray(encoder.encode(artifacts), dtype=np.float32)
    if features.shape != (len(artifacts), d):
        raise ValueError(f"encode must return shape {(len(artifacts), d)}, got {features.shape}")
    if good is None:
        return features
    scattered = np.full((n, d), np.nan, dtype=np.float32)
    scattered[good] = features
    return scattered


def _explain(
    errors: Sequence[str | None], valid: NDArray[np.bool_], features: Floats, names: Sequence[str]
) -> list[str | None]:
    """Returns the errors with a reason for every row that is not valid."""
    reasons = list(errors)
    for row in np.flatnonzero(~valid):
        if reasons[row] is None:
            missing = [name for name, value in zip(names, features[row], strict=True) if not np.isfinite(value)]
            reasons[row] = f"could not be measured: {', '.join(missing) or 'score or measures not finite'}"
    return reasons
