"""Who sees which trial next, and what becomes of an answer: the rules of a study, on its database.

Each call is one transaction. A trial is held for a person from the moment it is planned for them until they have been
quiet for `lease_minutes`; a trial that has its answers, or is held by enough people, is planned for nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from qdfeedback.feedback.store import append_judgments, utc_now
from qdfeedback.feedback.tables import assignments, items, judgments, raters, trials
from qdfeedback.study.plan import Slot, plan, rng_of
from qdfeedback.study.register import Rater, Register

SIDES = ("left", "right")
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
        answered: an answer is there already.
    """

    position: int
    trial_id: str
    kind: str
    question: str
    anchor: str | None
    left: str
    right: str | None
    expected: str | None
    answered: bool


class Desk:
    """The trials of one study.

    Args:
        register: its people, its settings, its database.
    """

    def __init__(self, register: Register) -> None:
        self.register = register
        self.study = register.study
        self.database = register.database

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
        found = self._assigned(rater, assignments.c.position == position)
        return found[0] if found else None

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
        this = self._place(rater, shown)
        with self.database.writing(lock=self.study.study_id) as connection:
            planned = connection.execute(
                sa.select(assignments.c.answered, assignments.c.shown_utc).where(*this)
            ).first()
            if planned is not None and planned.answered:
                return False
            row["shown_utc"] = planned.shown_utc if planned is not None else None
            if shown.kind == "main" and self._held_by_others(connection, rater, shown) >= self.study.raters_per_trial:
                row["kind"] = "surplus"  # the trial was given to another while this person was away
            new = append_judgments(self.database, connection, [row]) == 1
            connection.execute(sa.update(assignments).where(*this).values(answered=True))
            self.register.keep(connection, rater)
        return new

    def progress(self, rater: Rater) -> tuple[int, int]:
        """Returns how many trials the person has answered, of how many."""
        done = self.database.value(
            sa.select(sa.func.count())
            .select_from(assignments)
            .where(
                assignments.c.study_id == self.study.study_id,
                assignments.c.rater_id == rater.rater_id,
                assignments.c.answered,
            )
        )
        return int(done), max(len(self._plan(rater)), int(done))

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
        main = self.study.trials_per_rater
        if not self.study.live:
            main = min(main, self._count(EVERYBODY, "main"))
        return main + self.study.catch_per_rater + round(self.study.repeats * main)

    def has_marked(self) -> bool:
        """True where some items are marked as sensitive."""
        marked = sa.select(items.c.item_id).where(items.c.study_id == self.study.study_id, items.c.sensitive == 1)
        return self.database.value(marked.limit(1)) is not None

    # --- within

    def _plan(self, rater: Rater) -> list[Slot]:
        if self.study.live:  # more trials will come
            return plan(self.study, rater.rater_id)
        main = min(self.study.trials_per_rater, self._count(rater, "main"))
        catch = min(self.study.catch_per_rater, self._count(rater, "catch"))
        return plan(self.study, rater.rater_id, main=main, catch=catch)

    def _count(self, rater: Rater, kind: str) -> int:
        query = sa.select(sa.func.count()).select_from(trials)
        return int(self.database.value(query.where(*self._for(rater, kind))))

    def _for(self, rater: Rater, kind: str) -> list[sa.ColumnElement[bool]]:
        """Returns the conditions for trials of a kind that the person may see."""
        conditions: list[sa.ColumnElement[bool]] = [trials.c.study_id == self.study.study_id, trials.c.kind == kind]
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
        return [_shown(row, -1 - i, "practice", swapped=bool(i % 2), answered=False) for i, row in enumerate(rows)]

    def _assigned(self, rater: Rater, *where: sa.ColumnElement[bool]) -> list[Shown]:
        joined = assignments.join(
            trials,
            sa.and_(trials.c.study_id == assignments.c.study_id, trials.c.trial_id == assignments.c.trial_id),
        )
        query = (
            sa.select(
                trials,
                assignments.c.position,
                assignments.c.kind.label("own_kind"),
                assignments.c.swapped,
                assignments.c.answered,
            )
            .select_from(joined)
            .where(assignments.c.study_id == self.study.study_id, assignments.c.rater_id == rater.rater_id, *where)
            .order_by(assignments.c.position)
        )
        return [
            _shown(row, row["position"], row["own_kind"], swapped=row["swapped"], answered=row["answered"])
            for row in self.database.rows(query)
        ]

    def _open(self, rater: Rater) -> Shown | None:
        """Returns the person's first open trial; those that others have filled meanwhile are dropped."""
        for shown in self._assigned(rater, sa.not_(assignments.c.answered)):
            this = self._place(rater, shown)
            with self.database.writing(lock=self.study.study_id) as connection:
                full = shown.kind == "main" and (
                    self._held_by_others(connection, rater, shown) >= self.study.raters_per_trial
                )
                if full:
                    connection.execute(sa.delete(assignments).where(*this))
                    continue
                first = sa.update(assignments).where(*this, assignments.c.shown_utc.is_(None))
                connection.execute(first.values(shown_utc=utc_now()))
                self.register.keep(connection, rater)
                return shown
        return None

    def _place(self, rater: Rater, shown: Shown) -> tuple[sa.ColumnElement[bool], ...]:
        return (
            assignments.c.study_id == self.study.study_id,
            assignments.c.rater_id == rater.rater_id,
            assignments.c.position == shown.position,
        )

    def _held_by_others(self, connection: sa.Connection, rater: Rater, shown: Shown) -> int:
        held = self._holding(shown.trial_id).subquery()
        others = sa.select(sa.func.count()).select_from(held).where(held.c.rater_id != rater.rater_id)
        return int(connection.scalar(others) or 0)

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
            self.register.keep(connection, rater)

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
            "purpose": self._purpose(shown),
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

    def _purpose(self, shown: Shown) -> str:
        query = sa.select(trials.c.purpose)
        found = query.where(trials.c.study_id == self.study.study_id, trials.c.trial_id == shown.trial_id)
        return str(self.database.value(found))


def _shown(row: Any, position: int, kind: str, *, swapped: bool, answered: bool) -> Shown:
    left, right = (row["b_id"], row["a_id"]) if swapped and row["b_id"] is not None else (row["a_id"], row["b_id"])
    return Shown(
        position, row["trial_id"], kind, row["question"], row["anchor_id"], left, right, row["expected"], answered
    )
