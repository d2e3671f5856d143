"""What a search's own axes said about each question before it was answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from qdfeedback.diversity import models
from qdfeedback.feedback.answers import published
from qdfeedback.feedback.refit_names import AXES, refit_of
from qdfeedback.feedback.store import candidate_of
from qdfeedback.feedback.tables import judgments
from qdfeedback.history import read_history
from qdfeedback.refits import read_refits
from qdfeedback.run_settings import read_settings
from qdfeedback.study.analysis.human_model import nearer
from qdfeedback.study.place import Place
from qdfeedback.types import Floats
from qdfeedback.values import texts

NAME = "the search's axes, before each answer"


def run_probabilities(place: Place) -> dict[str, dict[str, float]]:
    """Returns {name of the model: trial id → probability of its first item}, {} where the folder is no live run.

    Each trial is judged by the last model that was fitted before anybody answered it, so that no model is asked about
    what it has learned.
    """
    noted, history = read_refits(place.folder), place.folder / "history.arrows"
    if not noted or not history.exists():
        return {}
    learned = texts(read_settings(place.folder).get("learned") or (), f"{place.folder}/settings.json: learned")
    axes = [(one.until, refit) for refit, one in noted.items() if refit_of(refit)[0] == AXES]
    fitted = [(last, place.folder / "models" / f"{refit}.npz") for last, refit in axes]
    fitted = sorted((last, path) for last, path in fitted if path.exists())
    if not learned or not fitted:
        return {}
    trials = [row for row in published(place.database, place.study) if row["task"] == "triplet"]
    first = _first_answers(place)
    features = _features(place, sorted({row[side] for row in trials for side in _SIDES}), learned)
    found: dict[str, float] = {}
    for (last, path), following in zip(fitted, [*(last for last, _ in fitted[1:]), None], strict=True):
        later = [
            row
            for row in trials
            if (number := first.get(row["trial_id"])) and number > last and (following is None or number <= following)
        ]
        if later:
            found |= _said(path, features, later)
    return {NAME: found} if found else {}


_SIDES = ("anchor_id", "a_id", "b_id")


def _said(path: Path, features: Mapping[str, Floats], later: Sequence[sa.RowMapping]) -> dict[str, float]:
    model = models.load(path)
    try:
        return nearer(model, features, later)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path} does not fit the features of the run: {error}") from error


def _first_answers(place: Place) -> dict[str, int]:
    query = (
        sa.select(judgments.c.trial_id, sa.func.min(judgments.c.id).label("first"))
        .where(judgments.c.study_id == place.study.study_id, judgments.c.annotator_kind == "person")
        .group_by(judgments.c.trial_id)
    )
    return {row["trial_id"]: int(row["first"]) for row in place.database.rows(query)}


def _features(place: Place, items: list[str], learned: Sequence[str]) -> dict[str, Floats]:
    path = place.folder / "history.arrows"
    history = read_history(path)
    names = history.names
    if unknown := [name for name in learned if name not in names]:
        raise ValueError(f"{place.folder}/settings.json: learned names {unknown[0]!r}, which is no feature of {path}")
    columns = [names.index(name) for name in learned]
    known = (candidate_of("", item) for item in items)
    ids = [candidate for candidate in known if candidate is not None and candidate < len(history)]
    rows = history.take(np.array(ids, dtype=np.int64), "features")
    return {str(candidate): row[columns] for candidate, row in zip(ids, rows, strict=True)} if ids else {}
