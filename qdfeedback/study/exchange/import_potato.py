"""Answers that people gave in Potato. Read here; `imports` says which of them can stand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from qdfeedback.feedback.study import Study
from qdfeedback.study.exchange.import_pages import Answer, Read, read_each
from qdfeedback.study.exchange.material import Row
from qdfeedback.study.exchange.values import RefusedError, number, since_1970, text
from qdfeedback.text_files import read_json
from qdfeedback.values import brief


def read_potato(path: Path, _: Study) -> Read:
    """Returns the answers in an `annotation_output` folder of Potato: `<user>/user_state.json`.

    Raises:
        ValueError: There is no such file in it, or each is damaged.
    """
    states = sorted(path.glob("*/user_state.json")) if path.is_dir() else []
    if not states:
        raise ValueError(f"{path} must be Potato's annotation_output: it holds no <user>/user_state.json")
    return read_each(states, _read_state)


def _read_state(path: Path) -> list[Answer]:
    state = read_json(path)
    given = state.get("instance_id_to_label_to_value") if isinstance(state, dict) else None
    if not isinstance(given, dict) or "user_id" not in state:
        raise ValueError(f"{path} is no user state of Potato: user_id or instance_id_to_label_to_value is missing")
    try:
        rater = text(state["user_id"])  # the platform's own id
    except RefusedError as error:
        raise ValueError(f"{path}: user_id: {error}") from error
    if not rater:
        raise ValueError(f"{path}: user_id is empty")
    behaviour = state.get("instance_id_to_behavioral_data")
    written = path.stat().st_mtime
    found = []
    for item, labels in given.items():
        data = behaviour.get(item) if isinstance(behaviour, dict) else None
        answer = _potato_answer(item, labels, data if isinstance(data, dict) else {}, written)
        if answer is not None:
            found.append(replace(answer, where=f"{path}, item {brief(item)}", annotator_id=rater))
    return found


def _potato_answer(item: str, labels: Any, data: Row, written: float) -> Answer | None:
    """Returns the answer to one item, None where none was given."""
    kind, _, rest = item.partition("|")
    sides, _, trial_id = rest.partition("|")
    answer = Answer("", trial_id, kind, "", "", swapped=sides == "ba")
    try:
        if sides not in ("ab", "ba"):
            raise RefusedError("the item is not from a study")
        choice = _potato_choice(labels)
        if choice is None:
            return None
        ended = since_1970(data.get("session_end")) or since_1970(written)
        took = number(data.get("total_time_ms")) or None
        return replace(answer, choice=choice, times={"answered_utc": ended, "response_ms": took})
    except RefusedError as error:
        return replace(answer, refused=str(error))


def _potato_choice(labels: Any) -> str | None:
    """Returns what was chosen, None where nothing was.

    Raises:
        RefusedError: That cannot be told.
    """
    if isinstance(labels, dict):  # another form of the same: schema → name → value
        labels = [[{"schema": schema, "name": name}, value] for schema, of in labels.items() if isinstance(of, dict)
                  for name, value in of.items()]  # fmt: skip
    if labels in (None, "", []):
        return None
    pairs = [(one[0].get("name"), one[1]) for one in labels if _is_label(one)] if isinstance(labels, list) else []
    given = [(name, value) for name, value in pairs if not (value in (None, "", "false") or value is False)]
    if pairs and not given:
        return None
    if len(given) != 1:
        raise RefusedError(f"one answer to 'choice' is expected, got {brief(labels)}")
    name, value = given[0]
    chosen = value if name == "selection" else name
    if not isinstance(chosen, str | int) or isinstance(chosen, bool):
        raise RefusedError(f"cannot read the answer {brief(labels)}")
    return {"A": "left", "B": "right"}.get(str(chosen), str(chosen)) if name == "selection" else str(chosen)


def _is_label(one: Any) -> bool:
    return isinstance(one, list) and len(one) == 2 and isinstance(one[0], dict) and one[0].get("schema") == "choice"
