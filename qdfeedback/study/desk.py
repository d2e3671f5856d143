"""Who sees which trial next, and what becomes of an answer: the rules of a study, on its database.

Each call is one transaction. A trial is held for a person from the moment it is planned for them until they have been
quiet for `lease_minutes`; a trial that has its answers, or is held by enough people, is planned for nobody else.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa

from qdfeedback.feedback.store import append_judgments, utc_now
from qdfeedback.feedback.tables import assignments, items, judgments, raters, trials
from qdfeedback.study import statements
from qdfeedback.study.plan import Slot, plan, rng_of
from qdfeedback.study.register import Rater, Register

SIDES = ("left", "right")
COUNTED_FOR = 5.0  # seconds: the number of trials is not counted anew before
EVERYBODY = Rater("", "trials", "")


@dataclass(frozen=True)
class Shown:
    """One trial as a person sees it.

    Attributes:
        position: in the person's order; below 0 for practice.
        trial_id: which.
        kind: main, repeat, catch or practice.
        question: the question's name.
        anchor: item id of the reference, None where there is none.
        left: item id, and the only one where a single thing is judged.
        right: item id or None.
        expected: practice and catch: the item or label that is right.
        purpose: why the search asked.
        answered: an answer is there already.
        seen: it was shown before.
    """

    position: int
    trial_id: str
    kind: str
    question: str
    anchor: str | None
    left: str
    right: str | None
    expected: str | None
    purpose: str
    answered: bool = False
    seen: bool = False


class Desk:
    """The trials of one study.

    Args:
        register: its people, its settings, its database.
    """

    def __init__(self, register: Register) -> None:
        self.register = register
        self.study = register.study
        self.database = register.database
        self._counted: dict[bool, tuple[float, dict[str, int]]] = {}  # by filter: when, and trials of each kind

    # --- trials

    def next(self, rater: Rater) -> Shown | Literal["waiting", "done"]:
        """Returns the first trial that the person has not answered, "done" after the last.

        In a live study, "waiting" when there is nothing to ask just now.
        """
        if rater.stage in ("done", "withdrawn"):
            return "done"
        if rater.stage == "practice":
            for shown in self._practice(rater):
                if self.given(rater, shown) is None:
                    return shown
            rater = self.register.enter(rater, "trials")
        open_ = self._open(rater)
        if open_ is None:
            self._fill(rater)
            open_ = self._open(rater)
        if open_ is not None:
            return open_
        if self.study.live and self.progress(rater)[0] < self.progress(rater)[1]:
            return "waiting"
        self.register.enter(rater, "done")
        return "done"

    def shown(self, rater: Rater, position: int) -> Shown | None:
        """Returns the trial at a place in the person's order."""
        if position < 0:
            practice = self._practice(rater)
            return practice[-1 - position] if -position <= len(practice) else None
        return self._assigned(rater, statements.AT, at=position)

    def answer(self, rater: Rater, shown: Shown, choice: str, *, response_ms: float | None) -> bool:
        """Keeps an answer; False when there was one already, which stands.

        Args:
            rater: whose.
            shown: the trial.
            choice: "left", "right", "tie" or "skip"; a number for a rating; an option for a label.
            response_ms: how long it took, None = not known.

        Raises:
            ValueError: That is no answer to this trial.
        """
        row = self._judgment(rater, shown, choice)
        row["response_ms"] = response_ms
        this = {"study": self.study.study_id, "rater": rater.rater_id, "at": shown.position}
        with self.database.writing(lock=self.study.study_id) as connection:
            planned = connection.execute(statements.PLANNED, this).first()
            if planned is not None and planned.answered:
                return False
            row["shown_utc"] = planned.shown_utc if planned is not None else None
            held = planned is not None and self.register.is_there(planned.active_until)
            if shown.kind == "main" and not held and self._is_full(connection, rater, shown.trial_id):
                row["kind"] = "surplus"  # the trial was given to another while this person was away
            new = append_judgments(self.database, connection, [row]) == 1
            connection.execute(statements.ANSWERED, this)
            self._welcome(connection, rater, planned.active_until if planned is not None else rater.active_until)
        return new

    def progress(self, rater: Rater) -> tuple[int, int]:
        """Returns how many trials the person has answered, of how many."""
        done = self.database.value(statements.DONE, study=self.study.study_id, rater=rater.rater_id)
        main, catch = self._sizes(rater)
        return int(done), max(main + catch + round(self.study.repeats * main), int(done))

    def given(self, rater: Rater, shown: Shown) -> str | None:
        """Returns what a person answered to a trial, as `answer` takes it; None where they have not."""
        query = sa.select(judgments.c.choice, judgments.c.value, judgments.c.label).where(
            judgments.c.study_id == self.study.study_id,
            judgments.c.trial_id == shown.trial_id,
            judgments.c.kind == shown.kind,
            judgments.c.annotator_id == rater.rater_id,
        )
        for row in self.database.rows(query):
            choice: str = row["choice"]
            return {"value": f"{row['value'] or 0:g}", "label": str(row["label"])}.get(choice, choice)
        return None

    def longest(self) -> int:
        """Returns how many trials one person answers at most."""
        main, catch = self._sizes(EVERYBODY)
        return main + catch + round(self.study.repeats * main)

    def has_marked(self) -> bool:
        """True where some items are marked as sensitive."""
        marked = sa.select(items.c.item_id).where(items.c.study_id == self.study.study_id, items.c.sensitive == 1)
        return self.database.value(marked.limit(1)) is not None

    # --- within

    def _plan(self, rater: Rater) -> list[Slot]:
        main, catch = self._sizes(rater)
        return plan(self.study, rater.rater_id, main=main, catch=catch)

    def _sizes(self, rater: Rater) -> tuple[int, int]:
        """Returns how many main and catch trials a person is to see."""
        wanted = self.study.trials_per_rater, self.study.catch_per_rater
        if self.study.live:  # more trials will come
            return wanted
        found = self._counted.get(rater.filtered)
        if found is None or time.monotonic() - found[0] > COUNTED_FOR:
            query = sa.select(trials.c.kind, sa.func.count().label("n")).where(*self._for(rater))
            kinds = {row["kind"]: int(row["n"]) for row in self.database.rows(query.group_by(trials.c.kind))}
            found = time.monotonic(), kinds
            self._counted[rater.filtered] = found
        return min(wanted[0], found[1].get("main", 0)), min(wanted[1], found[1].get("catch", 0))

    def _for(self, rater: Rater, kind: str | None = None) -> list[sa.ColumnElement[bool]]:
        """Returns the conditions for trials, of one kind or all, that the person may see."""
        conditions: list[sa.ColumnElement[bool]] = [trials.c.study_id == self.study.study_id]
        if kind is not None:
            conditions.append(trials.c.kind == kind)
        if rater.filtered:
            marked = sa.select(items.c.item_id).where(items.c.study_id == self.study.study_id, items.c.sensitive == 1)
            conditions += [
                sa.or_(column.is_(None), column.not_in(marked))
                for column in (trials.c.anchor_id, trials.c.a_id, trials.c.b_id)
            ]
        return conditions

    def _practice(self, rater: Rater) -> list[Shown]:
        query = sa.select(trials).where(*self._for(rater, "practice"))
        rows = self.database.rows(query.order_by(trials.c.number).limit(self.study.practice))
        return [_shown(row, -1 - i, "practice", swapped=bool(i % 2)) for i, row in enumerate(rows)]

    def _assigned(self, rater: Rater, query: sa.Select[Any], **values: Any) -> Shown | None:
        """Returns the person's trial that a query finds first."""
        for row in self.database.rows(query, study=self.study.study_id, rater=rater.rater_id, **values):
            return _shown(
                row,
                row["position"],
                row["own_kind"],
                swapped=row["swapped"],
                answered=row["answered"],
                seen=row["shown_utc"] is not None,
            )
        return None

    def _open(self, rater: Rater) -> Shown | None:
        """Returns the person's first open trial; those that others have filled meanwhile are dropped."""
        while (shown := self._assigned(rater, statements.OPEN)) is not None:
            there = self.register.is_there(rater.active_until)
            if there and shown.seen and self.register.is_fresh(rater.active_until):
                return shown
            with self.database.writing(lock=self.study.study_id) as connection:
                self._welcome(connection, rater, rater.active_until)
                if there:
                    place = {"study": self.study.study_id, "rater": rater.rater_id, "at": shown.position}
                    connection.execute(statements.SHOWN, place | {"now": utc_now()})
                    return shown
            rater = replace(rater, active_until=self.register.lease())
        return None

    def _welcome(self, connection: sa.Connection, rater: Rater, active_until: float) -> None:
        """Holds a person's trials again; what others have filled while the person was away is no longer theirs."""
        if not self.register.is_there(active_until):
            mine = {"study": self.study.study_id, "rater": rater.rater_id}
            for position, trial_id in connection.execute(statements.UNANSWERED, mine).all():
                if self._is_full(connection, rater, trial_id):
                    connection.execute(statements.DROPPED, mine | {"at": position})
        self.register.keep(connection, rater.rater_id, active_until)

    def _is_full(self, connection: sa.Connection, rater: Rater, trial_id: str) -> bool:
        """True where others have answered a trial, or hold it, as often as it is wanted."""
        held = self._holding(trial_id).subquery()
        others = sa.select(sa.func.count()).select_from(held).where(held.c.rater_id != rater.rater_id)
        return int(connection.scalar(others) or 0) >= self.study.raters_per_trial

    def _holding(self, trial_id: str | None = None) -> sa.CompoundSelect[Any]:
        """Returns who counts against which trial's quota: who answered it, and who is there and has it planned.

        An answer counts wherever it was given; a skipped trial does not. A lease that ends later than one that began
        now would is of a clock that went back, and is over.
        """
        now, this = self.register.now(), self.study.study_id
        answered = sa.select(judgments.c.trial_id, judgments.c.annotator_id.label("rater_id")).where(
            judgments.c.study_id == this,
            judgments.c.kind == "main",
            judgments.c.annotator_kind == "person",
            judgments.c.choice != "skip",
        )
        rater = sa.and_(raters.c.study_id == assignments.c.study_id, raters.c.rater_id == assignments.c.rater_id)
        planned = (
            sa.select(assignments.c.trial_id, assignments.c.rater_id)
            .select_from(assignments.join(raters, rater))
            .where(
                assignments.c.study_id == this,
                assignments.c.kind == "main",
                sa.not_(assignments.c.answered),
                raters.c.active_until.between(now, now + 60 * self.study.lease_minutes + 1),
                raters.c.stage.in_(("practice", "trials")),
            )
        )
        if trial_id is not None:
            answered = answered.where(judgments.c.trial_id == trial_id)
            planned = planned.where(assignments.c.trial_id == trial_id)
        return answered.union(planned)

    def _fill(self, rater: Rater) -> None:
        """Plans trials for all slots of the person that have none."""
        slots = self._plan(rater)
        with self.database.writing(lock=self.study.study_id) as connection:
            mine = connection.execute(
                sa.select(assignments.c.position, assignments.c.trial_id, assignments.c.kind).where(
                    assignments.c.study_id == self.study.study_id, assignments.c.rater_id == rater.rater_id
                )
            ).all()
            filled = {position: trial for position, trial, _ in mine}
            pools = {
                "main": self._main_pool(connection, rater, {trial for _, trial, kind in mine if kind == "main"}),
                "catch": self._catch_pool(connection, rater, {trial for _, trial, kind in mine if kind == "catch"}),
            }
            rows = []
            for position, slot in enumerate(slots):
                if position in filled:
                    continue
                if slot.kind == "repeat":
                    trial = filled.get(slot.repeats) if slot.repeats is not None else None
                else:
                    trial = pools[slot.kind].pop(0) if pools[slot.kind] else None
                if trial is None:
                    continue
                filled[position] = trial
                rows.append(
                    {
                        "study_id": self.study.study_id,
                        "rater_id": rater.rater_id,
                        "position": position,
                        "trial_id": trial,
                        "kind": slot.kind,
                        "swapped": slot.swapped,
                        "shown_utc": None,
                        "answered": False,
                    }
                )
            if rows:
                connection.execute(self.database.insert_new(assignments), rows)
            self.register.keep(connection, rater.rater_id, rater.active_until)

    def _main_pool(self, connection: sa.Connection, rater: Rater, mine: set[str]) -> list[str]:
        """Returns trials that want answers, those with the fewest first, in an order of the person's own."""
        held = self._holding().subquery()
        counted = sa.select(held.c.trial_id, sa.func.count().label("n")).group_by(held.c.trial_id).subquery()
        n = sa.func.coalesce(counted.c.n, 0)
        found = connection.execute(
            sa.select(trials.c.trial_id, n)
            .select_from(trials.outerjoin(counted, counted.c.trial_id == trials.c.trial_id))
            .where(*self._for(rater, "main"), n < self.study.raters_per_trial)
            .order_by(trials.c.number)
        ).all()
        order = rng_of(self.study, rater.rater_id, "order").random(len(found))
        ranked = sorted(zip(found, order, strict=True), key=lambda pair: (pair[0][1], pair[1]))
        answered = sa.select(judgments.c.trial_id).where(
            judgments.c.study_id == self.study.study_id, judgments.c.annotator_id == rater.rater_id
        )
        mine = mine | set(connection.scalars(answered))
        return [trial for (trial, _), _ in ranked if trial not in mine]

    def _catch_pool(self, connection: sa.Connection, rater: Rater, mine: set[str]) -> list[str]:
        found = connection.scalars(
            sa.select(trials.c.trial_id).where(*self._for(rater, "catch")).order_by(trials.c.number)
        ).all()
        order = rng_of(self.study, rater.rater_id, "catch").permutation(len(found))
        return [found[i] for i in order if found[i] not in mine]

    def _judgment(self, rater: Rater, shown: Shown, choice: str) -> dict[str, Any]:
        question = self.study.question(shown.question)
        row: dict[str, Any] = {
            "study_id": self.study.study_id,
            "trial_id": shown.trial_id,
            "task": question.task,
            "question": question.name,
            "kind": shown.kind,
            "purpose": shown.purpose,
            "anchor_id": shown.anchor,
            "left_id": shown.left,
            "right_id": shown.right,
            "choice": choice,
            "annotator_kind": "person",
            "annotator_id": rater.rater_id,
            "position": shown.position,
            "answered_utc": utc_now(),
        }
        if choice == "skip" and self.study.skip:
            return row
        if question.task in ("triplet", "pair") and choice in (*SIDES, *(("tie",) if question.tie else ())):
            row["winner_id"] = {"left": shown.left, "right": shown.right, "tie": None}[choice]
        elif question.task == "rating" and choice in {
            str(step) for step in range(question.scale[0], question.scale[1] + 1)
        }:
            row |= {"choice": "value", "value": float(choice)}
        elif question.task == "label" and choice in question.options:
            row |= {"choice": "label", "label": choice}
        else:
            raise ValueError(f"{choice!r} is no answer to this question")
        return row


def _shown(row: Any, position: int, kind: str, *, swapped: bool, answered: bool = False, seen: bool = False) -> Shown:
    left, right = (row["b_id"], row["a_id"]) if swapped and row["b_id"] is not None else (row["a_id"], row["b_id"])
    return Shown(
        position=position,
        trial_id=row["trial_id"],
        kind=kind,
        question=row["question"],
        anchor=row["anchor_id"],
        left=left,
        right=right,
        expected=row["expected"],
        purpose=row["purpose"],
        answered=answered,
        seen=seen,
    )
