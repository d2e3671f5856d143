"""Answers that people gave in Potato. Read here; `imports` says which of them can stand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qdfeedback.study.exchange.import_pages import Answer, number, read_json
from qdfeedback.study.exchange.material import Row
from qdfeedback.study.settings import Study


def read_potato(path: Path, _: Study) -> list[Answer]:
    """Returns the answers in an `annotation_output` folder of Potato: `<user>/user_state.json`.

    Raises:
        ValueError: There is no such file in it, or one is damaged.
    """
    states = sorted(path.glob("*/user_state.json")) if path.is_dir() else []
    if not states:
        raise ValueError(f"{path} must be Potato's annotation_output: it holds no <user>/user_state.json")
    return [answer for state in states for answer in _potato_answers(state)]


def _potato_answers(path: Path) -> Iterator[Answer]:
    state = read_json(path)
    given = state.get("instance_id_to_label_to_value") if isinstance(state, dict) else None
    if not isinstance(given, dict) or "user_id" not in state:
        raise ValueError(f"{path} is no user state of Potato: user_id or instance_id_to_label_to_value is missing")
    rater = str(state["user_id"])  # the platform's own id
    behaviour = state.get("instance_id_to_behavioral_data") or {}
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    for item, labels in given.items():
        where = f"{path}, item {item!r}"
        kind, _, rest = item.partition("|")
        sides, _, trial_id = rest.partition("|")
        choice = _potato_choice(labels)
        if sides not in ("ab", "ba"):
            yield Answer(where, item, kind, choice or "", rater, refused="the item is not from a study")
        elif choice is not None:
            data = behaviour.get(item) if isinstance(behaviour, dict) else None
            yield Answer(
                where, trial_id, kind, choice, rater, swapped=sides == "ba",
                times=_potato_times(data if isinstance(data, dict) else {}, written, where),
            )  # fmt: skip


def _potato_choice(labels: Any) -> str | None:
    """Returns what was chosen, None where nothing was, "" where that cannot be told."""
    if isinstance(labels, dict):  # another form of the same: schema → name → value
        labels = [[{"schema": schema, "name": name}, value] for schema, of in labels.items() if isinstance(of, dict)
                  for name, value in of.items()]  # fmt: skip
    if not isinstance(labels, list):
        return "" if labels else None
    pairs = [(one[0].get("name"), one[1]) for one in labels if _is_label(one)]
    if labels and not pairs:
        return ""  # there is something that cannot be read
    pairs = [(name, value) for name, value in pairs if value not in (None, "", False, "false")]
    if not pairs:
        return None
    if len(pairs) > 1:
        return ""
    name, value = pairs[0]
    return {"A": "left", "B": "right"}.get(str(value), str(value)) if name == "selection" else str(name)


def _is_label(one: Any) -> bool:
    return isinstance(one, list) and len(one) == 2 and isinstance(one[0], dict) and one[0].get("schema") == "choice"


def _potato_times(data: Row, written: datetime, where: str) -> Row:
    ended = number(data.get("session_end"), float, where)
    took = number(data.get("total_time_ms"), float, where)
    when = written if ended is None else datetime.fromtimestamp(ended, UTC)
    return {"answered_utc": when.isoformat(timespec="milliseconds"), "response_ms": took or None}
