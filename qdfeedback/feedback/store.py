"""Judgments on disk: append-only, safe with several writing processes, one record for whoever judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from qdfeedback.feedback.database import Database
from qdfeedback.feedback.fingerprints import Fingerprint, fingerprint, lost
from qdfeedback.feedback.records import answered_rows, asked_rows, shown_rows
from qdfeedback.feedback.tables import empty, items, judgments, trials
from qdfeedback.types import Annotator, Answers, Floats, Ints, Queries, width_of
from qdfeedback.values import candidate_in


@dataclass(frozen=True)
class Judged:
    """Decided judgments of one task and one study, in the order they were stored.

    Attributes:
        ids: (t,) int64, the store's own numbers: what a refit remembers as the last it used.
        items: (t, w) int64 candidate ids: anchor, near, far of triplets; better, worse of pairs; what was rated.
        purpose: (t,) str; only "random" ones may measure accuracy.
        value: (t,) the ratings, NaN where the task is another.
    """

    ids: Ints
    items: Ints
    purpose: np.ndarray
    value: Floats

    def __len__(self) -> int:
        return len(self.ids)


class Store:
    """The judgments of any number of studies.

    Args:
        where: a file path for SQLite, an SQLAlchemy URL, or a database that is open.
        create: makes a new store where there is none; without it, as where a run goes on, that is an error.

    Raises:
        ValueError: The place cannot be opened as a store, or nothing is there to be opened.
    """

    def __init__(self, where: Path | str | Database, *, create: bool = True) -> None:
        self.database = where if isinstance(where, Database) else Database(where, create=create)

    def close(self) -> None:
        """Lets go of all connections."""
        self.database.close()

    # --- what is asked

    def publish(self, study: str, queries: Queries, contents: Mapping[int, str], *, question: str) -> int:
        """Makes queries known to the page on which people answer; returns how many were new.

        Args:
            study: which.
            queries: t of them, about committed candidates.
            contents: candidate id → name of the file that shows it.
            question: which of the study's questions; its task must be theirs.
        """
        asked = asked_rows(study, queries, question=question, now=utc_now())
        return self.add_trials(shown_rows(study, queries, contents), asked)

    def add_trials(self, shown: list[dict[str, Any]], asked: list[dict[str, Any]]) -> int:
        """Adds rows of items and trials that are not there yet; returns how many trials were new."""
        with self.database.writing() as connection:
            if shown:
                connection.execute(self.database.insert_new(items), shown)
            if not asked:
                return 0
            return len(connection.execute(self.database.insert_new(trials).returning(trials.c.number), asked).all())

    # --- what was answered

    def add(self, study: str, queries: Queries, answers: Answers, annotator: Annotator) -> int:
        """Appends an annotator's answers to queries; returns how many were new.

        An answer of the same annotator to the same trial is kept once, however often it is handed in.

        Raises:
            ValueError: An answer points outside the queries, its choice is not 0, 1 or -1, or a rating is no number.
        """
        return self.append(answered_rows(study, queries, answers, annotator, now=utc_now()))

    def ask(self, study: str, queries: Queries, annotator: Annotator) -> None:
        """Asks an annotator what has no answer yet, and keeps the answers.

        Args:
            study: which.
            queries: t questions.
            annotator: who answers.
        """
        left = queries.where(~np.isin(queries.uids, list(self.answered(study))))
        if len(left):
            self.add(study, left, annotator.answer(left), annotator)

    def append(self, rows: list[dict[str, Any]]) -> int:
        """Appends records as they are, in one transaction; returns how many were new.

        Args:
            rows: one dict of columns each; (study_id, trial_id, kind, annotator_id) tells a record apart.

        Raises:
            OSError: The store cannot be written; nothing of the call was.
        """
        if not rows:
            return 0
        with self.database.writing() as connection:
            return append_judgments(self.database, connection, rows)

    def triplets(self, study: str, **which: Any) -> Judged:
        """Returns the decided triplets of a study, as `judged` does."""
        return self.judged(study, "triplet", **which)

    def judged(
        self,
        study: str,
        task: str,
        *,
        until: int | None = None,
        without: Collection[str] = (),
        source: str = "",
        people_without: Collection[str] | None = None,
        question: str | None = None,
    ) -> Judged:
        """Returns the decided judgments of a study; ties, repeats, practice and catch trials are left out.

        Args:
            study: which.
            task: "triplet", "pair" or "rating".
            until: no judgment with a higher id, so that a refit can be repeated.
            without: people who are left out, and nobody else.
            source: in a study that joins several runs, the label of the run whose candidates are wanted; judgments
                about candidates of others are left out.
            people_without: people who are left out, with whatever models and simulations said; None = all who answered
                count.
            question: only answers to that one of the study's questions, and those that name none; None = to all.

        Raises:
            ValueError: There is no such task.
        """
        width, query = width_of(task), _decided(study, task)
        if until is not None:
            query = query.where(judgments.c.id <= until)
        if people_without is not None:
            query = query.where(judgments.c.annotator_kind == "person")
        if question is not None:
            query = query.where(sa.or_(judgments.c.question == question, judgments.c.question.is_(None)))
        left_out = {("person", rater) for rater in (*(people_without or ()), *without)}
        found, of = [], []
        for row in self.database.rows(query):
            candidates = [candidate_of(source, item) for item in _in_order(row)]
            if None not in candidates and (row["annotator_kind"], row["annotator_id"]) not in left_out:
                found.append(row)
                of.append(candidates)
        return Judged(
            np.array([row["id"] for row in found], dtype=np.int64),
            np.array(of, dtype=np.int64).reshape(-1, width),
            np.array([row["purpose"] for row in found], dtype=str),
            np.array([row["value"] if task == "rating" else np.nan for row in found], dtype=float),
        )

    def last(self, study: str) -> int:
        """Returns the id of a study's newest judgment, 0 where there is none."""
        return int(
            self.database.value(sa.select(sa.func.max(judgments.c.id)).where(judgments.c.study_id == study)) or 0
        )

    @property
    def is_new(self) -> bool:
        """Whether its tables were made when it was opened."""
        return self.database.made

    def fingerprint(self, study: str, until: int | None = None, *, after: int = 0) -> Fingerprint:
        """Returns what a study's judgments in (after, until] are now; until None = up to the newest.

        A run notes one at each refit, of what came since the refit before, and hands all of them to `lost` when it
        goes on: so nothing is read twice while it runs.
        """
        until = self.last(study) if until is None else until
        return fingerprint(self.database, study, after=after, until=max(after, until))

    def lost(self, study: str, noted: Sequence[Fingerprint]) -> str | None:
        """Returns a sentence on what is missing or changed of what was noted; None where all is there.

        Answers that were erased at a person's wish are not missing.
        """
        return lost(self.database, study, noted)

    def asked(self, study: str) -> int:
        """Returns how many questions were published, practice and catch trials apart."""
        main = (trials.c.study_id == study, trials.c.kind == "main")
        return int(self.database.value(sa.select(sa.func.count()).select_from(trials).where(*main)))

    def count(self, study: str) -> int:
        """Returns how many answers there are; ties and skipped trials count, repeats, practice and catch do not."""
        main = (judgments.c.study_id == study, judgments.c.kind == "main")
        return int(self.database.value(sa.select(sa.func.count()).select_from(judgments).where(*main)))

    def wait(self, study: str, n: int, *, tell: Callable[[int], None], every: float = 1.0) -> None:
        """Returns when n answers are there.

        Args:
            study: which.
            n: of them.
            tell: is told how many there are, each time it is looked.
            every: seconds between two looks.
        """
        while (found := self.count(study)) < n:
            tell(found)
            time.sleep(every)
        tell(found)

    def answered(self, study: str) -> set[str]:
        """Returns the trial ids of a study that have an answer, ties included."""
        query = sa.select(judgments.c.trial_id).where(judgments.c.study_id == study)
        return {row["trial_id"] for row in self.database.rows(query)}

    def records(self, study: str) -> list[dict[str, Any]]:
        """Returns every record of a study, oldest first."""
        query = sa.select(judgments).where(judgments.c.study_id == study).order_by(judgments.c.id)
        return [dict(row) for row in self.database.rows(query)]


def append_judgments(database: Database, connection: sa.Connection, rows: list[dict[str, Any]]) -> int:
    """Appends records within a transaction; returns how many were new."""
    if not database.is_sqlite:  # ids become visible in their order, so that a refit can be repeated
        connection.execute(sa.text("LOCK TABLE judgments IN SHARE ROW EXCLUSIVE MODE"))
    insert = database.insert_new(judgments).returning(judgments.c.id)
    return len(connection.execute(insert, [empty(judgments) | row for row in rows]).all())


def _decided(study: str, task: str) -> sa.Select[Any]:
    """Returns the query for a study's judgments that say something, oldest first."""
    said = judgments.c.value if task == "rating" else judgments.c.winner_id
    of = (judgments.c.study_id == study, judgments.c.task == task, judgments.c.kind == "main", said.is_not(None))
    return sa.select(judgments).where(*of).order_by(judgments.c.id)


def _in_order(row: Any) -> tuple[str, ...]:
    """Returns the items of a judgment, the winner before the loser."""
    if row["task"] == "rating":
        return (row["left_id"],)
    both = row["winner_id"], row["right_id"] if row["choice"] == "left" else row["left_id"]
    return (row["anchor_id"], *both) if row["task"] == "triplet" else both


def candidate_of(source: str, item: object) -> int | None:
    """Returns the candidate's id that an item's has; None where it is none of the run that the label names."""
    begin, name = f"{source}/" if source else "", str(item)
    number = name.removeprefix(begin)
    return candidate_in(number) if name.startswith(begin) else None


def utc_now() -> str:
    """Returns the time as text that sorts: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
