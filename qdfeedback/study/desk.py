"""Who sees which trial next, and what becomes of an answer: the rules of a study, on its database.

Each call is one transaction. A trial is held for a person from the moment it is planned for them until they have been
quiet for `lease_minutes`; a trial that has its answers, or is held by enough people, is planned for nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa

from qdfeedback.feedback.store import append_judgments, utc_now
from qdfeedback.feedback.study import SIDED
from qdfeedback.feedback.tables import judgments, trials
from qdfeedback.study import statements
from qdfeedback.study.allotment import Allotment, marked_items
from qdfeedback.study.register import ENDED, Rater, Register

SIDES = ("left", "right")


class NoAnswerError(ValueError):
    """What was given is no answer to the question."""


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
        self.allotment = Allotment(register)

    # --- trials

    def next(self, rater: Rater) -> Shown | Literal["waiting", "done"]:
        """Returns the first trial that the person has not answered, "done" after the last.

        "waiting" when there is nothing to ask just now: in a live study, and for who has not answered anything yet.
        """
        if rater.stage in ENDED:
            return "done"
        if rater.stage == "practice":
            if self.study.live and not self._is_begun():
                return "waiting"
            for shown in self._practice(rater):
                if self.given(rater, shown) is None:
                    return shown
            rater = self.register.enter(rater, "trials")
        open_ = self._open(rater)
        if open_ is None:
            self.allotment.fill(rater)
            open_ = self._open(rater)
        if open_ is not None:
            return open_
        mine = {"study": self.study.study_id, "rater": rater.rater_id}
        if self.study.live and self.database.value(statements.MAIN, **mine) < self.study.trials_per_rater:
            return "waiting"
        if not self.progress(rater)[0]:
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
        """Keeps an answer; False when there was one already, which stands, or it is not the person's to give any more.

        Args:
            rater: whose.
            shown: the trial.
            choice: "left", "right", "tie" or "skip"; a number for a rating; an option for a label.
            response_ms: how long it took, None = not known.

        Raises:
            NoAnswerError: That is no answer to this trial.
        """
        row = self._judgment(rater, shown, choice)
        row["response_ms"] = response_ms
        this = {"study": self.study.study_id, "rater": rater.rater_id, "at": shown.position}
        with self.database.writing(lock=self.study.study_id) as connection:
            if shown.position < 0:
                here = connection.scalar(self.register.is_taking_part(rater.rater_id)) is not None
                return here and append_judgments(self.database, connection, [row]) == 1
            planned = connection.execute(statements.PLANNED, this).first()
            if planned is None or planned.answered or planned.trial_id != shown.trial_id:
                return False
            row["shown_utc"] = planned.shown_utc
            held = self.register.is_there(planned.active_until)
            if shown.kind == "main" and not held and self.allotment.is_full(connection, rater, shown.trial_id):
                row["kind"] = "surplus"  # the trial was given to another while this person was away
            new = append_judgments(self.database, connection, [row]) == 1
            connection.execute(statements.ANSWERED, this)
            self._welcome(connection, rater, planned.active_until)
        return new

    def progress(self, rater: Rater) -> tuple[int, int]:
        """Returns how many trials the person has answered, of how many."""
        (found,) = self.database.rows(statements.DONE, study=self.study.study_id, rater=rater.rater_id)
        done = int(found["done"] or 0)
        return done, max(self.longest() if self.study.live else int(found["planned"]), done)

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
        main, catch = self.study.trials_per_rater, self.study.catch_per_rater
        if not self.study.live:
            query = sa.select(trials.c.kind, sa.func.count().label("n")).where(trials.c.study_id == self.study.study_id)
            found = {row["kind"]: int(row["n"]) for row in self.database.rows(query.group_by(trials.c.kind))}
            main, catch = min(main, found.get("main", 0)), min(catch, found.get("catch", 0))
        return main + catch + round(self.study.repeats * main)

    def practice_left(self, rater: Rater | None = None) -> int:
        """Returns how many practice trials a person has still before them; of somebody new, all that there are."""
        if rater is not None:
            mine = self._practice(rater) if rater.stage in ("warning", "practice") else []
            return sum(self.given(rater, shown) is None for shown in mine)
        this = trials.c.study_id == self.study.study_id, trials.c.kind == "practice"
        found = self.database.value(sa.select(sa.func.count()).select_from(trials).where(*this))
        return self.study.practice if self.study.live and not self._is_begun() else min(found, self.study.practice)

    def has_answered(self, rater: Rater) -> bool:
        """True where an answer of the person is kept, be it to a practice trial."""
        mine = judgments.c.study_id == self.study.study_id, judgments.c.annotator_id == rater.rater_id
        person = judgments.c.annotator_kind == "person"
        return self.database.value(sa.select(judgments.c.id).where(*mine, person).limit(1)) is not None

    def has_marked(self) -> bool:
        """True where some items are marked as sensitive."""
        return self.database.value(marked_items(self.study.study_id).limit(1)) is not None

    # --- within

    def _is_begun(self) -> bool:
        """True where something is asked already."""
        asked = sa.select(trials.c.number).where(trials.c.study_id == self.study.study_id)
        return self.database.value(asked.limit(1)) is not None

    def _practice(self, rater: Rater) -> list[Shown]:
        query = sa.select(trials).where(*self.allotment.visible(rater, "practice"))
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
            for trial_id in connection.scalars(statements.UNANSWERED, mine).all():
                if self.allotment.is_full(connection, rater, trial_id):
                    connection.execute(statements.DROPPED, mine | {"trial": trial_id})
        self.register.keep(connection, rater.rater_id, active_until)

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
        if question.task in SIDED and choice in (*SIDES, *(("tie",) if question.tie else ())):
            row["winner_id"] = {"left": shown.left, "right": shown.right, "tie": None}[choice]
        elif question.task == "rating" and choice in question.steps:
            row |= {"choice": "value", "value": float(choice)}
        elif question.task == "label" and choice in question.options:
            row |= {"choice": "label", "label": choice}
        else:
            raise NoAnswerError(f"{choice!r} is no answer to this question")
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
