"""Which trials a person gets: those that want answers most, in an order and on sides of the person's own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import sqlalchemy as sa

from qdfeedback.feedback.study import SIDED
from qdfeedback.feedback.tables import assignments, items, judgments, raters, trials
from qdfeedback.study.plan import Slot, plan, rng_of
from qdfeedback.study.register import Rater, Register

AHEAD = 3
"""Main trials that a person of a live study holds at once: what a batch asks is for all who are there."""

Pools = dict[str, list[Any]]
"""Kind → trials that a person could get, as (trial id, question), the first one next."""


def marked_items(study_id: str) -> sa.Select[Any]:
    """Returns the query for the items that are marked as sensitive."""
    return sa.select(items.c.item_id).where(items.c.study_id == study_id, items.c.sensitive == 1)


def counting(study_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Returns the conditions for judgments that count against a trial's quota."""
    return (
        judgments.c.study_id == study_id,
        judgments.c.kind == "main",
        judgments.c.annotator_kind == "person",
        judgments.c.choice != "skip",
    )


class Allotment:
    """Hands out the trials of one study.

    Args:
        register: its people, its settings, its database.
    """

    def __init__(self, register: Register) -> None:
        self.register = register
        self.study = register.study
        self.database = register.database

    def fill(self, rater: Rater) -> None:
        """Plans trials for a person, as many as they may still have and as want answers.

        In a live study a plan is made once for all trials to come, and filled as far as there are some; in any other it
        is made for the trials that there are, and another one for those that others have left since.
        """
        with self.database.writing(lock=self.study.study_id) as connection:
            mine = connection.execute(_MINE, {"study": self.study.study_id, "rater": rater.rater_id}).all()
            if connection.scalar(self.register.is_taking_part(rater.rater_id)) is None:
                return  # they have left, or were removed, meanwhile
            pools = {
                "main": self._main_pool(connection, rater, {row.trial_id for row in mine if row.kind == "main"}),
                "catch": self._catch_pool(connection, rater, {row.trial_id for row in mine if row.kind == "catch"}),
            }
            slots, first = self._slots(connection, rater, mine, pools)
            rows = self._filled(rater, slots, first, mine, pools)
            if rows:
                connection.execute(self.database.insert_new(assignments), rows)
            self.register.keep(connection, rater.rater_id, rater.active_until)

    def _slots(self, connection: sa.Connection, rater: Rater, mine: Any, pools: Pools) -> tuple[list[Slot], int]:
        """Returns a plan, and the position of its first slot."""
        wanted, catch = self.study.trials_per_rater, self.study.catch_per_rater
        if self.study.live:
            return plan(self.study, rater.rater_id, main=wanted, catch=catch), 0
        main = min(wanted - sum(row.kind == "main" for row in mine), len(pools["main"]))
        if main <= 0:
            return [], 0
        wanted = min(wanted, self._count(connection, rater))
        catch = 0 if mine else min(-(-catch * main // wanted), len(pools["catch"]))  # fewer where little is to be done
        first = max((row.position for row in mine), default=-1) + 1
        return plan(self.study, rater.rater_id, main=main, catch=catch), first

    def _filled(self, rater: Rater, slots: list[Slot], first: int, mine: Any, pools: Pools) -> list[dict[str, Any]]:
        taken = {row.position for row in mine}
        new: dict[int, tuple[str, str, str]] = {}  # position → trial id, question, kind
        repeats = []
        ahead = AHEAD if self.study.live else len(slots)
        for position, slot in enumerate(slots, first):
            if position in taken:
                continue
            if slot.kind == "repeat":
                assert slot.repeats is not None, "a repeat is of something"
                repeats.append((position, first + slot.repeats))
            elif slot.kind == "main" and (not pools["main"] or not ahead):
                break  # what lies behind waits for more trials
            elif pools[slot.kind]:
                new[position] = (*pools[slot.kind].pop(0), slot.kind)
                ahead -= slot.kind == "main"
        swapped = self._sides(rater, mine, new)
        shown = {row.position: (row.trial_id, row.swapped) for row in mine}
        shown |= {position: (trial, swapped[position]) for position, (trial, _, _) in new.items()}
        rows = [(position, trial, kind, swapped[position]) for position, (trial, _, kind) in new.items()]
        for position, original in repeats:
            if original in shown:
                rows.append((position, shown[original][0], "repeat", not shown[original][1]))
        return [
            {
                "study_id": self.study.study_id, "rater_id": rater.rater_id, "position": position, "trial_id": trial,
                "kind": kind, "swapped": side, "shown_utc": None, "answered": False,
            }
            for position, trial, kind, side in rows
        ]  # fmt: skip

    def _sides(self, rater: Rater, mine: Any, new: dict[int, tuple[str, str, str]]) -> dict[int, bool]:
        """Returns for each new position whether the trial's second item stands left.

        Of each question, and of all together, as many are swapped as not, or one more or less; what the person has
        already counts. A single thing has no sides.
        """
        found = dict.fromkeys(new, False)
        two = {question.name for question in self.study.questions if question.task in SIDED}
        for kind in ("main", "catch"):
            excess = Counter[str]()  # question → swapped less not swapped
            for row in mine:
                excess[row.question] += (2 * row.swapped - 1) * (row.kind == kind and row.question in two)
            by_question: dict[str, list[int]] = {}
            for position, (_, question, own) in new.items():
                if own == kind and question in two:
                    by_question.setdefault(question, []).append(position)
            odd = [name for name, places in by_question.items() if (len(places) - excess[name]) % 2]
            for name in sorted(by_question, key=lambda name: name in odd):  # the odd ones even out the whole
                places = by_question[name]
                rng = rng_of(self.study, rater.rater_id, "sides", kind, name, str(places[0]))
                more = 0 if name not in odd else int(np.sign(-excess.total())) or int(rng.choice((-1, 1)))
                n = min(max((len(places) - excess[name] + more) // 2, 0), len(places))
                chosen = set(rng.permutation(places)[:n].tolist())
                found |= {place: place in chosen for place in places}
                excess[name] += 2 * n - len(places)
        return found

    def has_room(self) -> bool:
        """True where a trial wants answers that nobody is about to give."""
        held = self._counted()
        want = sa.func.coalesce(held.c.n, 0) < self.study.raters_per_trial
        query = sa.select(trials.c.number).select_from(trials.outerjoin(held, held.c.trial_id == trials.c.trial_id))
        main = trials.c.study_id == self.study.study_id, trials.c.kind == "main"
        return self.database.value(query.where(*main, want).limit(1)) is not None

    def can_come_free(self, rater: Rater | None = None) -> bool:
        """True where a trial, that the person may see, has fewer answers than it is to have, whoever holds it."""
        answered = self._answered().subquery()
        given = sa.select(answered.c.trial_id, sa.func.count().label("n")).group_by(answered.c.trial_id).subquery()
        query = sa.select(trials.c.number).select_from(trials.outerjoin(given, given.c.trial_id == trials.c.trial_id))
        want = sa.func.coalesce(given.c.n, 0) < self.study.raters_per_trial
        main = [trials.c.study_id == self.study.study_id, trials.c.kind == "main"]
        if rater is not None:
            main = self.visible(rater, "main")
        return self.database.value(query.where(*main, want).limit(1)) is not None

    def _counted(self) -> sa.Subquery:
        """Returns for each trial that anybody counts against how many do."""
        held = self._holding().subquery()
        return sa.select(held.c.trial_id, sa.func.count().label("n")).group_by(held.c.trial_id).subquery()

    def visible(self, rater: Rater, kind: str) -> list[sa.ColumnElement[bool]]:
        """Returns the conditions for trials, of a kind, that the person may see."""
        conditions: list[sa.ColumnElement[bool]] = [trials.c.study_id == self.study.study_id, trials.c.kind == kind]
        if rater.filtered:
            marked = marked_items(self.study.study_id)
            conditions += [
                sa.or_(column.is_(None), column.not_in(marked))
                for column in (trials.c.anchor_id, trials.c.a_id, trials.c.b_id)
            ]
        return conditions

    def hide(self, rater: Rater) -> None:
        """Takes back what was planned for a person, and not answered, that they do not want to see any more."""
        seen = [sa.and_(*self.visible(rater, kind)) for kind in ("main", "catch")]
        with self.database.writing(lock=self.study.study_id) as connection:
            connection.execute(
                sa.delete(assignments).where(
                    assignments.c.study_id == self.study.study_id,
                    assignments.c.rater_id == rater.rater_id,
                    sa.not_(assignments.c.answered),
                    assignments.c.trial_id.not_in(sa.select(trials.c.trial_id).where(sa.or_(*seen))),
                )
            )

    def is_full(self, connection: sa.Connection, rater: Rater, trial_id: str) -> bool:
        """True where others have answered a trial, or hold it, as often as it is wanted."""
        held = self._holding(trial_id).subquery()
        others = sa.select(sa.func.count()).select_from(held).where(held.c.rater_id != rater.rater_id)
        return int(connection.scalar(others) or 0) >= self.study.raters_per_trial

    def _holding(self, trial_id: str | None = None) -> sa.CompoundSelect[Any]:
        """Returns who counts against which trial's quota: who answered it, and who is there and has it planned.

        An answer counts wherever it was given; a skipped trial does not.
        """
        this, answered = self.study.study_id, self._answered()
        rater = sa.and_(raters.c.study_id == assignments.c.study_id, raters.c.rater_id == assignments.c.rater_id)
        planned = (
            sa.select(assignments.c.trial_id, assignments.c.rater_id)
            .select_from(assignments.join(raters, rater))
            .where(
                assignments.c.study_id == this,
                assignments.c.kind == "main",
                sa.not_(assignments.c.answered),
                self.register.are_there(),
                raters.c.stage.in_(("practice", "trials")),
            )
        )
        if trial_id is not None:
            answered = answered.where(judgments.c.trial_id == trial_id)
            planned = planned.where(assignments.c.trial_id == trial_id)
        return answered.union(planned)

    def _answered(self) -> sa.Select[Any]:
        """Returns who has answered which trial."""
        who = judgments.c.annotator_id.label("rater_id")
        return sa.select(judgments.c.trial_id, who).where(*counting(self.study.study_id))

    def _main_pool(self, connection: sa.Connection, rater: Rater, mine: set[str]) -> list[Any]:
        """Returns trials that want answers, those with the fewest first, in an order of the person's own."""
        counted = self._counted()
        n = sa.func.coalesce(counted.c.n, 0)
        found = connection.execute(
            sa.select(trials.c.trial_id, trials.c.question, n)
            .select_from(trials.outerjoin(counted, counted.c.trial_id == trials.c.trial_id))
            .where(*self.visible(rater, "main"), n < self.study.raters_per_trial)
            .order_by(trials.c.number)
        ).all()
        order = rng_of(self.study, rater.rater_id, "order").random(len(found))
        ranked = sorted(zip(found, order, strict=True), key=lambda pair: (pair[0][2], pair[1]))
        answered = sa.select(judgments.c.trial_id).where(
            judgments.c.study_id == self.study.study_id, judgments.c.annotator_id == rater.rater_id
        )
        mine = mine | set(connection.scalars(answered))
        return [(trial, question) for (trial, question, _), _ in ranked if trial not in mine]

    def _count(self, connection: sa.Connection, rater: Rater) -> int:
        """Returns how many main trials there are for the person, whoever has answered them."""
        every = sa.select(sa.func.count()).select_from(trials).where(*self.visible(rater, "main"))
        return int(connection.scalar(every) or 0)

    def _catch_pool(self, connection: sa.Connection, rater: Rater, mine: set[str]) -> list[Any]:
        visible = sa.select(trials.c.trial_id, trials.c.question).where(*self.visible(rater, "catch"))
        found = connection.execute(visible.order_by(trials.c.number)).all()
        order = rng_of(self.study, rater.rater_id, "catch").permutation(len(found))
        return [tuple(found[i]) for i in order if found[i].trial_id not in mine]


_MINE = (
    sa.select(
        assignments.c.position, assignments.c.trial_id, assignments.c.kind, assignments.c.swapped, trials.c.question
    )
    .select_from(
        assignments.join(
            trials, sa.and_(trials.c.study_id == assignments.c.study_id, trials.c.trial_id == assignments.c.trial_id)
        )
    )
    .where(assignments.c.study_id == sa.bindparam("study"), assignments.c.rater_id == sa.bindparam("rater"))
)
