"""Judgments on disk: append-only, safe with several writing processes, one record for whoever judged.

SQLite by default; any SQLAlchemy URL of a PostgreSQL server works too. The columns are those of the exchange
record that every importer and exporter shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from qdfeedback.types import Annotator, Answers, Ints, Queries

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up plain integers only

_meta = sa.MetaData()
judgments = sa.Table(
    "judgments",
    _meta,
    sa.Column("id", _INTEGER, primary_key=True, autoincrement=True),
    sa.Column("study_id", sa.String, nullable=False, index=True),
    sa.Column("trial_id", sa.String, nullable=False),
    sa.Column("task", sa.String, nullable=False),
    sa.Column("purpose", sa.String, nullable=False),
    sa.Column("anchor_id", sa.BigInteger),
    sa.Column("left_id", sa.BigInteger, nullable=False),
    sa.Column("right_id", sa.BigInteger),
    sa.Column("choice", sa.String, nullable=False),
    sa.Column("winner_id", sa.BigInteger),
    sa.Column("value", sa.Float),
    sa.Column("label", sa.String),
    sa.Column("probability", sa.Float),
    sa.Column("annotator_kind", sa.String, nullable=False),
    sa.Column("annotator_id", sa.String, nullable=False),
    sa.Column("annotator_version", sa.String),
    sa.Column("response_ms", sa.Float),
    sa.Column("transcript_ref", sa.String),
    sa.Column("answered_utc", sa.String, nullable=False),
    sa.UniqueConstraint("study_id", "trial_id", "annotator_id"),
)
_CHOICES = {0: "left", 1: "right", -1: "tie"}
_EMPTY = {column.name: None for column in judgments.columns if column.nullable}


@dataclass(frozen=True)
class Triplets:
    """Decided triplet judgments of one study, in the order they were stored.

    Attributes:
        ids: (t,) int64, the store's own numbers: what a refit remembers as the last it used.
        items: (t, 3) int64 candidate ids: anchor, near, far.
        purpose: (t,) str; only "random" ones may measure accuracy.
    """

    ids: Ints
    items: Ints
    purpose: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class Store:
    """The judgments of any number of studies.

    Args:
        where: a file path for SQLite, or an SQLAlchemy URL.

    Raises:
        ValueError: The place cannot be opened as a store.
    """

    def __init__(self, where: Path | str) -> None:
        url = str(where) if "://" in str(where) else f"sqlite:///{where}"
        self._engine = _engine(url)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _configure_sqlite)
        try:
            _create(self._engine)
        except sa.exc.SQLAlchemyError as error:
            self._engine.dispose()
            raise ValueError(f"cannot open the judgment store {_safe(url)}: {error.__cause__ or error}") from error

    def close(self) -> None:
        """Lets go of all connections."""
        self._engine.dispose()

    def add(self, study: str, queries: Queries, answers: Answers, annotator: Annotator) -> int:
        """Appends an annotator's answers to triplet queries; returns how many were new.

        An answer of the same annotator to the same trial is kept once, however often it is handed in.

        Raises:
            ValueError: An answer points outside the queries, or its choice is not 0, 1 or -1.
        """
        if len(answers) and (answers.query.min() < 0 or answers.query.max() >= len(queries)):
            raise ValueError(f"answers.query must lie in [0, {len(queries)}), it reaches {answers.query.max()}")
        if not np.isin(answers.choice, list(_CHOICES)).all():
            raise ValueError(f"answers.choice must be 0 (left), 1 (right) or -1 (tie), got {set(answers.choice)}")
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        rows = []
        for query, choice, probability in zip(answers.query, answers.choice, answers.probability, strict=True):
            anchor, *sides = (int(item) for item in queries.items[query])
            rows.append(
                {
                    "study_id": study,
                    "trial_id": str(queries.uids[query]),
                    "task": "triplet",
                    "purpose": str(queries.purpose[query]),
                    "anchor_id": anchor,
                    "left_id": sides[0],
                    "right_id": sides[1],
                    "choice": _CHOICES[int(choice)],
                    "winner_id": sides[int(choice)] if choice >= 0 else None,
                    "probability": None if np.isnan(probability) else float(probability),
                    "annotator_kind": annotator.kind,
                    "annotator_id": annotator.name,
                    "answered_utc": now,
                }
            )
        return self.append(rows)

    def append(self, rows: list[dict[str, Any]]) -> int:
        """Appends records as they are, in one transaction; returns how many were new.

        Args:
            rows: one dict of columns each; (study_id, trial_id, annotator_id) tells a record apart.

        Raises:
            OSError: The store cannot be written; nothing of the call was.
        """
        if not rows:
            return 0
        dialect: Any = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        insert = dialect.insert(judgments).on_conflict_do_nothing().returning(judgments.c.id)
        try:
            with self._engine.begin() as connection:
                if dialect is postgresql:  # ids become visible in their order, so that a refit can be repeated
                    connection.execute(sa.text("LOCK TABLE judgments IN SHARE ROW EXCLUSIVE MODE"))
                return len(connection.execute(insert, [_EMPTY | row for row in rows]).all())
        except sa.exc.OperationalError as error:
            raise OSError(f"cannot write judgments to {_safe(str(self._engine.url))}: {error.orig}") from error

    def triplets(self, study: str, *, until: int | None = None) -> Triplets:
        """Returns the decided triplet judgments of a study, ties left out.

        Args:
            study: which.
            until: no judgment with a higher id, so that a refit can be repeated.
        """
        query = sa.select(judgments).where(
            judgments.c.study_id == study, judgments.c.task == "triplet", judgments.c.winner_id.is_not(None)
        )
        if until is not None:
            query = query.where(judgments.c.id <= until)
        found = self._rows(query.order_by(judgments.c.id))
        items = [
            (row["anchor_id"], row["winner_id"], row["right_id"] if row["choice"] == "left" else row["left_id"])
            for row in found
        ]
        return Triplets(
            np.array([row["id"] for row in found], dtype=np.int64),
            np.array(items, dtype=np.int64).reshape(-1, 3),
            np.array([row["purpose"] for row in found], dtype=str),
        )

    def last(self, study: str) -> int:
        """Returns the id of a study's newest judgment, 0 where there is none."""
        with self._engine.connect() as connection:
            newest = connection.scalar(sa.select(sa.func.max(judgments.c.id)).where(judgments.c.study_id == study))
        return int(newest or 0)

    def answered(self, study: str) -> set[str]:
        """Returns the trial ids of a study that have an answer, ties included."""
        return {
            row["trial_id"] for row in self._rows(sa.select(judgments.c.trial_id).where(judgments.c.study_id == study))
        }

    def records(self, study: str) -> list[dict[str, Any]]:
        """Returns every record of a study, oldest first."""
        query = sa.select(judgments).where(judgments.c.study_id == study).order_by(judgments.c.id)
        return [dict(row) for row in self._rows(query)]

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        with self._engine.connect() as connection:
            return connection.execute(query).mappings().all()


def _engine(url: str) -> sa.Engine:
    try:
        engine = sa.create_engine(url)
    except ModuleNotFoundError as error:
        line = 'pip install "qdfeedback[postgres]"' if "psycopg" in str(error) else "use SQLite or PostgreSQL"
        raise ValueError(f"cannot open the judgment store {_safe(url)}: {error.name} is missing; {line}") from error
    except sa.exc.ArgumentError as error:
        raise ValueError(f"the judgment store needs a file path or a database URL: {error}") from error
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise ValueError(f"the judgment store must be SQLite or PostgreSQL, got {engine.dialect.name}")
    return engine


def _configure_sqlite(connection: Any, _: Any) -> None:
    """Lets readers and a writer work at once, and a second writer wait for its turn."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 60000")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _create(engine: sa.Engine) -> None:
    """Makes the tables; a process that loses the race to make them finds them there."""
    try:
        _meta.create_all(engine)
    except (sa.exc.OperationalError, sa.exc.IntegrityError, sa.exc.ProgrammingError):
        if not sa.inspect(engine).has_table(judgments.name):
            raise


def _safe(url: str) -> str:
    return sa.make_url(url).render_as_string(hide_password=True)
