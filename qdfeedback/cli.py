"""The installed command: `qdfeedback show RUN`, `qdfeedback study serve|new|export|import|report|delete-rater`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, subcommand

from qdfeedback.bounds import Bounds, Count, Natural, Seed, check
from qdfeedback.study.exchange.formats import RECORD_FORMATS, Format, ImportFormat
from qdfeedback.study.words import counted
from qdfeedback.text_files import read_text


@dataclass(frozen=True)
class Serve:
    """Serve the page on which people answer a live run's questions, or a study's."""

    study: Positional[Path]
    """Run or study folder."""
    port: Annotated[int, Bounds(0, 65535)] = 8000
    """Port to listen on; 0 takes any that is free."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is reached from other machines (put a proxy with https before it)."""
    database: str | None = None
    """Path or URL of the database, if it is not in the folder."""
    public_url: str = ""
    """Address under which people reach the page, e.g. https://study.example.org."""
    proxy: tuple[str, ...] = ()
    """Addresses or networks of proxies that are believed when they say where a request comes from; if not given,
    those that FORWARDED_ALLOW_IPS names in the environment, or this machine."""
    new_token: bool = False
    """Make a new token for the owner's pages; the old one is void."""
    new_key: bool = False
    """Go on with another key than the one under which people are known: who comes back counts as somebody new."""

    def run(self) -> None:
        """Serves until it is stopped."""
        # before anything is loaded, and not where others read the address from
        print(f"opening the study in {self.study}; its address comes in a few seconds", file=sys.stderr, flush=True)
        from qdfeedback.study.place import open_study
        from qdfeedback.study.web.serve import serve

        place = open_study(self.study, self.database)
        serve(
            place,
            host=self.host,
            port=self.port,
            public_url=self.public_url,
            fresh_token=self.new_token,
            fresh_key=self.new_key,
            proxies=self.proxy,
        )


@dataclass(frozen=True)
class New:
    """Make a study from finished runs: sets side by side, pairs, triplets, ratings, labels.

    The wording, the quotas and all else can be changed in its study.json before it is served.
    """

    study: Positional[Path]
    """Folder of the new study."""
    runs: Positional[tuple[str, ...]]
    """Run folders, or LABEL=FOLDER; of a folder with several seeds, all count as one method."""
    sets: Natural = 0
    """Pairs of sets for each two methods, and each prompt that they were given."""
    about: tuple[Literal["prefer", "diverse", "accurate"], ...] = ("prefer", "diverse")
    """What is asked of each pair of sets: which is preferred, more diverse, truer to what the text says."""
    grid: Count = 4
    """A set shows GRID × GRID elites, evenly spaced over the archive."""
    pairs: Natural = 0
    """Pairs of single elites for each two methods, and each prompt: which is better."""
    triplets: Natural = 0
    """Triplets of elites: which of two is more like a third."""
    ratings: Natural = 0
    """Elites of each method to be rated."""
    labels: Natural = 0
    """Elites of each method to be put into one of the OPTIONS."""
    options: tuple[str, ...] = ()
    """Categories for --labels."""
    label_axis: Natural | None = None
    """The archive's axis, from 0, along which the OPTIONS lie from low to high: the report compares people with it."""
    title: str = "What do you think of these?"
    """Title of the pages."""
    sensitive: str = ""
    """Text of a warning before anything is shown."""
    sensitive_words: Path | None = None
    """File with a word on each line: texts with one of them are left out for people who want that."""
    raters_per_trial: Count = 3
    """Answers that each trial is to get."""
    trials_per_rater: Count = 40
    """Trials of one person, repeats and catch trials apart."""
    max_raters: Count | None = None
    """How many people may take part."""
    seed: Seed = 0
    """Draws the trials, and each person's order and sides."""
    database: str | None = None
    """Path or URL of the database; a SQLite file in the folder if not given."""

    def run(self) -> None:
        """Makes the study."""
        from qdfeedback.feedback.study import Study
        from qdfeedback.study.making import Wanted, make_study
        from qdfeedback.study.sources import read_all

        words = _words_in(self.sensitive_words) if self.sensitive_words else set()
        if words and not self.sensitive:
            raise ValueError("--sensitive-words needs --sensitive: people are to know what is left out")
        sources = read_all(self.runs)
        wanted = Wanted(
            self.sets, self.grid, self.pairs, self.triplets, self.ratings, self.labels, self.options, self.label_axis,
            self.about,
        )  # fmt: skip
        questions = wanted.questions()
        study = Study(
            self.study.resolve().name,
            questions,
            title=self.title,
            seed=self.seed,
            raters_per_trial=self.raters_per_trial,
            trials_per_rater=self.trials_per_rater,
            max_raters=self.max_raters,
            practice=max(2, len(questions)),
            sensitive=self.sensitive,
            sources=_named(self.runs),
        )

        def has_word(text: str) -> bool:
            return not words.isdisjoint(_words(text))

        made = make_study(
            self.study, study, sources, wanted, database=self.database, sensitive=has_word if words else None
        )
        what = f"{counted(made, 'trial')} about {counted(len(sources), 'run')}"
        print(f"{what}: change {self.study}/study.json as you like, then")
        print(f"qdfeedback study serve {self.study}")


@dataclass(frozen=True)
class Export:
    """Write a study's data, or its questions for another platform."""

    study: Positional[Path]
    """Run or study folder."""
    out: Positional[Path]
    """New folder to write; a file for trl."""
    format: Format = "jsonl"
    """What to write."""
    public: bool = False
    """Leave out what points at people: times to the day, people numbered, no codes."""
    jspsych_packages: Path | None = None
    """A node_modules folder to copy jsPsych from; without it the page loads jsPsych from a content network."""
    datapipe: str = ""
    """jspsych: id of a DataPipe experiment that takes the answers; without it they are downloaded."""
    by: tuple[Literal["person", "model", "simulation"], ...] = ("person",)
    """trl, hf-triplets, nights, things: whose judgments to train on."""
    exclude: bool = False
    """trl, hf-triplets, nights, things: leave out people whom the report's rules exclude."""
    question: str = ""
    """trl, hf-triplets, nights, things: the answers to which question; needed where several are of the same kind."""
    database: str | None = None
    """Path or URL of the database, if it is not in the folder."""

    def run(self) -> None:
        """Writes the export."""
        from qdfeedback.study.exchange.exports import Jspsych, Training, export
        from qdfeedback.study.place import open_study

        place = open_study(self.study, self.database, write=False)
        page = Jspsych(self.jspsych_packages, self.datapipe)
        n = export(
            place.folder,
            place.database,
            place.study,
            self.out,
            fmt=self.format,
            public=self.public,
            jspsych=page,
            training=Training(self.by, self.exclude, self.question),
        )
        if n:
            print(f"{counted(n, 'record')} in {self.out}")
        elif self.format in RECORD_FORMATS:
            print(f"nobody has answered yet: {self.out} holds the study alone")
        else:
            raise ValueError(f"the study asks nothing yet: {self.out} holds no question")


@dataclass(frozen=True)
class Import:
    """Take in answers that were given elsewhere, each of them once."""

    study: Positional[Path]
    """Run or study folder."""
    path: Positional[Path]
    """What the other tool gave back."""
    format: ImportFormat | None = None
    """Which tool or file format; of a table it shows in the name if not given."""
    database: str | None = None
    """Path or URL of the database, if it is not in the folder."""

    def run(self) -> None:
        """Imports, and names what could not be taken."""
        from qdfeedback.study.exchange.imports import format_of, import_answers
        from qdfeedback.study.place import open_study

        place = open_study(self.study, self.database)
        fmt = self.format or format_of(self.path)
        found = import_answers(place.folder, place.database, place.study, self.path, fmt=fmt)
        for line in (*found.files, *found.refused):
            print(f"refused: {line}", file=sys.stderr)
        print(found)
        if not found.new and not found.known:
            raise ValueError("nothing could be taken in" if found.refused else f"{self.path} holds no answers")


@dataclass(frozen=True)
class Report:
    """Say what a study's answers are worth, as a page and as JSON."""

    study: Positional[Path]
    """Run or study folder."""
    out: Path | None = None
    """Folder to write report.html and report.json to; the study's own if not given."""
    database: str | None = None
    """Path or URL of the database, if it is not in the folder."""

    def run(self) -> None:
        """Writes the report."""
        from qdfeedback import files
        from qdfeedback.study.analysis.page import page
        from qdfeedback.study.analysis.report import report
        from qdfeedback.study.analysis.run_models import run_probabilities
        from qdfeedback.study.place import open_study

        place = open_study(self.study, self.database, write=False)
        found = report(place.database, place.study, probabilities=run_probabilities(place))
        out = self.out or place.folder
        files.write_json(out / "report.json", found)
        files.write_atomic(out / "report.html", page(found).encode())
        kinds = found["answers"]["kinds"]
        n = sum(count for kind, count in kinds.items() if kind != "practice")
        people = counted(found["raters"]["answered"], "person", "people")
        print(f"{people}, {counted(n, 'answer')}: {out}/report.html and report.json")


@dataclass(frozen=True)
class DeleteRater:
    """Remove all that is stored of a person, and name the models that were trained with their answers."""

    study: Positional[Path]
    """Run or study folder."""
    rater: Positional[str]
    """Their pseudonym in the study, or their id on the platform that they came from."""
    database: str | None = None
    """Path or URL of the database, if it is not in the folder."""

    def run(self) -> None:
        """Removes the rows."""
        from qdfeedback.study.erase import delete_rater
        from qdfeedback.study.place import open_study

        place = open_study(self.study, self.database)
        gone = delete_rater(place.folder, place.database, place.study, self.rater)
        print(f"{counted(gone.judgments, 'answer')} removed" + "".join(f"; {name} removed" for name in gone.reports))
        if gone.reports:
            print("the report is made anew with: qdfeedback study report")
        if gone.models:
            print("trained with some of them, and not changed by this:")
            print("\n".join(f"  {place.folder / model}" for model in gone.models))
        print("exports and models elsewhere are not known here")


@dataclass(frozen=True)
class Show:
    """Say what run folders hold, and how far each run is; also while it is at work."""

    runs: Positional[tuple[Path, ...]]
    """Run folders."""


Study = (
    Annotated[Serve, subcommand("serve")]
    | Annotated[New, subcommand("new")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Import, subcommand("import")]
    | Annotated[Report, subcommand("report")]
    | Annotated[DeleteRater, subcommand("delete-rater")]
)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _named(specs: Sequence[str]) -> dict[str, str]:
    """Returns label → folder; of several folders with one label, the others are label~1, label~2."""
    found: dict[str, str] = {}
    for spec in specs:
        label, _, path = spec.partition("=")
        same = sum(other.partition("~")[0] == label for other in found)
        found[f"{label}~{same}" if same else label] = path or spec
    return found


def _words_in(path: Path) -> set[str]:
    """Returns the words of a file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no text, or there is nothing in it.
    """
    words = _words(read_text(path))
    if not words:
        raise ValueError(f"{path} holds no words")
    return words


def _show(argv: Sequence[str]) -> None:
    """Prints what run folders hold."""
    from qdfeedback.commands import run_main

    def show() -> None:
        from qdfeedback.reading import describe, open_run

        for path in tyro.cli(Show, prog="qdfeedback show", args=list(argv)).runs:
            print(describe(open_run(path)))

    run_main(show)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command; what a user got wrong is one line, not a trace."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["similarity"]:
        from qdfeedback import similarity
        from qdfeedback.commands import run_main

        run_main(lambda: similarity.main(argv[1:]))
        return
    if argv[:1] == ["show"]:
        _show(argv[1:])
        return
    if argv[:1] != ["study"]:
        asked = argv[:1] in (["--help"], ["-h"])
        usage = (
            "usage: qdfeedback study {serve,new,export,import,report,delete-rater} …\n"
            "       qdfeedback similarity --features F.npy --triplets T.csv\n"
            "       qdfeedback show RUN …"
        )
        print(usage, file=sys.stdout if asked else sys.stderr)
        raise SystemExit(0 if asked else 2)
    found = tyro.cli(Study, prog="qdfeedback study", args=argv[1:])
    try:
        check(found)
        found.run()
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        if not isinstance(found, Serve):  # which ends in no other way
            raise SystemExit(130) from None
