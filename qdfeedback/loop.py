"""A whole run: the first population, steps, what is learned along it, checkpoints, the end.

    loop = Loop(run, Search(domain, encoder, generator, seed, run.failures), axes, quality, archives.grid((), (20, 20)),
                evaluations=10_000, curves=Curves(), bar=Bar("arm"))
    for batch in loop:
        print(batch.iteration, len(loop.placement.archive))
    loop.finish({"elites": len(loop.elites())})

An iteration is: learned parts that are due ask, fit, and the candidates are placed anew, once for all that changed;
`step`; the history; ranges; stopping rules; what the body of the `for` does; a checkpoint. A run that goes on begins
after its last checkpoint, and ends as one that was never stopped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import numpy as np

from qdfeedback import archives, metrics, runs
from qdfeedback.bounds import Bounds, Count, Seed, check
from qdfeedback.curves import Curves
from qdfeedback.feedback.refit_names import refit_name
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import end_study
from qdfeedback.history import History
from qdfeedback.learning.known import KnownQuality
from qdfeedback.learning.part import AxesPart, Moment, Now, Part, QualityPart, View
from qdfeedback.learning.placing import placed, ranges_of
from qdfeedback.learning.schedule import iterations_of
from qdfeedback.loop_state import Stateful, restore_state, state_of
from qdfeedback.progress import Bar
from qdfeedback.put_forward import FromArchive, PutForward
from qdfeedback.run_parts import note_parts
from qdfeedback.runs import Run
from qdfeedback.search import NothingEvaluatedError, Search, elites, measure, reevaluate, refresh, start, step
from qdfeedback.stopping import Stop
from qdfeedback.types import Batch, Elites, Floats, Ints, Placement, Quality, Scores, Solutions, mean_objective

CLIPPED = 0.01
"""Share of new candidates outside the ranges from which these grow."""
_LOOK = 10  # iterations between two looks at it


@dataclass
class Loop:
    """A run, as an iterator of its batches; the checkpoint of an iteration is written when the next one is asked for.

    Attributes:
        run: the folder, new or to be gone on with.
        search: domain, encoder, generator, seed.
        axes: what is different (`learning.known`, `learning.axes`, `learning.published`).
        quality: what is good, fixed or learned (`learning.preferences`).
        archive: builds archives.
        evaluations: candidates in all; those that a part has evaluated to be judged alone come on top.
        batch_size: candidates in an iteration.
        first: in the first population; a batch if not given.
        initial: (n, rng) → the first population, in place of the domain's.
        objective: scores → (n,) what the archive maximises.
        floor: share of the first population that is too poor for the archive: what is below their quantile of the
            objective is no elite.
        archive_seed: of every archive; None = drawn anew for each.
        checkpoint_every: iterations.
        shows: keep what every candidate looks like.
        stopping: rules that end it early.
        follow: name → a further placement in a space of its own, which `followed` brings up to date.
        stateful: name → a piece whose state is kept in the checkpoints.
        puts_forward: what the result is.
        store: of answers, to be closed when the run is finished.
        curves: figures along it.
        bar: shows how far it is.
        report: leaves pictures in the folder, and returns the figures of the summary.
        placement: the present one, from the first iteration on.
    """

    run: Run
    search: Search
    axes: AxesPart
    quality: Quality | QualityPart
    archive: archives.Build
    evaluations: Count
    batch_size: Count = 100
    first: Count | None = None
    initial: Callable[[int, np.random.Generator], Solutions] | None = None
    objective: Callable[[Scores], Floats] = mean_objective
    floor: Annotated[float, Bounds(0, below=1)] = 0.0
    archive_seed: Seed | None = None
    checkpoint_every: Count = 1
    shows: bool = False
    stopping: Sequence[Stop] = ()
    follow: Mapping[str, Placement] = field(default_factory=dict)
    stateful: Mapping[str, Stateful] = field(default_factory=dict)
    puts_forward: PutForward = FromArchive()  # noqa: RUF009 - frozen
    store: Store | None = None
    curves: Curves | None = None
    bar: Bar = field(default_factory=lambda: Bar(quiet=True))
    report: Callable[[Loop], dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check(self, "")
        self.rng = np.random.default_rng(self.search.seed)
        self.view = View(self.run, self.search, self.rng, self._quality, self.objective)
        self.offered = 0  # candidates that could enter the archive
        self.last = -1  # the iteration that was finished last
        self.over = ""  # why a rule has ended it
        self._outside: tuple[float, list[Floats]] = (0.0, [])  # a moving average, and measures it does not know yet
        self._written = -1  # the iteration of the newest checkpoint
        self.firsts = 0  # candidates of the first population
        self._followed = dict.fromkeys(self.follow, 0)
        self.ranges: Floats | None = None  # of the present archive, (k, 2)
        self._fixed: tuple[tuple[int, ...], list[dict[str, Any]]] | None = None  # figures in one space, and of when
        if taken := [name for name in self.stateful if name in self.own_pieces()]:
            raise ValueError(f"stateful: the loop keeps a piece of its own under {taken[0]!r}; choose another name")

    # --- what can be read

    @property
    def history(self) -> History:
        """Every candidate."""
        return self.run.history

    @property
    def placement(self) -> Placement:
        """The present placement.

        Raises:
            RuntimeError: There are no axes yet.
        """
        if self.view.placement is None:
            raise RuntimeError("there is no placement before the first iteration: take a batch from the loop first")
        return self.view.placement

    @property
    def parts(self) -> tuple[Part, ...]:
        """The axes and the quality, learned or known."""
        return self.axes, self._good

    @property
    def _good(self) -> QualityPart:
        return self.quality if hasattr(self.quality, "due") else KnownQuality(self.quality)  # type: ignore[return-value]

    @property
    def answers(self) -> int:
        """How many answers the present models know, all parts together."""
        return sum(part.tally.answers for part in self.parts if hasattr(part, "tally"))

    @property
    def clipped(self) -> float:
        """Moving average of the share of new candidates outside the ranges."""
        average, waiting = self._outside
        if waiting:  # several at once: it costs less
            for share in archives.shares_outside(waiting, self.placement.archive):
                average += 0.1 * (share - average)
            self._outside = (average, [])
        return average

    @clipped.setter
    def clipped(self, value: float) -> None:
        self._outside = (value, [])

    def elites(self) -> Elites:
        """Returns what the archive holds."""
        return elites(self.placement)

    def put_forward(self) -> Ints:
        """Returns the ids of what the run puts forward."""
        return self.puts_forward(self.history, self.placement)

    def corrected(self, times: int) -> metrics.GridScore:
        """Returns the figures of the archive by fresh evaluations of each elite, for noisy objectives or measures."""
        _, objectives, measures = reevaluate(self.search, self.placement, times=times, rng=self.rng)
        fixed = self.axes.placing.ranges
        empty = self.archive(archives.bounds(self.placement.archive) if fixed is None else fixed, 0)
        return metrics.corrected_score(empty, objectives, measures)

    def followed(self, name: str) -> Placement:
        """Returns a further placement with every candidate so far in it."""
        placement = self.follow[name]
        refresh(self.history, placement, start=self._followed[name])
        self._followed[name] = len(self.history)
        return placement

    # --- the run

    def __iter__(self) -> Iterator[Batch]:
        """Gives the batches that are still to be made; when they are over, the run has been placed for its end."""
        self.bar.begin(self.evaluations)
        try:
            self.begin()
            self.bar.at(self.offered)
            yield from self._batches()
            self._end()
        finally:
            self.bar.end()

    def _batches(self) -> Iterator[Batch]:
        while self.offered < self.evaluations and not self.over:
            iteration = self.last + 1
            self._learn(Now(iteration, "before"))
            if self.view.placement is None:
                raise RuntimeError(
                    f"there are no axes before iteration {iteration}: let them ask before iteration 1, or begin "
                    "without answers (Schedule(after=(0,)))"
                )
            n = min(self.batch_size, self.evaluations - self.offered)
            batch = step(
                self.search, self.placement, n=n, first_id=len(self.history), iteration=iteration, rng=self.rng
            )
            self._take_in(batch)
            self._follow_ranges(batch)
            self._learn(Now(iteration, "after"))
            reasons = [rule(batch, self.placement) for rule in self.stopping]  # each looks at every batch
            self.over = "; ".join(reason for reason in reasons if reason)
            figures = ""
            if self.curves is not None and self.curves.due(self):
                figures = self.curves.told(self.curves.add(self))
            self.bar.at(self.offered, figures)
            yield batch
            if self.over or iteration % self.checkpoint_every == 0:
                self.checkpoint()

    def complete(self) -> dict[str, Any]:
        """Runs to the end, and returns the summary."""
        for _ in self:
            pass
        return self.finish()

    def begin(self) -> None:
        """Evaluates the first population, or takes up the last checkpoint; whoever must know the history is told.

        Iterating does it, unless it was done before.
        """
        if self.last >= 0:
            return
        found = self.run.latest()
        if found is None:
            n = self.batch_size if self.first is None else self.first
            solutions = None if self.initial is None else self.initial(n, self.rng)
            first = start(
                self.search, self.view.quality, n, rng=self.rng, solutions=solutions, objective=self.objective
            )
            self._take_in(first)
            self.firsts = self.offered
            self._learn(Now(0, "begin"))
            self._check_schedules()
            needs = self.view.placement is not None and getattr(self.search.generator, "needs_elites", False)
            if needs and self.placement.archive.empty:
                raise NothingEvaluatedError("none of the first candidates has a place on the axes")
            self.checkpoint()
        else:
            self._restore(found)
            self.run.redraw(self.search)
        note_parts(self.run.path, self.history.names, self.axes, self._good, self.objective)
        for piece in (self.search.generator, *self.stateful.values()):
            if hasattr(piece, "recall"):
                piece.recall(self.history)

    def _check_schedules(self) -> None:
        """Refuses a run without an iteration, and warns of questions that would never be asked."""
        iterations = iterations_of(self.evaluations, self.batch_size, self.offered) - 1
        if iterations < 1 and self.view.placement is None:
            raise ValueError(
                f"evaluations must be above the {self.offered} of the first population, got {self.evaluations}"
            )
        for part in self.parts:
            schedule = getattr(part, "schedule", None)
            if schedule is not None and schedule.last > iterations:
                warnings.warn(
                    f"the {part.role} are to ask before iteration {schedule.last}, and the run ends with iteration "
                    f"{iterations}: {schedule.total - schedule.until(iterations)} questions will not be asked",
                    stacklevel=3,
                )

    def _take_in(self, batch: Batch) -> None:
        self.history.append(batch)
        if self.shows:
            self.run.show_batch(self.search, batch)
        self.offered, self.last = self.offered + len(batch), batch.iteration

    def _learn(self, now: Now) -> None:
        """Lets the parts that are due ask and fit, and places the candidates anew, once, where one has changed."""
        due = [part for part in self.parts if part.due(now)]
        if not due:
            return
        asks = now.moment in ("before", "end")
        if asks and any(part.annotator is not None and part.annotator.publishes for part in due):
            self.checkpoint()  # what people are asked about must never be taken back
        for part in due:
            self.bar.say(f"{part.role}: asking")
            part.ask(now, self.view)
        changed = False
        for part in due:
            self.bar.say(f"{part.role}: fitting")
            change = part.fit(now, self.view)
            if change is not None and change.model is not None:
                self.run.save_model(part.role, refit_name(part.role, now.iteration), change.model)
            changed |= change is not None
        self.bar.say("")
        self.view.quality = self._quality
        if changed and (now.moment != "end" or self.axes.placing.end is None):  # else everything is placed once more
            self.place(now.moment)

    def _end(self) -> None:
        self._learn(Now(self.last + 1, "end"))
        if self.axes.placing.end is not None:
            self.place("end")
        self.history.flush(sync=True)

    def rows(self) -> list[dict[str, Any]]:
        """Returns the figures along the run, where something was learned those in one fixed space too.

        That is the space in which it stands now.
        """
        if self.curves is None:
            return []
        if not any(hasattr(part, "model") for part in self.parts):
            return self.curves.rows
        now = (len(self.curves.rows), len(self.history), id(self.view.placement))
        if self._fixed is None or self._fixed[0] != now:  # pictures, the table and the user ask one after another
            self._fixed = (now, self.curves.with_fixed(self, apart=self.view.apart))
        return self._fixed[1]

    def refits(self) -> list[int]:
        """Returns the numbers of evaluations at which something was learned anew, as far as the figures tell."""
        return [] if self.curves is None else self.curves.refits()

    def finish(self, summary: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Writes archive, curves and summary, and closes the run and what it asked people; returns the summary.

        Args:
            summary: figures, as JSON; those of `report` if not given.
        """
        if summary is None:
            summary = {} if self.report is None else self.report(self)
        self.history.flush(sync=True)
        if any(part.annotator is not None and part.annotator.publishes for part in self.parts):
            end_study(self.run.path)
        summary = dict(summary) | ({"stopped": self.over} if self.over else {})
        self.run.save_archive(self.placement)
        if not self.puts_forward.has_map:
            ids = self.put_forward()
            _, objective, measures = measure(self.placement, self.view.features(ids))
            self.run.save_best(self.placement, ids, objective, measures)
        if rows := self.rows():
            self.run.save_curves(rows)
        self.run.save_summary(summary)
        if self.store is not None:
            self.store.close()
        return summary

    # --- placing

    def place(self, moment: Moment = "after") -> None:
        """Places candidates on the present axes, over ranges that fit them."""
        _ = self.clipped  # by the ranges that were
        self.ranges = ranges_of(self.axes, self.view, moment)
        archive = self.archive(self.ranges, self._archive_seed())
        self.view.placement = placed(self.axes, self.view, self._placed_on(archive))

    def _placed_on(self, archive: Any) -> Placement:
        """Returns a placement on the present axes and quality."""
        assert self.axes.diversity is not None, "a part that has changed has measures"
        resolve = partial(self.history.take, column="solution")
        return Placement(self._quality, self.axes.diversity, archive, self.objective, resolve, self._least)

    def _follow_ranges(self, batch: Batch) -> None:
        """Keeps the share of candidates outside the ranges; where it is high, those that may grow are fitted anew."""
        assert self.view.placement is not None
        if not hasattr(self.view.placement.archive, "lower_bounds"):
            return
        self._outside[1].append(np.array(batch.measures))
        if batch.iteration % _LOOK == 0 and self.clipped > CLIPPED and self.axes.placing.grows:
            self.place()
            self.clipped = 0.0

    @property
    def _quality(self) -> Quality:
        return self._good.quality

    @property
    def _least(self) -> float:
        """The objective below which a candidate is no elite."""
        return max(self._good.least, self._floor) if self.floor else self._good.least

    @property
    def _floor(self) -> float:
        scores = self._quality.score(self.history.take(np.arange(self.firsts), "features"))
        return float(np.nanquantile(self.objective(scores), self.floor, method="higher"))

    def _archive_seed(self) -> int:
        return int(self.rng.integers(2**63)) if self.archive_seed is None else self.archive_seed

    def checkpoint(self) -> None:
        """Writes all that the next iteration needs; nothing is done twice."""
        if self._written != self.last:
            arrays, state = runs.capture(self.view.placement, self.search.generator, self.rng)
            self.run.checkpoint(self.last, arrays, state | state_of(self))
            self._written = self.last

    def _restore(self, found: runs.Checkpoint) -> None:
        """Sets everything to where a checkpoint found it.

        Raises:
            ValueError: It is of another run.
        """
        restore_state(self, found)
        self.last = self._written = found.iteration
        self.view.quality = self._quality
        if self.ranges is not None:
            self.view.placement = self._placed_on(self.archive(self.ranges, self.archive_seed or 0))
        runs.restore(found, self.view.placement, self.search.generator, self.rng)

    def own_pieces(self) -> dict[str, Any]:
        """Returns name → what may have a state beside generator, archive and parts."""
        asked = {f"annotator of {part.role}": part.annotator for part in self.parts}
        rules = {f"stopping {i}": rule for i, rule in enumerate(self.stopping)}
        return {"encoder": self.search.encoder, "curves": self.curves} | asked | rules

    def pieces(self) -> dict[str, Stateful]:
        """Returns name → whatever has a state."""
        return {
            name: piece for name, piece in (self.own_pieces() | dict(self.stateful)).items() if hasattr(piece, "state")
        }
