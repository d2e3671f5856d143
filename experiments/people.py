"""What the experiments share that people answer: whose answers count at a refit."""

from __future__ import annotations

from tqdm import tqdm

from qdfeedback.feedback.conduct import left_out
from qdfeedback.feedback.left_out import LEFT_OUT, last_before
from qdfeedback.feedback.refit_names import refit_name
from qdfeedback.feedback.store import Judged, Store
from qdfeedback.feedback.study import read_study
from qdfeedback.runs import Run


def judgments_of(
    run: Run,
    store: Store,
    iteration: int,
    *,
    people: bool,
    part: str = "axes",
    task: str = "triplet",
    question: str | None = None,
) -> Judged:
    """Returns the judgments that a part's refit before an iteration uses, the same whenever it is repeated.

    Args:
        run: the run.
        store: where its answers are.
        iteration: which.
        people: people answer: those whom the study's rules leave out do not count. They are noted in the run folder,
            and a line tells when they change.
        part: what is fitted anew.
        task: "triplet", "pair" or "rating".
        question: only answers to that one of the study's questions, and those that name none; None = to all.
    """
    study = run.settings["study"]
    until = run.last_judgment(iteration, store, study, part)
    if not people:
        return store.judged(study, task, until=until, question=question)
    noted, refit = run.path / LEFT_OUT, refit_name(part, iteration)
    out = left_out(store.database, read_study(run.path), until=until, refit=refit, noted=noted)
    before = last_before(refit, noted)
    for who in sorted(out.keys() - before.keys()):
        tqdm.write(f"iteration {iteration}: the answers of {who} do not count: {'; '.join(out[who])}")
    for who in sorted(before.keys() - out.keys()):
        tqdm.write(f"iteration {iteration}: the answers of {who} count again")
    return store.judged(study, task, until=until, without=out, question=question)
