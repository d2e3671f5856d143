"""A study as a static jsPsych page, which needs no server of its own."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path
from string import Template
from typing import Any

from qdfeedback import files
from qdfeedback.feedback.tables import RECORD
from qdfeedback.files import digest
from qdfeedback.study.exchange.material import Material, Row, copy_files, new_folder

PARTS = Path(__file__).parent / "jspsych"
LIBRARY = {
    "jspsych.css": (
        "jspsych", "8.3.0", "css/jspsych.css",
        "sha384-+gGUkbtw2BJWSroKW2jzIEXGe7KxdycJ0Bo+CqzpIOSBHOYEHHRWETaV+v2mpdWX",
    ),
    "jspsych.js": (
        "jspsych", "8.3.0", "dist/index.browser.min.js",
        "sha384-PPMNzYQfqrWFhrOxhpwxXmKK+LDH//fBCLsvA/JIRHOfiuOcZ2j8wJhqo87V4R4B",
    ),
    "plugin-html-button-response.js": (
        "@jspsych/plugin-html-button-response", "2.1.0", "dist/index.browser.min.js",
        "sha384-tPGtXEC8xEbInWvarnxvJ3fyzeXwRDS0QjGUts+TGQ9I8OCxiqsv9lxTS3mEN6um",
    ),
    "plugin-preload.js": (
        "@jspsych/plugin-preload", "2.1.0", "dist/index.browser.min.js",
        "sha384-BiUYHx4tdTYToceth936qf4Wkf+Ho2VZti/5bB5/nDiPRuTaZ37hrxkLsANkHGdp",
    ),
}  # fmt: skip
"""File in the folder → npm package, version, file in the package, its digest."""

_LOADED = """\
`index.html` loads jsPsych from unpkg.com, in fixed versions that the browser checks. For a page that needs no other
server, run

    npm install {packages}

and export again with the `node_modules` folder that this makes.
"""
_COPIED = "jsPsych lies in this folder (MIT license): the page needs no other server.\n"
_README = """\
# A study as a static page

Put this folder on any web server, or on a host for jsPsych studies, and open `index.html`.

{library}
- Each person gets an order and sides of their own, at random. With PROLIFIC_PID in the address, they are known by a
  hash of it (over https), and the id itself is not kept; without, by a random name. The import replaces either by a
  pseudonym that only the study's key can make.
- Who reloads the page goes on where they were: answers are kept in the browser until the end.
- At the end the answers are downloaded as one JSON file per person{datapipe}. Hand these files to the import.
- `index.html?simulate=data-only` answers at random, to try it out; such answers are marked as a simulation.
"""


def export_jspsych(material: Material, out: Path, *, packages: Path | None = None, datapipe: str = "") -> int:
    """Writes a folder with `index.html`; returns how many trials it asks.

    Args:
        material: the study.
        out: a new folder.
        packages: a `node_modules` folder, or the one that holds it; None = the page loads jsPsych from unpkg.com.
        datapipe: id of the DataPipe experiment that takes the answers; "" = none.

    Raises:
        ValueError: There is no trial, something to show is missing, or jsPsych is not in `packages`.
    """
    asked = [trial for trial in material.trials if trial["kind"] in ("main", "catch", "practice")]
    if not any(trial["kind"] == "main" for trial in asked):
        raise ValueError(f"study {material.study.study_id} has no trials to show")
    items = {item for trial in asked for item in (trial["anchor_id"], trial["a_id"], trial["b_id"]) if item is not None}
    names = {item: material.names(item) for item in sorted(items)}
    with new_folder(out) as folder:
        copy_files(material.shown, _images(names), folder / "media")
        content = _content(material, asked, names) | {"datapipe": datapipe}
        content["version"] = digest(json.dumps(content, sort_keys=True).encode())
        files.write_atomic(folder / "trials.js", f"window.STUDY = {_script(content)};\n".encode())
        shutil.copyfile(PARTS / "study.js", folder / "study.js")
        shutil.copyfile(PARTS / "study.css", folder / "study.css")
        if packages is not None:
            _copy_library(Path(packages), folder)
        page = Template((PARTS / "index.html").read_text(encoding="utf-8"))
        title = html.escape(material.study.title)
        files.write_atomic(
            folder / "index.html", page.substitute(title=title, library=_tags(copied=packages is not None)).encode()
        )
        files.write_atomic(folder / "README.md", _readme(copied=packages is not None, datapipe=datapipe).encode())
    return len(asked)


def _content(material: Material, asked: list[Row], names: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Returns all that the page needs to know."""
    study = material.study
    settings = {
        name: getattr(study, name)
        for name in (
            "study_id", "title", "instructions", "consent", "consent_sha256", "seed", "trials_per_rater",
            "catch_per_rater", "repeats", "repeat_gap", "practice", "skip", "sensitive", "completion_code",
            "completion_url", "retention",
        )
    }  # fmt: skip
    questions = {
        question.name: {
            "task": question.task, "text": question.text, "tie": question.tie, "ends": list(question.ends),
            "options": list(question.options or question.steps),
        }
        for question in study.questions
    }  # fmt: skip
    fields = ("trial_id", "question", "kind", "anchor_id", "a_id", "b_id", "expected")
    return settings | {
        "schema_version": RECORD,
        "questions": questions,
        "trials": [
            {field: trial[field] for field in fields} | {"sensitive": material.is_sensitive(trial)} for trial in asked
        ],
        "items": {
            item: [
                {"text": material.shown.text(name)} if name.endswith(".txt") else {"image": f"media/{name}"}
                for name in shown
            ]
            for item, shown in names.items()
        },
    }


def _images(names: dict[str, tuple[str, ...]]) -> set[str]:
    return {name for shown in names.values() for name in shown if not name.endswith(".txt")}


def _script(value: Any) -> str:
    """Returns JSON as it may stand in a script: no tag can begin or end in it."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _copy_library(packages: Path, folder: Path) -> None:
    if (packages / "node_modules").is_dir():
        packages /= "node_modules"
    for name, (package, version, path, _) in LIBRARY.items():
        source = packages / package / path
        if not source.is_file():
            raise ValueError(f"{source} is not there: npm install {package}@{version}")
        shutil.copyfile(source, folder / name)


def _tags(*, copied: bool) -> str:
    lines = []
    for name, (package, version, path, check) in LIBRARY.items():
        where = f"./{name}" if copied else f"https://unpkg.com/{package}@{version}/{path}"
        guard = "" if copied else f' integrity="{check}" crossorigin="anonymous"'
        is_style = name.endswith(".css")
        lines.append(
            f'<link rel="stylesheet" href="{where}"{guard}>' if is_style else f'<script src="{where}"{guard}></script>'
        )
    return "\n".join(lines)


def _readme(*, copied: bool, datapipe: str) -> str:
    wanted = sorted({f"{package}@{version}" for package, version, _, _ in LIBRARY.values()})
    library = _COPIED if copied else _LOADED.format(packages=" ".join(wanted))
    return _README.format(library=library, datapipe=" and sent to DataPipe" if datapipe else "")
