"""Trials in a fixed order and on fixed sides, for platforms that do not shuffle sides themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qdfeedback.feedback.study import Question, Study
from qdfeedback.study.exchange.material import Material, Row
from qdfeedback.study.plan import plan, rng_of

CHOICES = ("left", "right", "tie", "skip")


@dataclass(frozen=True)
class Placed:
    """One trial in its place.

    Attributes:
        trial: its row.
        kind: main, catch or repeat.
        swapped: whether the trial's second item stands left.
        left: item id.
        right: item id, None where a single thing is judged.
    """

    trial: Row
    kind: str
    swapped: bool
    left: str
    right: str | None

    @property
    def expected(self) -> str | None:
        """What is right in a catch trial: a side where there are two, else a label."""
        wanted = self.trial["expected"]
        if wanted is None or self.right is None:
            return None if wanted is None else str(wanted)
        return "left" if wanted == self.left else "right"


def lay_out(material: Material, question: Question, rater: str) -> list[Placed]:
    """Returns all main trials of a question with catch trials and repeats among them.

    Sides are balanced over the trials, and a repeat stands the other way round; whoever answers sees the same. Trials
    about items that are marked as sensitive are left out: these platforms do not ask who wants to see them. So are
    catch trials that are texts among images, which one task there cannot show.

    Args:
        material: the study.
        question: which of its questions.
        rater: stands for all who will see this order.
    """
    study = material.study
    asked = [row for row in material.trials if row["question"] == question.name and not material.is_sensitive(row)]
    pools = {kind: [row for row in asked if row["kind"] == kind] for kind in ("main", "catch")}
    medium = {_medium(material, row) for row in pools["main"]}
    pools["catch"] = [row for row in pools["catch"] if _medium(material, row) in medium][: study.catch_per_rater]
    for kind, pool in pools.items():
        order = rng_of(study, rater, "layout", question.name, kind).permutation(len(pool))
        pools[kind] = [pool[i] for i in order]
    placed: list[Placed] = []
    for slot in plan(study, rater, main=len(pools["main"]), catch=len(pools["catch"])):
        row = placed[slot.repeats].trial if slot.repeats is not None else pools[slot.kind].pop()
        swapped = slot.swapped and row["b_id"] is not None
        left, right = (row["b_id"], row["a_id"]) if swapped else (row["a_id"], row["b_id"])
        placed.append(Placed(row, slot.kind, swapped, left, right))
    return placed


def _medium(material: Material, row: Row) -> str:
    """Returns "text" or "image", what a trial is about."""
    return "text" if all(name.endswith(".txt") for name in material.names(row["a_id"])) else "image"


def questions(material: Material, rater: str) -> dict[str, tuple[Question, list[Placed]]]:
    """Returns a folder name for each question that has trials, the question, and its trials; "." where it is alone.

    Raises:
        ValueError: There is no trial to show.
    """
    found = [(question, lay_out(material, question, rater)) for question in material.study.questions]
    found = [(question, placed) for question, placed in found if placed]
    if not found:
        raise ValueError(f"study {material.study.study_id} has no trials to show")
    if len(found) == 1:
        return {".": found[0]}
    return {
        f"{i}-{re.sub(r'[^A-Za-z0-9_-]', '_', question.name)[:40]}": (question, placed)
        for i, (question, placed) in enumerate(found, 1)
    }


def has_prompt(placed: Placed) -> bool:
    """Whether what stands beside the sides is what was asked for, and not a reference that is compared with them."""
    return placed.trial["anchor_id"] is not None and placed.trial["task"] != "triplet"


def asked(question: Question) -> str:
    """Returns the question as people read it, with what the ends of a scale mean."""
    if question.task != "rating":
        return question.text
    ends = [f"{step} = {end}" for step, end in zip(question.scale, question.ends, strict=True) if end]
    return f"{question.text} ({', '.join(ends)})" if ends else question.text


def told(study: Study) -> str:
    """Returns what the study's own page tells people before the first question, as the end of a README."""
    parts = {"Consent": study.consent, "Instructions": study.instructions, "Warning": study.sensitive}
    if study.retention:
        parts["Consent"] += f"\n\nThe data are kept until {study.retention}."
    head = "\nTell people before they begin, and let them agree, for this page does not:\n"
    return head + "".join(f"\n## {name}\n\n{text}\n" for name, text in parts.items() if text)


def media_of(material: Material, placed: list[Placed], fmt: str) -> str:
    """Returns "text" or "image", what all that is judged in the trials is; a prompt beside it is always text.

    Raises:
        ValueError: Some are text and some are images, or one is a set.
    """
    sides = [(None if has_prompt(one) else one.trial["anchor_id"], one.left, one.right) for one in placed]
    items = {item for trial in sides for item in trial if item is not None}
    kinds = {"text" if material.name(item, fmt).endswith(".txt") else "image" for item in items}
    if len(kinds) > 1:
        raise ValueError(f"the format {fmt} shows texts or images in one question, not both")
    return kinds.pop()
