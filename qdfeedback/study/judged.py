"""What people answered in a study, as arrays."""

from __future__ import annotations

from pathlib import Path

from qdfeedback.feedback.answers import read_answers
from qdfeedback.feedback.conduct import excluded
from qdfeedback.feedback.store import Store
from qdfeedback.study.place import open_study
from qdfeedback.types import Ints


def triplets_of(folder: Path, database: str | None = None, *, source: str = "") -> Ints:
    """Returns (t, 3) ids of candidates: anchor, near, far; people whom the study excludes are left out.

    Args:
        folder: of the study.
        database: where that is not in the folder.
        source: what the run is called in the study, where it joins several.

    Raises:
        ValueError: The study has none.
    """
    place = open_study(folder, database, write=False)
    left_out = excluded(read_answers(place.database, place.study), place.study)
    items = Store(place.database).triplets(place.study.study_id, source=source, people_without=left_out).items
    if not len(items):
        raise ValueError(f"{folder} holds no triplets that people answered about {source or 'the run'}")
    return items
