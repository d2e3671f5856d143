"""What learned parts ask, fit and say of themselves, apart from a whole run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdfeedback import runs
from qdfeedback.diversity.columns import Columns
from qdfeedback.diversity.similarity import Fit
from qdfeedback.diversity.unsupervised import fit_pca
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.feedback.people import People
from qdfeedback.feedback.queries import RANDOM
from qdfeedback.feedback.store import Judged
from qdfeedback.learning.aurora import aurora
from qdfeedback.learning.feedback import Feedback, Tally
from qdfeedback.learning.fits import Likelihood, Seen, turned
from qdfeedback.learning.known import Known
from qdfeedback.learning.part import Now, Placing
from qdfeedback.learning.published import fit_hinge, qdhf
from qdfeedback.learning.questions import Uncertain, Uniform
from qdfeedback.learning.schedule import Schedule
from qdfeedback.loop import Loop
from qdfeedback.quality.columns import Column
from qdfeedback.search import NothingEvaluatedError
from tests import toy

QUICK = Fit(starts=1, members=2, steps=10, flip=None)


def begun(path: Path, *parts: str) -> Loop:
    loop = toy.make(runs.create(path, {"study": "toy"}, toy.NAMES), *parts)
    loop.begin()
    return loop


def judged(ids: list[int]) -> Judged:
    n = len(ids)
    return Judged(
        np.array(ids, dtype=np.int64), np.zeros((n, 3), dtype=np.int64), np.full(n, RANDOM), np.full(n, np.nan)
    )


def test_what_new_withdrawn_and_too_few_answers_lead_to() -> None:
    tally = Tally(least=2, least_new=3)
    assert tally.news(judged([1, 2])) == "nothing"
    assert tally.news(judged([1, 2, 3])) == "learn"
    assert (tally.answers, tally.last) == (3, 3)
    assert tally.news(judged([1, 2, 3, 4, 5])) == "nothing", "two new ones are too few"
    assert tally.news(judged([1, 2, 4, 5, 6])) == "learn", "somebody's answer does not count any more"
    assert tally.news(judged([6])) == "forget"
    assert (tally.answers, tally.last) == (0, 0)
    assert Tally().news(judged([])) == "nothing"
    assert Tally().news(judged([1, 2])) == "learn"
    other = Tally()
    assert other.news(judged([1, 3, 6, 7])) == "learn"
    other.least_new = 9
    assert other.news(judged([1, 3, 6, 7])) == "nothing"
    again = Tally(least_new=9)
    again.restore(other.state())
    assert again.news(judged([2, 4, 5, 7])) == "forget", "as many answers, of others"


def seen(rng: np.random.Generator, **changes) -> Seen:
    points = rng.normal(size=(12, 4))
    triplets = np.array([rng.choice(12, 3, replace=False) for _ in range(30)])
    near = np.abs(points[triplets[:, 0], 0] - points[triplets[:, 1], 0])
    far = np.abs(points[triplets[:, 0], 0] - points[triplets[:, 2], 0])
    triplets = np.where((near < far)[:, None], triplets, triplets[:, [0, 2, 1]])
    found = Seen(points, triplets, np.full(30, RANDOM), False, None, lambda: points[:6])
    return found._replace(**changes)


def test_accuracy_is_measured_when_it_is_wanted(rng: np.random.Generator) -> None:
    _, always = Likelihood(QUICK)(seen(rng), dim=2, rng=rng)
    _, early = Likelihood(QUICK, tested="last")(seen(rng), dim=2, rng=rng)
    _, late = Likelihood(QUICK, tested="last")(seen(rng, is_last=True), dim=2, rng=rng)
    _, unknown = Likelihood(QUICK)(seen(rng, purpose=np.full(30, "bald")), dim=2, rng=rng)
    assert always is not None
    assert late is not None
    assert early is None is unknown
    model, accuracy = fit_hinge(seen(rng), dim=2, rng=rng)
    assert accuracy == model.note["validation_accuracy"]


def test_a_first_map_lies_as_components_do_and_the_next_as_the_one_before(rng: np.random.Generator) -> None:
    what = seen(rng)
    for upright, of in (("judged", what.points), ("current", what.points[:6])):
        model, _ = Likelihood(QUICK, upright=upright)(what, dim=2, rng=np.random.default_rng(0))
        again, _ = Likelihood(QUICK)(what._replace(before=model), dim=2, rng=np.random.default_rng(0))
        np.testing.assert_allclose(again.project(what.points), model.project(what.points), atol=1e-6)
        assert len(of)
    assert turned(model, what.points, None) is model


def test_questions_are_uncertain_uniform_or_about_new_candidates(tmp_path: Path) -> None:
    loop = begun(tmp_path / "r", "gaussian", "learned", "column")
    view, ids = loop.view, np.arange(4, 9)
    points = view.features(ids)[:, toy.LEARNED]
    chosen = Uncertain()(view, ids, points, None, 5)
    assert chosen.rows.shape == (5, 3)
    assert set(chosen.purpose) == {RANDOM}, "there is no ensemble yet"
    pairs = Uncertain("pair")(view, ids, points, None, 4)
    assert pairs.rows.shape == (4, 2)
    assert (pairs.rows[:, 0] != pairs.rows[:, 1]).all()
    uniform = Uniform()(view, ids, points, None, 50)
    assert set(uniform.rows.ravel()) == set(range(5))
    before = len(loop.history)
    fresh = Uniform(loop.search.domain.initial)(view, ids, points, None, 3)
    assert fresh.ids.tolist() == list(range(before, before + 9))
    assert fresh.rows.tolist() == np.arange(9).reshape(3, 3).tolist()


def test_people_are_not_asked_about_what_no_checkpoint_holds() -> None:
    people = Feedback(None, None, People(None, "s", dict))
    with pytest.raises(ValueError, match="no checkpoint would hold them"):
        qdhf((0, 1), people, iterations=10, answers=10, fresh=lambda n, rng: rng.random((n, 2)))
    assert qdhf((0, 1), people, iterations=10, answers=10).annotator.publishes


def test_new_candidates_that_cannot_be_measured_are_drawn_again(tmp_path: Path) -> None:
    loop = begun(tmp_path / "r", "gaussian", "learned", "column")

    def draw(n: int, rng: np.random.Generator):
        return np.where(np.arange(n)[:, None] % 2, rng.uniform(-1, 1, (n, 4)), 3.0)  # over the edge

    ids = loop.view.evaluate(draw, 5)
    assert np.isfinite(loop.view.features(ids)).all()
    assert len(loop.history) == toy.N + 5 + 32
    assert loop.view.current().tolist() == list(range(toy.N))
    assert len(loop.view.sample()) == toy.N


def test_what_can_never_be_measured_ends_in_a_line_and_columns_that_nobody_reads_do_not_matter(tmp_path: Path) -> None:
    loop = begun(tmp_path / "r", "gaussian", "learned", "column")
    with pytest.raises(NothingEvaluatedError, match="over the edge"):
        loop.view.evaluate(lambda n, rng: np.full((n, 4), 3.0), 32)
    loop.search.encoder.parts[0].encode = lambda artifacts: np.column_stack(
        [np.ones((len(artifacts), 4)), np.full(len(artifacts), np.nan)]
    ).astype(np.float32)
    loop.view.quality = Column(0)
    assert len(loop.view.evaluate(lambda n, rng: np.zeros((n, 4)), 5, columns=(0, 1))) == 5
    with pytest.raises(NothingEvaluatedError, match="1024 candidates in a row could not be measured"):
        loop.view.evaluate(lambda n, rng: np.zeros((n, 4)), 32, columns=(0, 4))


def test_a_sample_of_a_long_history_leaves_out_what_was_only_judged(tmp_path: Path, monkeypatch) -> None:
    loop = begun(tmp_path / "r", "gaussian", "learned", "column")
    loop.view.evaluate(loop.search.domain.initial, 30)
    sample = type(loop.history).sample
    monkeypatch.setattr(type(loop.history), "sample", lambda self, column, most=7: sample(self, column, most))
    every = -(-40 // 7)
    assert len(loop.view.sample()) == len([i for i in range(0, 40, every) if i < toy.N])


def test_too_few_to_ask_about_is_said_at_first_and_a_warning_later(tmp_path: Path) -> None:
    loop = begun(tmp_path / "r", "gaussian", "learned", "learned")
    loop.axes.askable = lambda view: np.arange(2)
    with pytest.raises(ValueError, match="axes, before iteration 1: 2 candidates can be measured and judged, 3 are"):
        loop.axes.ask(Now(1, "before"), loop.view)
    loop.axes.model = fit_pca(loop.view.sample()[:, :4], dim=2)
    with pytest.warns(UserWarning, match="2 candidates can be measured and judged"):
        loop.axes.ask(Now(1, "before"), loop.view)
    assert loop.store.count("toy") == 0
    with pytest.raises(ValueError, match="a quality begins with `cold`"):
        replace(loop.quality, schedule=Schedule({}, after=(0,)))


def test_a_refit_after_the_last_question_is_tested_too(tmp_path: Path) -> None:
    schedule = Schedule({1: 6, 3: 8, 5: 0}, at_end=True)
    assert [schedule.is_over(i) for i in (1, 2, 3, 5, 7)] == [False, False, True, True, True]


def test_axes_that_are_known_are_placed_once_over_their_own_ranges(tmp_path: Path) -> None:
    loop = begun(tmp_path / "r", "gaussian", "known", "column")
    axes = loop.axes
    assert isinstance(axes, Known)
    assert [axes.due(Now(i, m)) for i, m in ((0, "begin"), (1, "before"), (1, "after"), (5, "end"))] == [
        True, False, False, False,
    ]  # fmt: skip
    assert loop.placement.archive.lower_bounds.tolist() == [-1, -1]
    assert axes.askable(loop.view).tolist() == loop.elites().ids.tolist()
    assert Known(Columns((0, 1)), np.array([(0, 1)] * 2)).placing.grows is False


def test_a_part_is_due_by_its_schedule() -> None:
    axes = qdhf((0, 1), Feedback(None, None, Simulated(lambda ids: ids)), iterations=1000, answers=1000)
    assert [i for i in range(1, 1001) if axes.due(Now(i, "before"))] == [1, 101, 251, 501]
    assert not axes.due(Now(1001, "end"))
    axes.schedule = Schedule({}, at_end=True, after=(0, 1))
    assert [axes.due(Now(i, m)) for i, m in ((0, "begin"), (1, "after"), (2, "after"), (9, "end"))] == [
        True, True, False, True,
    ]  # fmt: skip
    once, again = aurora((0, 1), iterations=100), aurora((0, 1), iterations=100, again=True)
    assert [i for i in range(1, 101) if once.due(Now(i, "before"))] == [1]
    assert [i for i in range(1, 101) if again.due(Now(i, "before"))] == [1, 11, 26, 51]


def test_a_cold_start_is_made_of_all_candidates_and_given_up_when_answers_come(tmp_path: Path) -> None:
    loop = toy.make(runs.create(tmp_path / "r", {"study": "toy"}, toy.NAMES), "gaussian", "learned", "column")
    loop.axes.schedule = Schedule({3: 8}, after=(0, 1))
    for batch in loop:
        kind = type(loop.axes.model).__name__
        assert kind == ("Linear" if batch.iteration < 3 else "Similarity")
    assert {path.stem for path in (tmp_path / "r/models").glob("*.npz")} == {
        "axes-000000",
        "axes-000001",
        "axes-000003",
    }


def test_a_model_that_answers_hardly_anything_ends_the_run(tmp_path: Path) -> None:
    loop = begun(tmp_path / "r", "gaussian", "learned", "column")
    silent = replace(loop.axes.feedback.annotator, truth=lambda ids: np.full((len(ids), 2), np.nan))

    class Mute:
        kind, name, publishes, counts = "model", "mute", False, {"no clear answer": 40}
        can_judge = loop.axes.feedback.annotator.can_judge
        answer = silent.answer

    loop.axes.feedback = replace(loop.axes.feedback, annotator=Mute())
    loop.axes.schedule = Schedule({1: 40})
    with pytest.raises(RuntimeError, match=r"mute answered 0 of 40: \{'no clear answer': 40\}"):
        next(iter(loop))


def test_placing_has_ranges_of_the_history_or_of_elites(tmp_path: Path) -> None:
    loop = toy.make(runs.create(tmp_path / "r", {"study": "toy"}, toy.NAMES), "gaussian", "pca", "column")
    for _ in loop:
        pass
    measures = loop.axes.diversity.project(loop.history.sample("features"))
    loop.axes.placing = Placing(quantile=0.0, margin=0.0)
    loop.place()
    np.testing.assert_allclose(loop.placement.archive.lower_bounds, measures.min(axis=0))
    everything = len(loop.elites())
    loop.axes.placing = Placing("elites", margin=0.0)
    ids = loop.elites().ids
    loop.place()
    np.testing.assert_allclose(loop.placement.archive.lower_bounds, measures[ids].min(axis=0))
    assert len(loop.elites()) <= everything
    assert set(loop.elites().ids) <= set(ids)
