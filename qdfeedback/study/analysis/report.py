"""What the answers of a study are worth, as one dict: who took part, how far to trust the answers, what they say.

All figures stand there twice: with everybody, and after the exclusions whose rules and reasons are in the report too.
Repeats measure how far people agree with themselves, catch trials whether they look; surplus answers enter neither the
agreement between people nor what they say, practice nothing. The same store gives the same report.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from typing import Any

import numpy as np
import sqlalchemy as sa
from threadpoolctl import threadpool_limits

from qdfeedback.feedback.answers import Answer, read_answers
from qdfeedback.feedback.conduct import conduct, rules
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.study import Study
from qdfeedback.feedback.tables import judgments, raters, tombstones
from qdfeedback.study.analysis.answers import read_items
from qdfeedback.study.analysis.figures import Given, Probabilities, question_figures
from qdfeedback.study.analysis.human_qd import human_qd

FORMAT = 1


def report(database: Database, study: Study, *, probabilities: Probabilities | None = None) -> dict[str, Any]:
    """Returns all figures; JSON can hold them, and None stands for a figure that is not defined.

    Args:
        database: the judgment store's.
        study: which study in it.
        probabilities: what models say about triplets and pairs, by their names; `human_model.nearer` makes them from a
            diversity model.

    Raises:
        ImportError: A library of the study extra is missing.
    """
    with threadpool_limits(1):  # many small matrices: threads would only wait for each other
        return _report(database, study, probabilities or {})


def _report(database: Database, study: Study, probabilities: Probabilities) -> dict[str, Any]:
    answers = read_answers(database, study)
    people = conduct(answers, study)
    excluded = {person.rater for person in people if person.reasons}
    given = Given(
        [answer for answer in answers if answer.by == "person"],
        [answer for answer in answers if answer.by != "person" and answer.kind == "main"],
        read_items(database, study),
        probabilities,
        study.seed,
    )
    kept = replace(given, people=[answer for answer in given.people if answer.rater not in excluded])
    groups = {"everybody": given, "after_exclusions": kept}
    found = {
        "format": FORMAT,
        "study": {"study_id": study.study_id, "title": study.title},
        "last_judgment": _last(database, study),
        "raters": _raters(database, study) | {"answered": len(people), "excluded": len(excluded)},
        "answers": _counts(answers),
        "rules": rules(study),
        "conduct": people,
        "questions": [
            {"name": question.name, "task": question.task, "text": question.text, "tie": question.tie}
            | {name: question_figures(part, question) for name, part in groups.items()}
            for question in study.questions
        ],
        "human_qd": {name: human_qd(part.main, study, part.known, rng=part.rng()) for name, part in groups.items()},
        "notes": _notes(given.people, len(people), excluded),
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def _last(database: Database, study: Study) -> int | None:
    found: int | None = database.value(
        sa.select(sa.func.max(judgments.c.id)).where(judgments.c.study_id == study.study_id)
    )
    return found


def _raters(database: Database, study: Study) -> dict[str, int]:
    stages = [row["stage"] for row in database.rows(sa.select(raters).where(raters.c.study_id == study.study_id))]
    deleted = sa.select(sa.func.count()).select_from(tombstones).where(tombstones.c.study_id == study.study_id)
    finished, withdrawn = stages.count("done"), stages.count("withdrawn")
    return {
        "joined": len(stages),
        "finished": finished,
        "withdrawn": withdrawn,
        "under_way": len(stages) - finished - withdrawn,
        "deleted": int(database.value(deleted)),
    }


def _counts(answers: Sequence[Answer]) -> dict[str, Any]:
    return {
        "total": len(answers),
        "kinds": dict(sorted(Counter(answer.kind for answer in answers if answer.by == "person").items())),
        "annotators": dict(sorted(Counter(answer.by for answer in answers).items())),
        "skipped": sum(answer.given is None for answer in answers if answer.by == "person"),
    }


def _notes(persons: Sequence[Answer], people: int, excluded: set[str]) -> list[str]:
    if not persons:
        return ["There are no answers of people yet."]
    notes = []
    if all(answer.given is None for answer in persons):
        notes.append("All trials were skipped.")
    if people == 1:
        notes.append("One person answered: nothing here can be generalised.")
    if excluded and len(excluded) == people:
        notes.append("The rules exclude everybody: nothing is left after exclusions.")
    return notes


def _plain(value: Any) -> Any:
    """Returns what JSON can hold: records as dicts, NaN and infinity as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
