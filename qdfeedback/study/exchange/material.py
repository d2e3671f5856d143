"""What there is of a study to hand on: its trials, its judgments, and what was looked at."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import sqlalchemy as sa

from qdfeedback.feedback.database import Database
from qdfeedback.feedback.store import candidate_of
from qdfeedback.feedback.study import Study
from qdfeedback.feedback.tables import items, judgments, trials
from qdfeedback.shown import Shown

Row = dict[str, Any]
_TIMES = ("shown_utc", "answered_utc", "published_utc")


@dataclass(frozen=True)
class Material:
    """A study as it stands.

    Attributes:
        study: its settings.
        shown: the files that people looked at.
        items: rows of the table, by item id.
        trials: rows of the table, in the order they were published.
        judgments: rows of the table, in the order they were stored.
        public: whether times, raters and secrets were taken out.
    """

    study: Study
    shown: Shown
    items: dict[str, Row]
    trials: list[Row]
    judgments: list[Row]
    public: bool

    def names(self, item_id: str) -> tuple[str, ...]:
        """Returns the files that show an item, more than one where it is a set.

        Raises:
            ValueError: Nothing shows it.
        """
        row = self.items.get(item_id)
        candidate = candidate_of("", item_id)
        content = row["content"] if row else "" if candidate is None else self.shown.names().get(candidate, "")
        if not content:
            raise ValueError(f"nothing shows item {item_id!r} of study {self.study.study_id}")
        return tuple(content.split(" "))

    def name(self, item_id: str, fmt: str) -> str:
        """Returns the one file that shows an item.

        Raises:
            ValueError: The item is a set, which the format cannot show.
        """
        names = self.names(item_id)
        if len(names) > 1:
            raise ValueError(f"item {item_id!r} is a set of {len(names)}; the format {fmt} shows one thing per item")
        return names[0]

    def is_sensitive(self, trial: Row) -> bool:
        """True where an item that the trial is about is marked as sensitive."""
        about = (self.items.get(trial[side]) for side in ("anchor_id", "a_id", "b_id"))
        return any(item is not None and item["sensitive"] for item in about)


def read_material(folder: Path, database: Database, study: Study, *, public: bool) -> Material:
    """Returns what there is of a study.

    Judgments are read first: whatever is stored meanwhile, their trials and items are there.

    Args:
        folder: the run or study folder, with `shown/` in it.
        database: where the study is kept.
        study: its settings.
        public: leaves the day of each time, numbers the people, and takes out what only the study's owner may know.
    """
    this = study.study_id
    answered = [dict(row) for row in database.rows(_of(judgments, this).order_by(judgments.c.id))]
    asked = [dict(row) for row in database.rows(_of(trials, this).order_by(trials.c.number))]
    things = [dict(row) for row in database.rows(_of(items, this).order_by(items.c.item_id))]
    if public:
        study = dataclasses.replace(study, completion_code="", completion_url="", sources={})
        _number_people(answered)
        for row in (*answered, *asked):
            row |= {name: row[name][:10] for name in _TIMES if row.get(name)}
        for row in things:
            row["source"] = row["source"] and PurePath(row["source"]).name
    shown = Shown(Path(folder) / "shown")
    return Material(study, shown, {row["item_id"]: row for row in things}, asked, answered, public)


def _of(table: sa.Table, study_id: str) -> sa.Select[Any]:
    return sa.select(table).where(table.c.study_id == study_id)


def _number_people(answered: list[Row]) -> None:
    """Calls people r1, r2, … in the order of their first answers; models and simulations keep their names."""
    taken = {row["annotator_id"] for row in answered if row["annotator_kind"] != "person"}
    numbers: dict[str, str] = {}
    free = (name for n in range(1, 10**9) if (name := f"r{n}") not in taken)
    for row in answered:
        if row["annotator_kind"] == "person":
            if row["annotator_id"] not in numbers:
                numbers[row["annotator_id"]] = next(free)
            row["annotator_id"] = numbers[row["annotator_id"]]


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Gives a folder to write into that takes its name when all is written, and is gone when something fails.

    Raises:
        ValueError: There is something of that name already.
    """
    out = Path(os.path.abspath(out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already: an export goes into a new folder")
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        part.replace(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def copy_files(shown: Shown, names: Iterable[str], to: Path) -> None:
    """Copies what is shown into a folder.

    Raises:
        ValueError: A file is missing.
    """
    for name in sorted(set(names)):
        to.mkdir(exist_ok=True)
        shutil.copyfile(shown.path(name), to / name)
