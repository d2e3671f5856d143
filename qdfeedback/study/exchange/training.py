"""Judgments as the training data that others read: TRL, sentence-transformers, NIGHTS, THINGS.

Only decided main answers to one question, of the annotators who are asked for, go in; ties are dropped, but for
NIGHTS, where a tie is half a vote for either side. These files name neither raters nor trials, so they cannot be
imported again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from qdfeedback.csv_files import write_csv
from qdfeedback.study.exchange.material import Material, Row, copy_files, new_folder
from qdfeedback.study.exchange.records import write_jsonl

NIGHTS = (
    "id", "left_vote", "right_vote", "votes", "ref_path", "left_path", "right_path", "split", "is_imagenet",
)  # fmt: skip
"""The columns of a NIGHTS `data.csv`: what reads it goes by their places."""


NIGHTS_VOTES = 6
_NIGHTS_README = """\
`data.csv` holds {n} triplets with the columns of NIGHTS, `media/` what they are about. NIGHTS' own loader keeps
triplets with at least {votes} votes: {enough} of these have as many (`raters_per_trial` in `study.json` says how many
are asked for).
"""


def export_trl(material: Material, out: Path) -> int:
    """Writes one JSON line {chosen, rejected} for each decided pair of texts; returns how many.

    Where people saw what a text was made for, it is the line's "prompt" (TRL's explicit form); in a line without one
    it is "" then, since all lines of a data set have the same columns.

    Raises:
        ValueError: A pair or its prompt is not of texts, there is no pair, or the file is there already.
    """
    rows = _decided(material, "pair")
    has_prompts = any(row["anchor_id"] is not None for row in rows)
    found = []
    for row in rows:
        chosen, rejected = (_text(material, item) for item in _sides(row))
        prompt = "" if row["anchor_id"] is None else _text(material, row["anchor_id"])
        found.append(({"prompt": prompt} if has_prompts else {}) | {"chosen": chosen, "rejected": rejected})
    if not found:
        raise ValueError(f"study {material.study.study_id} has no decided pair; trl is for pairs of texts")
    if Path(out).exists():
        raise ValueError(f"{out} is there already")
    write_jsonl(Path(out), found)
    return len(found)


def export_triplets(material: Material, out: Path) -> int:
    """Writes `triplets.jsonl` {anchor, positive, negative}, texts or paths in `media/`; returns how many.

    Raises:
        ValueError: An item is a set, or its file is missing.
    """
    with new_folder(out) as folder:
        found, files = [], set()
        for row in _decided(material, "triplet"):
            names = [material.name(item, "hf-triplets") for item in (row["anchor_id"], *_sides(row))]
            files |= {name for name in names if not name.endswith(".txt")}
            contents = [material.shown.text(name) if name.endswith(".txt") else f"media/{name}" for name in names]
            found.append(dict(zip(("anchor", "positive", "negative"), contents, strict=True)))
        copy_files(material.shown, files, folder / "media")
        write_jsonl(folder / "triplets.jsonl", found)
    return len(found)


def export_nights(material: Material, out: Path) -> int:
    """Writes `data.csv`, one line per trial with the share of votes for either side, and `media/`; returns how many.

    The split goes by the reference: all trials about one are in one part.

    Raises:
        ValueError: An item is a set, or its file is missing.
    """
    by_trial: dict[str, list[Row]] = {}
    for row in material.judgments:
        if row["task"] == "triplet" and row["kind"] == "main" and row["choice"] in ("left", "right", "tie"):
            by_trial.setdefault(row["trial_id"], []).append(row)
    with new_folder(out) as folder:
        found: list[list[Any]] = []
        files = set()
        for number, rows in enumerate(by_trial.values()):
            first = rows[0]
            right = sum(_share(row, first["right_id"]) for row in rows) / len(rows)
            names = [material.name(first[side], "nights") for side in ("anchor_id", "left_id", "right_id")]
            files |= set(names)
            paths = [f"media/{name}" for name in names]
            found.append([number, 1 - right, right, len(rows), *paths, _split(first["anchor_id"]), False])
        copy_files(material.shown, files, folder / "media")
        write_csv(folder / "data.csv", list(NIGHTS), found)
        enough = sum(len(rows) >= NIGHTS_VOTES for rows in by_trial.values())
        readme = _NIGHTS_README.format(n=len(found), enough=enough, votes=NIGHTS_VOTES)
        (folder / "README.md").write_text(readme, encoding="utf-8")
    return len(found)


def export_things(material: Material, out: Path) -> int:
    """Writes odd-one-out triplets over counted items; returns how many.

    `triplets.csv` has named columns; `triplets.txt` is the same, plain: two similar ones, then the odd one.
    `items.csv` tells which item each number is. Of a triplet answer, the reference and the chosen one are the pair.
    """
    rows = [(row["anchor_id"], *_sides(row)) for row in _decided(material, "triplet")]
    ids = sorted({item for row in rows for item in row})
    number = {item: i for i, item in enumerate(ids)}
    counted = [[number[item] for item in row] for row in rows]
    with new_folder(out) as folder:
        contents = [[number[item], item, " ".join(f"media/{name}" for name in material.names(item))] for item in ids]
        copy_files(material.shown, [name for item in ids for name in material.names(item)], folder / "media")
        write_csv(folder / "items.csv", ["number", "item_id", "path"], contents)
        write_csv(folder / "triplets.csv", ["similar_1", "similar_2", "odd"], counted)
        lines = [" ".join(map(str, row)) + "\n" for row in counted]
        (folder / "triplets.txt").write_text("".join(lines), encoding="utf-8")
    return len(rows)


def _decided(material: Material, task: str) -> list[Row]:
    return [
        row
        for row in material.judgments
        if row["task"] == task and row["kind"] == "main" and row["winner_id"] is not None
    ]


def _sides(row: Row) -> tuple[str, str]:
    """Returns the item that was chosen, and the other."""
    return row["winner_id"], row["right_id"] if row["choice"] == "left" else row["left_id"]


def _share(row: Row, item: str) -> float:
    return 0.5 if row["choice"] == "tie" else float(row["winner_id"] == item)


def _split(anchor: str) -> str:
    """Returns the part of the data that a reference is in: 8 of 10 train, 1 val, 1 test."""
    tenth = hashlib.sha256(anchor.encode()).digest()[0] * 10 // 256
    return {8: "val", 9: "test"}.get(tenth, "train")


def _text(material: Material, item: str) -> str:
    name = material.name(item, "trl")
    if not name.endswith(".txt"):
        raise ValueError(f"trl is for pairs of texts; item {item!r} is {name}")
    return material.shown.text(name)
