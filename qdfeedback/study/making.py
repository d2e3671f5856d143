"""Making a study of its own from finished runs: sets side by side, pairs, triplets, ratings, labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from qdfeedback.feedback.store import Store, utc_now
from qdfeedback.feedback.study import Question, Study, write_study
from qdfeedback.feedback.tables import empty, items, trials
from qdfeedback.shown import Shown
from qdfeedback.study.sources import Source, spaced
from qdfeedback.types import Ints

CHECKS = {"practice": 2, "catch": 8}
PREFER = Question("prefer", "pair", "Which set do you prefer?", tie=True)
DIVERSE = Question("diverse", "pair", "Which set is more diverse?", tie=True)
ACCURATE = Question("accurate", "pair", "Which set shows more accurately what the text says?", tie=True)
ABOUT_SETS = {question.name: question for question in (PREFER, DIVERSE, ACCURATE)}
BETTER = Question("better", "pair", "Which is better?", tie=True)
ALIKE = Question("alike", "triplet", "Which is more like the reference?")
QUALITY = Question("quality", "rating", "How good is this?", ends=("very poor", "very good"))
KIND = "kind"
LETTERS = list("bcdfghjklmnpqrstvwxz    ")
VAIN = 1_000  # draws without a new question after which there are taken to be no more


@dataclass(frozen=True)
class Wanted:
    """How many trials of each sort.

    Attributes:
        sets: for each two methods, and each prompt that they were given, pairs of sets.
        about: what is asked of each pair of sets: "prefer", "diverse", "accurate".
        grid: a set has grid × grid things.
        pairs: single things side by side, for each two methods; within the one, where there is one.
        triplets: of single things, over all runs.
        ratings: of single things, for each method.
        labels: single things to be put into a category, for each method.
        options: the categories.
        label_axis: along which of the archive's axes, from 0, the categories lie, from low to high: the map's own label
            of each thing is noted, so that the report can say how often people give the same; None = along none.
    """

    sets: int = 0
    grid: int = 4
    pairs: int = 0
    triplets: int = 0
    ratings: int = 0
    labels: int = 0
    options: tuple[str, ...] = ()
    label_axis: int | None = None
    about: tuple[str, ...] = (PREFER.name, DIVERSE.name)

    def questions(self) -> tuple[Question, ...]:
        """Returns what is asked.

        Raises:
            ValueError: Nothing is, or labels and categories do not go together.
        """
        if self.labels and len(self.options) < 2:
            raise ValueError("things to be labelled need categories: name two or more with --options")
        if self.label_axis is not None and not self.labels:
            raise ValueError("--label-axis says what the map calls what people label: it needs --labels")
        kind = Question(KIND, "label", "Which of these is it?", options=self.options) if self.labels else None
        asked = [
            *(ABOUT_SETS[name] for name in self.about if self.sets), *((BETTER,) if self.pairs else ()),
            *((ALIKE,) if self.triplets else ()), *((QUALITY,) if self.ratings else ()), *((kind,) if kind else ()),
        ]  # fmt: skip
        if not asked:
            raise ValueError("a study needs --sets, --pairs, --triplets, --ratings or --labels")
        return tuple(asked)


def make_study(
    folder: Path,
    study: Study,
    sources: Sequence[Source],
    wanted: Wanted,
    *,
    database: str | None = None,
    sensitive: Callable[[str], bool] | None = None,
) -> int:
    """Writes a new study folder; returns the number of its main trials.

    Args:
        folder: new or empty.
        study: its settings.
        sources: whose elites.
        wanted: how many trials of which sort.
        database: URL; `judgments.db` in the folder if not given.
        sensitive: marks texts, given the text.

    Raises:
        ValueError: The folder is not empty, or the runs have too little to show.
    """
    if Path(folder).exists() and any(Path(folder).iterdir()):
        raise ValueError(f"{folder} is not empty: name another folder")
    whole = Path(folder).resolve()
    folder = whole.with_name(f"{whole.name}.part")  # it has its name when it is whole
    if (least := min(wanted.sets, wanted.pairs, wanted.triplets, wanted.ratings, wanted.labels)) < 0:
        raise ValueError(f"numbers of trials must not be below 0, got {least}")
    if len({source.shown.folder.resolve() for source in sources}) < len(sources):
        raise ValueError("one run is named twice: nothing can be compared with itself")
    labels = list(dict.fromkeys(source.label for source in sources))
    of = {label: [source for source in sources if source.label == label] for label in labels}
    if wanted.sets and len(labels) < 2:
        raise ValueError("sets are compared between methods: name at least two runs with different labels")
    axes = min(source.bounds.shape[1] for source in sources)
    if wanted.label_axis is not None and not 0 <= wanted.label_axis < axes:
        raise ValueError(f"label_axis must be one of the {axes} axes, from 0, got {wanted.label_axis}")
    if ACCURATE in study.questions and not all(source.prompt for source in sources):
        raise ValueError("whether a set shows what the text says can be asked of runs with a prompt alone")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        draft = _Draft(study, folder, np.random.default_rng(study.seed), sensitive, wanted.label_axis)
        for question in study.questions:
            draft.ask(question, of, wanted)
        for kind, n in CHECKS.items():
            for i in range(n):
                for question in study.questions:
                    draft.check(question, sources, wanted, kind=kind, number=i)
        draft.write(database)
        _hand_over(folder, whole)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return sum(row["kind"] == "main" for row in draft.trials)


def _hand_over(part: Path, whole: Path) -> None:
    """Gives what was made its place; a folder that is there, where somebody may stand, is filled, study.json last."""
    if not whole.exists():
        part.rename(whole)
        return
    for path in sorted(part.iterdir(), key=lambda one: one.name == "study.json"):
        path.rename(whole / path.name)
    part.rmdir()


def _alike(one: Sequence[Source], other: Sequence[Source]) -> list[tuple[str, list[Source], list[Source]]]:
    """Returns for each prompt the runs of either method that were given it.

    Raises:
        ValueError: One of them was not.
    """
    found = []
    for prompt in dict.fromkeys(source.prompt for source in (*one, *other)):
        mine, theirs = ([source for source in sources if source.prompt == prompt] for sources in (one, other))
        if not mine or not theirs:
            without = (theirs or mine)[0].label
            lacks = next(source.label for source in (*one, *other) if source.label != without)
            raise ValueError(
                f"{without} has a run with the prompt {prompt!r}, {lacks} has none: they cannot be compared"
            )
        found.append((prompt, mine, theirs))
    return found


@dataclass
class _Draft:
    """The rows of a study that is being made."""

    study: Study
    folder: Path
    rng: np.random.Generator
    sensitive: Callable[[str], bool] | None
    label_axis: int | None
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)
    files: set[tuple[Path, str]] = field(default_factory=set)
    orders: dict[str, Ints] = field(default_factory=dict)
    asked: set[tuple[str, frozenset[str], tuple[str, ...]]] = field(default_factory=set)

    def write(self, database: str | None) -> None:
        """Copies what is shown, fills the database, and writes study.json last: a folder that has it is whole.

        Raises:
            ValueError: The database cannot be opened, or has a study of this name already.
        """
        (self.folder / "shown").mkdir(parents=True, exist_ok=True)
        for path, name in self.files:
            if not (self.folder / "shown" / name).exists():
                shutil.copyfile(path, self.folder / "shown" / name)
        store = Store(database or self.folder / "judgments.db")
        try:
            if store.asked(self.study.study_id):
                raise ValueError(f"the database has a study {self.study.study_id!r} already: name the folder otherwise")
            store.add_trials(list(self.items.values()), self.trials)
        finally:
            store.close()
        write_study(self.folder, self.study)

    def ask(self, question: Question, of: dict[str, list[Source]], wanted: Wanted) -> None:
        """Adds the main trials of a question."""
        everything = [source for sources in of.values() for source in sources]
        least = {"triplet": 3, "pair": 2}.get(question.task, 1)
        if small := [source.key for source in everything if len(source) < least]:
            raise ValueError(f"{small[0]} shows fewer than {least} different elites, which {question.name!r} needs")
        if question.name in ABOUT_SETS:
            for one, other in combinations(of, 2):
                for prompt, mine, theirs in _alike(of[one], of[other]):
                    for i in range(wanted.sets):  # all questions are about the same sets
                        a, b = (self._set(sources, i, wanted.grid) for sources in (mine, theirs))
                        self._add(question, "main", self._prompt(prompt), a, b)
        elif question.name == BETTER.name:
            for one, other in combinations(of, 2) if len(of) > 1 else [(next(iter(of)),) * 2]:
                for prompt, mine, theirs in _alike(of[one], of[other]):
                    draw = partial(self._two, mine, theirs)
                    for _ in range(wanted.pairs):
                        a, b = self._new(question, draw)
                        self._add(question, "main", self._prompt(prompt), a, b)
        elif question.name == ALIKE.name:
            for _ in range(wanted.triplets):
                a, b, anchor = self._new(question, partial(self._three, everything))
                self._add(question, "main", anchor, a, b)
        else:
            for label, sources in of.items():
                n = wanted.ratings if question.name == QUALITY.name else wanted.labels
                pool = [(source, i) for source in sources for i in range(len(source))]
                if n > len(pool):
                    raise ValueError(f"{label} has {len(pool)} elites, fewer than the {n} wanted")
                if label not in self.orders:  # what is rated is labelled too: the human QD score needs both
                    self.orders[label] = self.rng.permutation(len(pool))
                for at in self.orders[label][:n]:
                    self._add(question, "main", None, self._single(*pool[at]), None)

    def check(self, question: Question, sources: Sequence[Source], wanted: Wanted, *, kind: str, number: int) -> None:
        """Adds a trial with an obvious answer: for practice, or to catch who does not look."""
        source = self._any(sources)
        if question.task == "triplet":
            anchor, other = (self._single(source, row) for row in self.rng.choice(len(source), 2, replace=False))
            self._add(question, kind, anchor, anchor, other, expected=anchor)
        elif question.name in ABOUT_SETS:
            good = self._set([source], number, wanted.grid, part=kind)
            bad = self._dull(source, good) if question.name == DIVERSE.name else self._broken(source, good)
            self._add(question, kind, self._prompt(source.prompt), good, bad, expected=good)
        elif question.task == "pair":
            good, prompt = self._single(source, self._at(source)), self._prompt(source.prompt)
            self._add(question, kind, prompt, good, self._broken(source, good), expected=good)
        else:
            options = question.steps if question.task == "rating" else question.options
            wants = options[int(self.rng.integers(len(options)))]
            self._add(question, kind, None, self._instruction(wants), None, expected=wants)

    # --- items

    def _any(self, sources: Sequence[Source]) -> Source:
        return sources[int(self.rng.integers(len(sources)))]

    def _at(self, source: Source) -> int:
        return int(self.rng.integers(len(source)))

    def _two(self, one: Sequence[Source], other: Sequence[Source]) -> tuple[str, str]:
        if len({name for source in (*one, *other) for name in source.names}) < 2:
            raise ValueError(f"{one[0].label} and {other[0].label} show one and the same thing")
        a, b = self._any(one), self._any(other)
        i, j = self._at(a), self._at(b)
        while a.names[i] == b.names[j]:  # the same thing twice cannot be compared
            a, b = self._any(one), self._any(other)
            i, j = self._at(a), self._at(b)
        return self._single(a, i), self._single(b, j)

    def _three(self, sources: Sequence[Source]) -> tuple[str, str, str]:
        source = self._any(sources)
        anchor, a, b = (self._single(source, i) for i in self.rng.choice(len(source), 3, replace=False))
        return a, b, anchor

    def _new(self, question: Question, draw: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
        """Returns two items, or two with a reference, that are not asked about yet.

        Raises:
            ValueError: So many draws brought none; there may be no more.
        """
        for _ in range(VAIN):
            drawn = draw()
            key = question.name, frozenset(drawn[:2]), drawn[2:]
            if key not in self.asked:
                self.asked.add(key)
                return drawn
        n = sum(key[0] == question.name for key in self.asked)
        raise ValueError(f"{question.name!r}: the elites give hardly more than {n} different questions; ask for fewer")

    def _prompt(self, prompt: str) -> str | None:
        """Returns the item that shows what was asked for, None where nothing was."""
        if not prompt:
            return None
        name, note = Shown(self.folder / "shown").add(prompt), json.dumps({"prompt": prompt})
        marked = 1 if self.sensitive and self.sensitive(prompt) else None
        row = {"study_id": self.study.study_id, "item_id": f"prompt/{name}", "content": name, "note": note}
        self.items[f"prompt/{name}"] = empty(items) | row | {"sensitive": marked}
        return f"prompt/{name}"

    def _single(self, source: Source, row: int) -> str:
        note: dict[str, Any] = {"objective": float(source.objective[row]), "measures": source.measures[row].tolist()}
        if self.label_axis is not None:
            note["label"] = {KIND: self._own_label(source, row, self.label_axis)}
        return self._item(f"{source.key}/{source.ids[row]}", [source.names[row]], source, note)

    def _own_label(self, source: Source, row: int, axis: int) -> str:
        options = self.study.question(KIND).options
        low, high = source.bounds[:, axis]
        place = (source.measures[row, axis] - low) / (high - low)
        return options[min(max(int(place * len(options)), 0), len(options) - 1)]

    def _set(self, sources: Sequence[Source], number: int, side: int, part: str = "set") -> str:
        """Returns the item id of the method's i-th set; asked for again, it is the same set."""
        source = sources[number % len(sources)]
        item = f"{source.key}/{part}-{number}"
        if item in self.items:
            return item
        rows: Ints = spaced(source, side, self.rng)
        note = {"candidates": source.ids[rows].tolist(), "objective": float(source.objective[rows].mean())}
        return self._item(item, [source.names[row] for row in rows], source, note)

    def _dull(self, source: Source, good: str) -> str:
        """Returns a set that shows one thing over and over."""
        names = self.items[good]["content"].split(" ")
        return self._item(f"{good}/dull", [names[0]] * len(names), source, {"check": "one thing over and over"})

    def _broken(self, source: Source, good: str) -> str:
        """Returns an item that is visibly corrupted: noise for pictures, random letters for text."""
        target, names = Shown(self.folder / "shown"), []
        for name in self.items[good]["content"].split(" "):
            if name.endswith(".txt"):
                n = min(max(len(source.shown.text(name)), 60), 400)
                names.append(target.add("".join(self.rng.choice(LETTERS, n))))
            else:
                names.append(target.add(self.rng.integers(256, size=(96, 96, 3), dtype=np.uint8)))
        return self._item(f"{good}/broken", names, source, {"check": "corrupted"})

    def _instruction(self, wanted: str) -> str:
        text = f"This question checks that somebody reads it. Please answer: {wanted}"
        name = Shown(self.folder / "shown").add(text)
        row = {"study_id": self.study.study_id, "item_id": f"check/{wanted}", "content": name}
        self.items[f"check/{wanted}"] = empty(items) | row | {"note": json.dumps({"check": "instruction"})}
        return f"check/{wanted}"

    def _item(self, item_id: str, names: Sequence[str], source: Source, note: dict[str, Any]) -> str:
        if item_id not in self.items:
            marked = None
            for name in set(names):
                if (source.shown.folder / name).is_file():
                    self.files.add((source.shown.folder / name, name))
                    if self.sensitive and name.endswith(".txt") and self.sensitive(source.shown.text(name)):
                        marked = 1
            row = {"study_id": self.study.study_id, "item_id": item_id, "content": " ".join(names)}
            more = {"source": source.label, "note": json.dumps(note), "sensitive": marked}
            self.items[item_id] = empty(items) | row | more
        return item_id

    def _add(
        self, question: Question, kind: str, anchor: str | None, a: str, b: str | None, *, expected: str | None = None
    ) -> None:
        number = sum(row["question"] == question.name and row["kind"] == kind for row in self.trials)
        self.trials.append(
            empty(trials)
            | {
                "study_id": self.study.study_id, "trial_id": f"{question.name}/{kind}-{number}",
                "question": question.name, "task": question.task, "kind": kind,
                "purpose": "random" if kind == "main" else kind, "anchor_id": anchor, "a_id": a, "b_id": b,
                "expected": expected, "published_utc": utc_now(),
            }
        )  # fmt: skip
