"""What a page shows of a trial: the things to look at, the answers to choose from, and their keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from qdfeedback.feedback.study import SIDED, Question, Study
from qdfeedback.feedback.tables import items
from qdfeedback.study.desk import Desk, Shown
from qdfeedback.study.place import Place


@dataclass(frozen=True)
class Content:
    """One thing to look at: text, or the name of a file in shown/."""

    kind: Literal["text", "image", "animation"]
    text: str = ""
    name: str = ""


@dataclass(frozen=True)
class Item:
    """What is judged: one thing or a set of them.

    Attributes:
        role: "Reference", "Left", "Right", or "" where a single thing is judged.
        contents: at least one.
        columns: of a set's grid.
    """

    role: str
    contents: tuple[Content, ...]
    columns: int


@dataclass(frozen=True)
class Choice:
    """An answer that can be chosen.

    Attributes:
        value: as the form sends it.
        label: as people read it.
        key: as the browser names it; "" = none.
        hint: as people read the key.
    """

    value: str
    label: str
    key: str
    hint: str


@dataclass(frozen=True)
class View:
    """A trial as a page shows it."""

    shown: Shown
    question: Question
    reference: Item | None
    sides: tuple[Item, ...]
    choices: tuple[Choice, ...]
    others: tuple[Choice, ...]
    words: bool


def view(place: Place, desk: Desk, shown: Shown) -> View:
    """Returns what a page shows of a trial.

    Raises:
        ValueError: A file that shows one of its items is missing.
    """
    question = desk.study.question(shown.question)
    wanted = [item for item in (shown.anchor, shown.left, shown.right) if item is not None]
    found = place.database.rows(_CONTENTS, study=desk.study.study_id, wanted=wanted)
    contents = {row["item_id"]: row["content"] for row in found}
    missing = [item for item in wanted if item not in contents]
    if missing:
        raise ValueError(f"nothing shows item {missing[0]!r}")
    role = "Reference" if question.task == "triplet" else "What was asked for"
    reference = None if shown.anchor is None else _item(place, role, contents[shown.anchor])
    names = ("",) if shown.right is None else ("Left", "Right")
    sides = tuple(
        _item(place, role, contents[str(item)]) for role, item in zip(names, (shown.left, shown.right), strict=False)
    )
    others = []
    if question.tie and shown.right is not None:
        others.append(Choice("tie", "No difference", "ArrowDown", "↓"))
    if desk.study.skip:
        others.append(Choice("skip", "Skip", "s", "S"))
    words = any(content.kind == "text" for side in sides for content in side.contents)
    return View(shown, question, reference, sides, _choices(question), tuple(others), words)


def expected_choice(view: View) -> str | None:
    """Returns the value of the answer that a practice trial wants, None where it wants none."""
    wanted = view.shown.expected
    if wanted is None or view.question.task in ("rating", "label"):
        return wanted
    return {view.shown.left: "left", view.shown.right: "right"}.get(wanted)


def verdict(view: View, given: str) -> tuple[str, str]:
    """Returns how an answer to a practice trial compares with what it wants, in a word and as a sentence."""
    wanted = expected_choice(view)
    if wanted is None:
        return "right", "Here every answer is right."
    if given == wanted:
        return "right", "That is what we expected here."
    mark = "which is marked" if view.shown.right is not None else wanted
    if given == "skip":
        return "skipped", f"You skipped this one. We expected an answer here, {mark}."
    if given in ("left", "right"):
        return "wrong", f"Here we expected the other answer, {mark}."
    return "wrong", f"Here we expected another answer, {mark}."


def keys_of(study: Study) -> set[str]:
    """Returns what kinds of keys the questions of a study have."""
    found = set()
    for question in study.questions:
        if question.task in SIDED:
            found |= {"two", "tie"} if question.tie else {"two"}
        elif question.task == "label":
            found.add("label")
        else:
            keys = {choice.value for choice in _choices(question) if choice.key}
            found |= ({"figure"} if keys - {"10"} else set()) | (keys & {"10"})
    return found


_CONTENTS = sa.select(items.c.item_id, items.c.content).where(
    items.c.study_id == sa.bindparam("study"), items.c.item_id.in_(sa.bindparam("wanted", expanding=True))
)


def _choices(question: Question) -> tuple[Choice, ...]:
    if question.task in SIDED:
        return Choice("left", "Left", "ArrowLeft", "←"), Choice("right", "Right", "ArrowRight", "→")
    texts = question.steps if question.task == "rating" else question.options
    keys = [str(i + 1) if i < 9 else ("0" if i == 9 else "") for i in range(len(texts))]
    if question.task == "rating":  # a step's key is its own figure, where it has one
        keys = [text if len(text) == 1 else {"10": "-"}.get(text, "") for text in texts]
    return tuple(Choice(text, text, key, key) for text, key in zip(texts, keys, strict=True))


def _item(place: Place, role: str, content: str) -> Item:
    names = content.split(" ")
    columns = round(len(names) ** 0.5)
    return Item(role, tuple(_content(place, name) for name in names), columns + (columns**2 < len(names)))


def _content(place: Place, name: str) -> Content:
    if name.endswith(".txt"):
        return Content("text", text=place.shown.text(name))
    return Content("animation" if name.endswith(".apng") else "image", name=name)
