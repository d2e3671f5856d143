"""Whether an imported answer can stand: does it fit its trial, its question, and itself."""

from __future__ import annotations

from qdfeedback.feedback.study import SIDED, TASKS, Question, Study
from qdfeedback.study.exchange.import_pages import Answer
from qdfeedback.study.exchange.layout import CHOICES
from qdfeedback.study.exchange.material import Row
from qdfeedback.study.exchange.values import LONGEST_MS, RefusedError, number
from qdfeedback.values import brief

_KINDS = {"main": ("main", "repeat", "surplus"), "catch": ("catch",), "practice": ("practice",)}


def completed(answer: Answer, asked: dict[str, Row], study: Study) -> Row:
    """Returns the judgment that a page's answer stands for.

    Raises:
        RefusedError: The study has no such trial, or that is no answer to it.
    """
    if answer.refused:
        raise RefusedError(answer.refused)
    trial = asked.get(answer.trial_id)
    if trial is None:
        raise RefusedError(f"the study has no trial {brief(answer.trial_id)}")
    left, right = answer.left, answer.right
    if answer.swapped is not None:
        swapped = answer.swapped and trial["b_id"] is not None
        left, right = (trial["b_id"], trial["a_id"]) if swapped else (trial["a_id"], trial["b_id"])
    times = answer.times or {}
    if times.get("answered_utc") is None:
        raise RefusedError("it does not say when it was given")
    row: Row = {
        "study_id": study.study_id, "trial_id": answer.trial_id, "task": trial["task"], "question": trial["question"],
        "kind": answer.kind, "purpose": trial["purpose"], "anchor_id": trial["anchor_id"], "left_id": left,
        "right_id": right, "choice": answer.choice, "annotator_kind": answer.annotator_kind,
        "annotator_id": answer.annotator_id,
    }  # fmt: skip
    row |= times
    if trial["task"] in SIDED and answer.choice in CHOICES[:2]:
        row["winner_id"] = left if answer.choice == "left" else right
    elif trial["task"] == "rating" and answer.choice != "skip":
        try:
            row |= {"choice": "value", "value": number(answer.choice)}
        except RefusedError as error:
            raise RefusedError(f"{brief(answer.choice)} is no rating") from error
    elif trial["task"] == "label" and answer.choice in _question(study, trial["question"]).options:
        row |= {"choice": "label", "label": answer.choice}  # an option may be called "skip"
    return row


def check(row: Row, asked: dict[str, Row], study: Study) -> None:
    """Refuses a judgment that cannot be; one that does not name its question gets its trial's.

    A model's or a simulation's judgment may stand without a trial: a search that asks those publishes none.

    Raises:
        RefusedError: What does not fit.
    """
    trial = asked.get(row["trial_id"])
    if trial is not None:
        row["question"] = trial["question"] if row.get("question") is None else row["question"]
        _fits_trial(row, trial)
    elif row["annotator_kind"] == "person":
        raise RefusedError(f"the study has no trial {brief(row['trial_id'])}")
    if row["annotator_kind"] not in ("person", "model", "simulation"):
        raise RefusedError(f"annotator_kind {brief(row['annotator_kind'])} is none of person, model, simulation")
    if row["kind"] not in {kind for kinds in _KINDS.values() for kind in kinds}:
        raise RefusedError(f"kind {brief(row['kind'])} is not known")
    if row["task"] not in TASKS:
        raise RefusedError(f"task {brief(row['task'])} is not known")
    _fits_itself(row)
    _fits_question(row, study)


def _fits_trial(row: Row, trial: Row) -> None:
    if row["kind"] not in _KINDS.get(trial["kind"], (trial["kind"],)):
        raise RefusedError(f"a {trial['kind']} trial has no answer of the kind {brief(row['kind'])}")
    if row["task"] != trial["task"] or row["question"] != trial["question"]:
        raise RefusedError(f"trial {row['trial_id']!r} asks {trial['question']!r}, a {trial['task']}")
    shown = {row["left_id"], row.get("right_id")}
    if row.get("anchor_id") != trial["anchor_id"] or shown != {trial["a_id"], trial["b_id"]}:
        raise RefusedError(f"trial {row['trial_id']!r} is about other items")


def _fits_itself(row: Row) -> None:
    sides = {"left": row["left_id"], "right": row.get("right_id")}
    needed, anchored = row["task"] in SIDED, row.get("anchor_id") is not None
    if needed != (sides["right"] is not None) or (row["task"] == "triplet" and not anchored):
        raise RefusedError(f"a {row['task']} is not about so many items")
    allowed = {"rating": ("value", "skip"), "label": ("label", "skip")}.get(row["task"], CHOICES)
    if row["choice"] not in allowed:
        raise RefusedError(f"{brief(row['choice'])} is no answer to a {row['task']}")
    if row.get("winner_id") != sides.get(row["choice"]) or (row["choice"] in sides and row.get("winner_id") is None):
        raise RefusedError(f"choice {row['choice']!r} and winner {brief(row.get('winner_id'))} contradict each other")
    if (row.get("value") is None) != (row["choice"] != "value") or (row.get("label") is None) != (
        row["choice"] != "label"
    ):
        raise RefusedError(
            f"choice {row['choice']!r} does not go with value {brief(row.get('value'))}, {brief(row.get('label'))}"
        )
    probability, took = row.get("probability"), row.get("response_ms")
    if probability is not None and not 0 <= probability <= 1:
        raise RefusedError(f"probability {probability} must lie in [0, 1]")
    if took is not None and not 0 <= took <= LONGEST_MS:
        raise RefusedError(f"a response time of {took:g} ms cannot be")


def _fits_question(row: Row, study: Study) -> None:
    if row.get("question") is None:
        return
    question = _question(study, row["question"])
    low, high = question.scale
    if row["task"] != question.task:
        raise RefusedError(f"question {question.name!r} is a {question.task}, not a {row['task']}")
    if row["choice"] == "value" and not (low <= row["value"] <= high and row["value"].is_integer()):
        raise RefusedError(f"{row['value']:g} is not on the scale from {low} to {high}")
    if row["choice"] == "label" and row["label"] not in question.options:
        raise RefusedError(f"{brief(row['label'])} is none of the options")
    if row["annotator_kind"] == "person" and row["choice"] == "tie" and not question.tie:
        raise RefusedError("the question has no tie")
    if row["annotator_kind"] == "person" and row["choice"] == "skip" and not study.skip:
        raise RefusedError("the study does not let people skip")


def _question(study: Study, name: str) -> Question:
    try:
        return study.question(name)
    except ValueError as error:
        raise RefusedError(f"the study asks no question {brief(name)}") from error
