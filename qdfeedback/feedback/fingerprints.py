"""What a study's judgments were at some moment, in a few numbers, so that a run that goes on knows when some are lost.

Judgments are append-only, so a stretch of them between two ids never changes, but for people who had their answers
erased: these are known by their ids alone, and are no loss.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from qdfeedback.feedback.database import Database
from qdfeedback.feedback.tables import erased, judgments

_USED = (
    "id", "trial_id", "task", "question", "kind", "purpose", "anchor_id", "left_id", "right_id", "choice", "winner_id",
    "value", "label", "probability", "annotator_kind", "annotator_id",
)  # fmt: skip


@dataclass(frozen=True)
class Fingerprint:
    """A stretch of a study's judgments, as it was when this was made; `dataclasses.asdict` gives JSON.

    Attributes:
        after: judgments with a higher id than this,
        until: up to this one.
        count: how many of the study's judgments were there, of whatever kind.
        erased: how many had been erased by then.
        digest: of all that a fit could use of them.
    """

    after: int
    until: int
    count: int
    erased: int
    digest: str


def fingerprint(database: Database, study: str, *, after: int = 0, until: int) -> Fingerprint:
    """Returns what the judgments of a study in (after, until] are now."""
    columns = [judgments.c[name] for name in _USED]
    query = sa.select(*columns).where(judgments.c.study_id == study, *_within(judgments.c.id, after, until))
    rows = [list(row.values()) for row in database.rows(query.order_by(judgments.c.id))]
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
    gone = sa.select(sa.func.count()).select_from(erased).where(erased.c.study_id == study)
    n = database.value(gone.where(*_within(erased.c.judgment, after, until))) if database.schema > 1 else 0
    return Fingerprint(after, until, len(rows), int(n), digest)


def lost(database: Database, study: str, noted: Sequence[Fingerprint]) -> str | None:
    """Returns a sentence on what is missing or changed of what was noted; None where all is there.

    What was erased since is not missing. In a stretch of which some was erased since, the others are counted only.
    Where stretches overlap, as those of several parts of a run do, no judgment counts twice.
    """
    stretches = sorted(noted, key=lambda one: (one.until, one.after))
    missing, changed = [], False
    for was in stretches:
        now = fingerprint(database, study, after=was.after, until=was.until)
        missing.append(was.count + was.erased - now.count - now.erased)
        changed |= missing[-1] < 0 or now.erased < was.erased
        changed |= now.erased == was.erased and now.digest != was.digest
    if not changed and not any(missing):
        return None
    apart = _apart(stretches)
    total = sum(stretches[i].count for i in apart)
    gone = max([sum(missing[i] for i in apart), *(n for i, n in enumerate(missing) if i not in apart)])
    which = f"of the {total} judgments of study {study!r} that were used before, with ids up to {stretches[-1].until}"
    if gone <= 0:
        return f"{database.name} holds others in place {which}: it was damaged or replaced by another"
    return f"{database.name} lacks {gone} {which}: it was emptied, cut back, damaged or replaced by another"


def _apart(stretches: Sequence[Fingerprint]) -> list[int]:
    """Returns which stretches, of which no two overlap, hold the most judgments; they come sorted by their ends."""
    ends = [one.until for one in stretches]
    best: list[tuple[int, list[int]]] = [(0, [])]  # of the first none, one, two …: how many, and which
    for i, one in enumerate(stretches):
        count, which = best[bisect_right(ends, one.after, hi=i)]
        best.append(max((count + one.count, [*which, i]), best[-1], key=lambda found: found[0]))
    return best[-1][1]


def _within(column: sa.ColumnElement[int], after: int, until: int) -> tuple[sa.ColumnElement[bool], ...]:
    return column > after, column <= until
