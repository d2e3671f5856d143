"""A study's questions for Label Studio and Potato; `imports` reads what people answer there."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from qdfeedback import files
from qdfeedback.feedback.study import SIDED, Question, Study
from qdfeedback.feedback.tables import RECORD
from qdfeedback.shown import MEDIA
from qdfeedback.study.exchange.layout import CHOICES, Placed, asked, has_prompt, media_of, questions, told
from qdfeedback.study.exchange.material import Material, Row, copy_files, new_folder
from qdfeedback.study.exchange.records import write_jsonl

_NOT_XML = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_YAML = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SIDE_BY_SIDE = "display:grid;grid-template:auto/1fr 1fr;column-gap:8px"
_LABEL_STUDIO = """\
Import `config.xml` as the labeling interface of a new project, then `tasks.json` as its data.

Images lie in `media/`. Start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and
LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT set to this folder, and add `media` to the project as a local storage.

Sides are shuffled already, and catch trials and repeats stand among the tasks: keep the order of tasks.
Export the answers as JSON, not as JSON-MIN or CSV.
"""
_POTATO = """\
Start Potato with `config.yaml`. Answers appear in `annotation_output/`; that folder can be imported.

Sides are shuffled already. Nothing is asked twice: Potato gives items in an order of its own, in which a repeat could
come before what it repeats. Images are part of `items.jsonl`.
Catch trials are Potato's attention checks; they are in `attention_checks.json`.
"""


def export_label_studio(material: Material, out: Path) -> int:
    """Writes `config.xml`, `tasks.json` and `media/`, in a folder for each question where there are several.

    Raises:
        ValueError: A question mixes texts and images or shows sets, or there is no trial.
    """
    n = 0
    with new_folder(out) as top:
        for name, (question, placed) in questions(material, "label-studio").items():
            media, prompt = media_of(material, placed, "label-studio"), any(map(has_prompt, placed))
            prefix = "media" if name == "." else f"{name}/media"
            folder = top / name
            folder.mkdir(exist_ok=True)
            tasks = [{"data": _task(material, question, one, prefix)} for one in placed]
            files.write_json(folder / "tasks.json", tasks)
            files.write_atomic(folder / "config.xml", label_studio_config(question, media, prompt=prompt).encode())
            if media == "image":
                copy_files(material.shown, _shown(material, placed), folder / "media")
            n += len(placed)
        files.write_atomic(top / "README.md", (_LABEL_STUDIO + told(material.study)).encode())
    return n


def label_studio_config(question: Question, media: str, *, prompt: bool = False) -> str:
    """Returns the labeling interface of one question.

    Two sides without a tie are a Pairwise tag, everything else is Choices: Pairwise has no tie, and a Rating of two
    things at once loses data.

    Raises:
        ValueError: An option begins with $, which Label Studio takes for a variable.
    """
    two = question.task in SIDED
    view = ET.Element("View")
    ET.SubElement(view, "Header", value="$question_text")
    tag = {"text": "Text", "image": "Image"}[media]
    if question.task == "triplet" or prompt:
        ET.SubElement(view, "Text" if prompt else tag, name="ref", value="$ref")
    sides = ET.SubElement(view, "View", {"style": _SIDE_BY_SIDE} if two else {})
    for side in ("left", "right")[: 1 + two]:
        ET.SubElement(sides, tag, name=side, value=f"${side}")
    if two and not question.tie:
        ET.SubElement(view, "Pairwise", name="choice", toName="left,right")
        return _xml(view)
    options = ("left", "tie", "right") if two else question.options or question.steps
    choices = ET.SubElement(view, "Choices", name="choice", toName="left", choice="single-radio", required="true")
    for option in options:
        if option.startswith("$") or _NOT_XML.search(option):
            raise ValueError(f"label-studio cannot show the option {option!r} of question {question.name!r}")
        ET.SubElement(choices, "Choice", value=option)
    return _xml(view)


def export_potato(material: Material, out: Path) -> int:
    """Writes `config.yaml`, `items.jsonl` and `attention_checks.json`, in a folder for each question.

    The id of an item is kind, sides and trial id: all that is needed to read the answers.

    Raises:
        ValueError: A question mixes texts and images or shows sets, or there is no trial.
    """
    n = 0
    with new_folder(out) as top:
        for name, (question, placed) in questions(material, "potato").items():
            media, prompt = media_of(material, placed, "potato"), any(map(has_prompt, placed))
            folder = top / name
            folder.mkdir(exist_ok=True)
            placed = [one for one in placed if one.kind != "repeat"]
            items = [_potato_item(material, one, i) for i, one in enumerate(placed)]
            checks = [
                item | {"expected_answer": {"choice": _potato_answer(question, one.expected)}}
                for item, one in zip(items, placed, strict=True)
                if one.kind == "catch"
            ]
            write_jsonl(
                folder / "items.jsonl", [i for i, one in zip(items, placed, strict=True) if one.kind != "catch"]
            )
            files.write_json(folder / "attention_checks.json", checks)
            config = _potato_config(material.study, question, media, len(placed), len(checks), prompt=prompt)
            files.write_atomic(folder / "config.yaml", _yaml(config).encode())
            n += len(placed)
        files.write_atomic(top / "README.md", (_POTATO + told(material.study)).encode())
    return n


def _task(material: Material, question: Question, one: Placed, prefix: str) -> Row:
    data: Row = {
        "schema_version": RECORD,
        "study_id": material.study.study_id,
        "trial_id": one.trial["trial_id"],
        "kind": one.kind,
        "question": question.name,
        "question_text": asked(question),
    }
    for side, item in (("ref", one.trial["anchor_id"]), ("left", one.left), ("right", one.right)):
        if item is not None:
            name = material.name(item, "label-studio")
            data[f"{side}_id"] = item
            local = f"/data/local-files/?d={prefix}/{name}"
            data[side] = material.shown.text(name) if name.endswith(".txt") else local
    return data


def _shown(material: Material, placed: list[Placed]) -> set[str]:
    items = {item for one in placed for item in (one.trial["anchor_id"], one.left, one.right) if item is not None}
    return {name for item in items for name in material.names(item) if not name.endswith(".txt")}


def _xml(view: ET.Element) -> str:
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def _potato_item(material: Material, one: Placed, number: int) -> Row:
    item: Row = {"id": f"{one.kind}|{'ba' if one.swapped else 'ab'}|{one.trial['trial_id']}", "text": f"{number + 1}"}
    for side, thing in (("ref", one.trial["anchor_id"]), ("left", one.left), ("right", one.right)):
        if thing is not None:
            item[side] = _inline(material, material.name(thing, "potato"))
    if one.right is not None:
        item["responses"] = ["Left", "Right"]
    return item


def _inline(material: Material, name: str) -> str:
    """Returns a text, or an image as an address that holds it: no server has to give it out."""
    if name.endswith(".txt"):
        return material.shown.text(name)
    path = material.shown.path(name)
    return f"data:{MEDIA[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _potato_answer(question: Question, expected: str | None) -> str | None:
    two = question.task in SIDED
    return {"left": "A", "right": "B"}[expected] if two and expected in CHOICES[:2] else expected


def _potato_config(
    study: Study, question: Question, media: str, n: int, checks: int, *, prompt: bool
) -> dict[str, Any]:
    two, per_user = question.task in SIDED, min(n, study.trials_per_rater)
    sides = (*(("ref",) if question.task == "triplet" or prompt else ()), "left", *(("right",) if two else ()))
    shows = {side: "text" if side == "ref" and prompt else media for side in sides}
    scheme: dict[str, Any] = {"name": "choice", "description": asked(question), "label_requirement": {"required": True}}
    if two:
        scheme |= {
            "annotation_type": "pairwise", "mode": "binary", "items_key": "responses", "labels": ["Left", "Right"],
            "allow_tie": question.tie,
        }  # fmt: skip
    else:
        scheme |= {"annotation_type": "radio", "labels": list(question.options or question.steps)}
    config: dict[str, Any] = {
        "annotation_task_name": study.title,
        "task_dir": ".",
        "data_files": ["items.jsonl"],
        "item_properties": {"id_key": "id", "text_key": "text"},
        "output_annotation_dir": "annotation_output",
        "output_annotation_format": "json",
        "user_config": {"allow_all_users": True, "users": []},
        "login": {"type": "url_direct", "url_argument": "PROLIFIC_PID"},
        "assignment_strategy": "random",
        "max_annotations_per_user": per_user,
        "max_annotations_per_item": study.raters_per_trial,
        "instance_display": {
            "layout": {"direction": "horizontal"},
            "fields": [{"key": side, "type": shows[side], "label": side.capitalize()} for side in sides],
        },
        "annotation_schemes": [scheme],
    }
    if study.completion_code:
        config |= {"completion_code": study.completion_code, "auto_redirect_on_completion": True}
    if checks:
        config["attention_checks"] = {
            "enabled": True, "items_file": "attention_checks.json", "frequency": max(1, per_user // checks),
            "failure_handling": {"warn_threshold": 2, "block_threshold": checks + 1},
        }  # fmt: skip
    return config


def _yaml(value: Any) -> str:
    """Returns JSON that is YAML too: nothing in a text can end its quotes or begin something else."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _NOT_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"
