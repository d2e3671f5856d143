"""What the desk asks of its database at every page and answer, made once: parameters study, rater, at, trial, now."""

from __future__ import annotations

import sqlalchemy as sa

from qdfeedback.feedback.tables import assignments, raters, trials
from qdfeedback.study.register import ENDED


def _place() -> tuple[sa.ColumnElement[bool], ...]:
    """Returns the conditions for a person's place: parameters study, rater, at."""
    return (*_mine(), assignments.c.position == sa.bindparam("at"))


def _mine() -> tuple[sa.ColumnElement[bool], ...]:
    return assignments.c.study_id == sa.bindparam("study"), assignments.c.rater_id == sa.bindparam("rater")


TRIALS = (
    sa.select(
        trials,
        assignments.c.position,
        assignments.c.kind.label("own_kind"),
        assignments.c.swapped,
        assignments.c.answered,
        assignments.c.shown_utc,
    )
    .select_from(
        assignments.join(
            trials,
            sa.and_(trials.c.study_id == assignments.c.study_id, trials.c.trial_id == assignments.c.trial_id),
        )
    )
    .where(*_mine())
)
OPEN = TRIALS.where(sa.not_(assignments.c.answered)).order_by(assignments.c.position).limit(1)
AT = TRIALS.where(assignments.c.position == sa.bindparam("at"))
DONE = sa.select(
    sa.func.count().label("planned"), sa.func.sum(sa.case((assignments.c.answered, 1), else_=0)).label("done")
).where(*_mine())
PLANNED = (
    sa.select(assignments.c.trial_id, assignments.c.answered, assignments.c.shown_utc, raters.c.active_until)
    .select_from(
        assignments.join(
            raters, sa.and_(raters.c.study_id == assignments.c.study_id, raters.c.rater_id == assignments.c.rater_id)
        )
    )
    .where(*_place(), raters.c.stage.not_in(ENDED))
)
ANSWERED = sa.update(assignments).where(*_place()).values(answered=True)
UNANSWERED = sa.select(assignments.c.trial_id).where(
    *_mine(), assignments.c.kind == "main", sa.not_(assignments.c.answered)
)
DROPPED = sa.delete(assignments).where(  # with its repeat
    *_mine(), assignments.c.trial_id == sa.bindparam("trial"), sa.not_(assignments.c.answered)
)
MAIN = sa.select(sa.func.count()).select_from(assignments).where(*_mine(), assignments.c.kind == "main")
SHOWN = sa.update(assignments).where(*_place(), assignments.c.shown_utc.is_(None)).values(shown_utc=sa.bindparam("now"))
