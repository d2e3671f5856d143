"""What a study asks of people, and under which rules: `study.json` in a run folder or a study folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from qdfeedback import files
from qdfeedback.bounds import Bounds, Share, check
from qdfeedback.feedback.answers import SIDED as SIDED  # whoever reads settings may need it
from qdfeedback.files import called
from qdfeedback.text_files import read_json, why
from qdfeedback.values import a_record, a_text, brief, storable

FORMAT = 1
LONGEST_OPTION = 200
Task = Literal["triplet", "pair", "rating", "label"]
TASKS: tuple[Task, ...] = ("triplet", "pair", "rating", "label")

CONSENT = (
    "You are asked to compare or rate things that a computer program made. Your answers, the time that each took and a "
    "pseudonym are stored and used for research; a platform's participant id is kept apart from them and can be "
    "deleted with your answers at any time. Taking part is voluntary: you can stop whenever you like."
)
INSTRUCTIONS = (
    "Say what you find: except where the answer is obvious, nothing is right or wrong. Look at everything that is "
    "shown before you decide. Should a question come twice, say what you find then: it tells how much answers vary."
)


_MOST = 1_000_000
_Count = Annotated[int, Bounds(1, _MOST)]
_Natural = Annotated[int, Bounds(0, _MOST)]
_Rating = Annotated[int, Bounds(-1000, 1000)]


def _check_types(record: Any) -> None:
    """Refuses values of another type than the field's, or out of its bounds: people write these files by hand."""
    for name, hint in get_type_hints(type(record)).items():
        _check_type(getattr(record, name), hint, name)
    check(record, prefix="")


def _check_type(value: Any, hint: Any, name: str) -> None:
    if get_origin(hint) in (Union, UnionType):  # of a type and None
        hint = type(None) if value is None else get_args(hint)[0]
    hint = str if hint is Task else hint
    origin, inner = get_origin(hint), get_args(hint)
    said = brief(list(value) if isinstance(value, tuple) else value)  # as the file has it
    parts: Iterable[Any] = ()
    if origin is tuple:
        many = {str: "strings", int: "whole numbers"}.get(inner[0], "objects")
        wanted = many if inner[-1] is ... else f"{len(inner)} {many}"
        if not isinstance(value, tuple) or (inner[-1] is not ... and len(value) != len(inner)):
            raise ValueError(f"{name} must be a list of {wanted}, got {said}")
        parts = value
    elif origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{name} must be an object of strings, got {said}")
        parts = (*value, *value.values())
    elif isinstance(value, bool) != (hint is bool) or not isinstance(value, int | float if hint is float else hint):
        raise ValueError(f"{name} must be {'a whole number' if hint is int else called(hint)}, got {said}")
    elif isinstance(value, str) and not storable(value):
        raise ValueError(f"{name} has a character that is none: {said}")
    for part in parts:
        _check_type(part, inner[0], f"each of {name}")


@dataclass(frozen=True)
class Question:
    """One kind of question.

    Attributes:
        name: by which trials refer to it.
        task: "triplet", which of two is more like a reference; "pair", which of two; "rating" on a scale; "label".
        text: as people read it.
        options: the categories of "label".
        scale: lowest and highest rating.
        ends: what the lowest and the highest rating mean.
        tie: whether "no difference" is an answer.
    """

    name: str
    task: Task
    text: str
    options: tuple[str, ...] = ()
    scale: tuple[_Rating, _Rating] = (1, 5)
    ends: tuple[str, str] = ("", "")
    tie: bool = False

    def __post_init__(self) -> None:
        """Refuses a question that cannot be asked."""
        _check_types(self)
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {TASKS}, got {self.task!r}")
        for name in ("name", "text"):
            a_text(getattr(self, name), name)
        if self.scale[1] - self.scale[0] not in range(1, 11):
            raise ValueError(f"question {self.name!r} needs a scale of 2 to 11 steps, got {self.scale}")
        if self.task == "label":
            shown = [" ".join(option.split()) for option in self.options]
            if len(shown) < 2:
                raise ValueError(f"question {self.name!r} needs at least two options")
            if len(set(shown)) < len(shown) or not all(0 < len(option) <= LONGEST_OPTION for option in self.options):
                raise ValueError(
                    f"question {self.name!r} needs options that differ, of 1 to {LONGEST_OPTION} characters"
                )
            if any(len(option.splitlines()) > 1 for option in self.options):
                raise ValueError(f"question {self.name!r} has an option of several lines: forms do not keep line ends")
            if "skip" in self.options:
                raise ValueError(f"question {self.name!r} has an option that would be taken for the skip button")

    @property
    def steps(self) -> tuple[str, ...]:
        """The ratings that can be given, as text."""
        return tuple(str(step) for step in range(self.scale[0], self.scale[1] + 1))


@dataclass(frozen=True)
class Study:
    """The settings of a study.

    Attributes:
        study_id: names it in the store.
        questions: what is asked.
        title: of the page.
        instructions: before the first trial.
        consent: what people agree to; its hash is stored with the agreement.
        seed: orders and sides come from it and the rater's pseudonym.
        raters_per_trial: how many answers each trial is to get.
        trials_per_rater: main trials of one person; repeats and catch trials come on top.
        max_raters: how many people may take part; None = no limit.
        catch_per_rater: trials with an obvious answer.
        catch_pass: so many of them must be right, else the report leaves the rater out.
        repeats: share of main trials that come again with sides swapped.
        repeat_gap: at least so many trials lie between a trial and its repeat, where there are enough.
        practice: trials with feedback before the first one.
        lease_minutes: a trial is kept for a person who has gone quiet for so long.
        skip: whether a trial can be skipped.
        sensitive: a warning before people see the first content; "" = none is needed.
        sources: the runs that a study of its own was made of, as they were named; not in exports for publication.
        live: trials are still being published: who has answered all is asked to wait, not thanked.
        fast_ms: a median response time below this is flagged.
        completion_code: shown at the end; "" makes one for each person.
        completion_url: where people go at the end, with {code} in it.
        mturk: the pages may be shown within MTurk's own.
        retention: date until which the data are kept, for the consent page.
    """

    study_id: str
    questions: tuple[Question, ...]
    title: str = "What do you find more similar?"
    instructions: str = INSTRUCTIONS
    consent: str = CONSENT
    seed: Annotated[int, Bounds(0, 2**53 - 1)] = 0
    raters_per_trial: _Count = 3
    trials_per_rater: _Count = 40
    max_raters: _Count | None = None
    catch_per_rater: _Natural = 8
    catch_pass: _Natural = 7
    repeats: Share = 0.1
    repeat_gap: _Natural = 10
    practice: _Natural = 3
    lease_minutes: Annotated[float, Bounds(above=0, below=1e6)] = 30.0
    skip: bool = True
    sensitive: str = ""
    live: bool = False
    fast_ms: Annotated[float, Bounds(0, 3_600_000)] = 500.0
    completion_code: str = ""
    completion_url: str = ""
    mturk: bool = False
    retention: str = ""
    sources: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses settings that cannot work."""
        _check_types(self)
        names = [question.name for question in self.questions]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"questions must have names of their own, got {names}")
        a_text(self.study_id, "study_id")
        if self.completion_url and not self.completion_url.startswith(("https://", "http://")):
            raise ValueError(f"completion_url must begin with https://, got {self.completion_url!r}")

    @property
    def consent_sha256(self) -> str:
        """Tells which text a person agreed to."""
        return hashlib.sha256(self.consent.encode()).hexdigest()

    def question(self, name: str) -> Question:
        """Returns the question of that name.

        Raises:
            ValueError: There is none.
        """
        for question in self.questions:
            if question.name == name:
                return question
        raise ValueError(f"study {self.study_id} asks no question {name!r}")


def live_study(study_id: str, *questions: Question, title: str, **rules: Any) -> Study:
    """Returns the study of a live search: one answer to each question, as many as people care to give."""
    defaults: dict[str, Any] = {"raters_per_trial": 1, "trials_per_rater": 60, "live": True}
    return Study(study_id, questions, title=title, **(defaults | rules))


def similarity_study(study_id: str, *, title: str, text: str, **rules: Any) -> Study:
    """Returns the study of a live search that asks for triplets alone."""
    return live_study(study_id, Question("similarity", "triplet", text), title=title, **rules)


def write_study(folder: Path, study: Study) -> None:
    """Writes `study.json`."""
    files.write_json(Path(folder) / "study.json", {"schema_version": FORMAT} | asdict(study))


def begin_study(folder: Path, study: Study) -> None:
    """Opens a live study: the one that lies in the folder, which its owner may have edited, or else this one."""
    known = (Path(folder) / "study.json").exists()
    write_study(folder, replace(read_study(folder), live=True) if known else study)


def end_study(folder: Path) -> None:
    """Notes that a live study has no more questions to come."""
    write_study(folder, replace(read_study(folder), live=False))


def read_study(folder: Path) -> Study:
    """Returns the study in a folder.

    Raises:
        ValueError: There is none, it was written by another version, or its settings cannot work.
    """
    path = Path(folder) / "study.json"
    if not path.exists():
        raise ValueError(f"{folder} holds no study: there is no study.json in it")
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object, it holds {called(type(content))}")
    found = content.pop("schema_version", None)
    if isinstance(found, bool) or found != FORMAT:
        raise ValueError(f"{path} has schema version {brief(found)}, this version reads {FORMAT}")
    try:
        rules = a_record(content, "it", known=_names(Study), needed=("study_id", "questions"))
        asked = rules.pop("questions")
        if not isinstance(asked, list):
            raise ValueError(f"questions must be a list of objects, got {brief(asked)}")
        questions = tuple(_question(row, f"question {number}") for number, row in enumerate(asked, 1))
        return Study(questions=questions, **rules)
    except ValueError as error:
        raise ValueError(f"{path} is not a study of this version: {why(error)}") from error


def _question(value: Any, where: str) -> Question:
    """Returns a question from JSON, whose tuples are lists."""
    record = a_record(value, where, known=_names(Question), needed=("name", "task", "text"))
    values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in record.items()}
    try:
        return Question(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _names(record: type) -> list[str]:
    return [one.name for one in fields(record)]
