"""Who is asked along a run, where the answers are kept, and which of them count at a refit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from qdfeedback import files
from qdfeedback.feedback.conduct import left_out
from qdfeedback.feedback.judges import Judge
from qdfeedback.feedback.left_out import LEFT_OUT, last_before
from qdfeedback.feedback.people import People
from qdfeedback.feedback.refit_names import refit_of
from qdfeedback.feedback.store import Judged, Store
from qdfeedback.feedback.study import begin_study, read_study, similarity_study
from qdfeedback.models.language import LanguageModel, SeeingModel
from qdfeedback.refits import read_refits
from qdfeedback.runs import Run
from qdfeedback.search import Search
from qdfeedback.types import Annotator, Ints, Queries

LEAST_ANSWERED = 0.25
"""Of what a model is asked: one that answers less has not understood, and there is no use in going on."""


@dataclass(frozen=True)
class Feedback:
    """Questions of a run, and their answers.

    Attributes:
        run: its folder.
        store: where answers are kept.
        annotator: who answers.
        question: which of the study's questions; None = there is one alone.
    """

    run: Run
    store: Store
    annotator: Annotator
    question: str | None = None

    @property
    def study(self) -> str:
        """The run's name in the store."""
        return self.run.study

    def ask(self, queries: Queries) -> None:
        """Asks what has no answer yet, and keeps the answers; the candidates are on disk before."""
        if self.annotator.publishes:
            self._check_study()
        self.run.history.flush(sync=True)
        self.store.ask(self.study, queries, self.annotator)

    def judged(self, name: str, task: str, *, asked: int = 0) -> Judged:
        """Returns the judgments that a refit uses, the same whenever it is repeated.

        People whom the study's rules leave out do not count. They are noted in the run folder, and a line tells when
        they change.

        Args:
            name: of the refit, part and iteration, as of the model that it makes.
            task: triplet, pair or rating.
            asked: how many questions there were so far.

        Raises:
            RuntimeError: A model answered hardly anything.
        """
        wait = getattr(self.annotator, "wait", None)
        if wait is not None and name not in read_refits(self.run.path):  # a refit that is repeated has its answers
            wait()
        part, iteration = refit_of(name)
        until = self.run.last_judgment(iteration, self.store, self.study, part)
        out = self._left_out(name, until) if self.annotator.publishes else {}
        found = self.store.judged(self.study, task, until=until, without=out, question=self.question)
        if self.annotator.kind == "model" and len(found) < LEAST_ANSWERED * asked - 2:
            said = f": {counts}" if (counts := getattr(self.annotator, "counts", None)) else ""
            raise RuntimeError(f"{self.annotator.name} answered {len(found)} of {asked}{said}")
        return found

    def _check_study(self) -> None:
        """Refuses to publish what no page would show."""
        if not (self.run.path / "study.json").exists():
            raise ValueError(
                f"{self.run.path} holds no study: call feedback.study.begin_study(run.path, …) before people are asked"
            )
        asked = getattr(self.annotator, "question", None)
        names = [question.name for question in read_study(self.run.path).questions]
        if asked is not None and asked not in names:
            raise ValueError(f"{self.run.path / 'study.json'} asks no question {asked!r}: it has {', '.join(names)}")

    def _left_out(self, name: str, until: int) -> dict[str, tuple[str, ...]]:
        noted = self.run.path / LEFT_OUT
        out = left_out(self.store.database, read_study(self.run.path), until=until, refit=name, noted=noted)
        before = last_before(name, noted)
        for who in sorted(out.keys() - before.keys()):
            tqdm.write(f"{name}: the answers of {who} do not count: {'; '.join(out[who])}")
        for who in sorted(before.keys() - out.keys()):
            tqdm.write(f"{name}: the answers of {who} count again")
        return out


def ask_people(
    run: Run, search: Search, store: Store, *, title: str, text: str, wait_for: int | None = 0, **rules: Any
) -> Feedback:
    """Returns people who are asked for triplets on the study page of a run, whose study is begun or goes on.

    Says with which command the page is served.

    Args:
        run: the folder.
        search: shows candidates.
        store: of answers.
        title: of the page.
        text: the question.
        wait_for: as in `People`.
        rules: of the study.
    """
    begin_study(run.path, similarity_study(run.study, title=title, text=text, seed=search.seed, **rules))
    where = store.database.name
    elsewhere = "" if where == str((run.path / "judgments.db").resolve()) else f" --database {where}"
    tqdm.write(f"people answer here: qdfeedback study serve {run.path}{elsewhere}")
    return Feedback(run, store, People(store, run.study, partial(run.show, search), wait_for=wait_for))


def ask_model(run: Run, search: Search, store: Store, model: SeeingModel | LanguageModel) -> Feedback:
    """Returns a model that is asked for triplets or pairs, about what a run shows: pictures, or texts.

    Args:
        run: the folder.
        search: shows candidates.
        store: of answers.
        model: for pictures one that sees.
    """
    return Feedback(run, store, Judge(model, partial(run.contents, search)))


def _digest(ids: Ints) -> str:
    return files.digest(np.asarray(ids, dtype=np.int64).tobytes())


NOTHING = _digest(np.empty(0, dtype=np.int64))


@dataclass
class Tally:
    """How many answers a model knows.

    Attributes:
        answers: the number.
        last: the newest of them, by its id in the store.
        least: with fewer, nothing is learned.
        least_new: with fewer new ones, nothing is learned anew.
        digest: of which they are.
    """

    answers: int = 0
    last: int = 0
    least: int = 2
    least_new: int = 0
    digest: str = NOTHING

    def news(self, judged: Judged) -> Literal["learn", "forget", "nothing"]:
        """Returns what is to be done: learn from all, forget what nobody who counts has said, or nothing."""
        new = int((judged.ids > self.last).sum())
        withdrawn = self.digest != _digest(judged.ids[judged.ids <= self.last])  # somebody counts no more, or again
        if (new >= self.least_new or withdrawn) and len(judged) >= max(self.least_new, self.least):
            self.answers, self.last, self.digest = len(judged), int(judged.ids.max()), _digest(judged.ids)
            return "learn"
        if withdrawn:
            self.answers, self.last, self.digest = 0, 0, NOTHING
        return "forget" if withdrawn else "nothing"

    def state(self) -> dict[str, Any]:
        """Returns what is known of the answers, as JSON."""
        return {"answers": self.answers, "last": self.last, "digest": self.digest}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""
        self.answers, self.last, self.digest = state["answers"], state["last"], state["digest"]
