"""What a loop does beside its steps: when it learns, what it keeps, how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdfeedback import archives, claims, files, runs
from qdfeedback.curves import Curves
from qdfeedback.diversity import published
from qdfeedback.diversity.columns import Columns
from qdfeedback.feedback.people import People
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import begin_study, similarity_study
from qdfeedback.learning.axes import Learned
from qdfeedback.learning.feedback import Feedback
from qdfeedback.learning.known import Known
from qdfeedback.learning.part import Now, Placing
from qdfeedback.learning.preferences import LearnedQuality
from qdfeedback.learning.schedule import Schedule
from qdfeedback.loop import Loop
from qdfeedback.put_forward import BestOfAll, FromArchive
from qdfeedback.quality.columns import Column, column
from qdfeedback.refits import read_refits
from qdfeedback.runs import LostError
from qdfeedback.search import NothingEvaluatedError
from qdfeedback.stopping import InVain, InVainError
from qdfeedback.types import Batch, Placement, first
from tests import toy
from tests.stopping import killed_on_its_way, stopped_in


class Counted:
    """A piece with a state."""

    def __init__(self) -> None:
        self.n, self.recalled = 0, -1

    def recall(self, history: Any) -> None:
        self.recalled = len(history)

    def state(self) -> dict[str, Any]:
        return {"n": self.n}

    def restore(self, state: dict[str, Any]) -> None:
        self.n = state["n"]


@pytest.fixture(autouse=True)
def _trains_for_a_little_while(monkeypatch) -> None:
    monkeypatch.setattr(published, "EPOCHS", 3)


def a_loop(path: Path, *parts: str, resume: bool = False, **changes: Any) -> Loop:
    names = (*parts, *("gaussian", "learned", "column")[len(parts) :])
    run = runs.resume(path, toy.NAMES) if resume else runs.create(path, {"study": "toy"}, toy.NAMES)
    return replace(toy.make(run, *names), **changes)


def finish(loop: Loop, *, cut: int | None = None) -> Loop:
    for batch in loop:
        if batch.iteration == cut:
            break
    assert loop.store is not None
    loop.store.close()
    claims.release(loop.run.path)
    return loop


def test_parts_that_are_due_together_ask_first_and_are_placed_once(tmp_path: Path, monkeypatch) -> None:
    told: list[tuple[str, str, int]] = []
    for cls in (Learned, LearnedQuality):
        for name in ("ask", "fit"):
            original = getattr(cls, name)

            def noted(self, now, view, *, name=name, original=original):
                told.append((name, self.role, now.iteration))
                return original(self, now, view)

            monkeypatch.setattr(cls, name, noted)
    place = Loop.place
    monkeypatch.setattr(
        Loop, "place", lambda self, *given: (told.append(("place", "", self.last + 1)), place(self, *given))
    )
    finish(a_loop(tmp_path / "r", "gaussian", "learned", "learned"))
    assert [one for one in told if (one[2] == 4 and one[0] != "place") or one == ("place", "", 4)] == [
        ("ask", "axes", 4), ("ask", "quality", 4), ("fit", "axes", 4), ("fit", "quality", 4), ("place", "", 4),
    ]  # fmt: skip
    assert [(kind, when) for kind, role, when in told if role == "quality" and kind == "fit"] == [
        ("fit", 2),
        ("fit", 4),
    ]


def test_each_part_has_models_answers_and_notes_of_its_own(tmp_path: Path) -> None:
    loop = finish(a_loop(tmp_path / "r", "gaussian", "learned", "learned"))
    models = {path.stem for path in (tmp_path / "r/models").glob("*.npz")}
    assert (
        models == {"axes-000001", "axes-000004", "quality-000002", "quality-000004"} == set(read_refits(tmp_path / "r"))
    )
    store = Store(tmp_path / "r/judgments.db")
    assert [len(store.judged("toy", task)) for task in ("triplet", "pair")] == [14, 12]
    assert loop.answers == 26
    store.close()


def test_a_learned_quality_has_a_zero_and_nothing_below_it_is_an_elite(tmp_path: Path) -> None:
    loop = finish(a_loop(tmp_path / "r", "gaussian", "known", "learned"))
    quality = loop.quality
    assert isinstance(quality, LearnedQuality)
    assert quality.model is not None
    scores = quality.model.score(loop.history.sample("features")[:, :4]).mean
    store = Store(tmp_path / "r/judgments.db")
    better, worse = store.judged("toy", "pair").items.T
    store.close()
    assert (scores[better] > scores[worse]).mean() > 0.7
    assert loop.elites().objective.min() >= 0
    assert quality.quality.score(loop.history.sample("features")).mean.max() == pytest.approx(
        scores.max() - quality.zero
    )
    assert loop.placement.least == 0.0


def test_answers_too_few_to_learn_from_change_nothing(tmp_path: Path, monkeypatch) -> None:
    loop = a_loop(tmp_path / "r", "gaussian", "learned", "learned")
    assert isinstance(loop.quality, LearnedQuality)
    loop.axes.tally.least_new = 10  # of 6 and 8 questions
    loop.quality.tally.least_new = 10
    before: list[Any] = []
    for batch in loop:
        before.append(loop.placement.archive)
        assert batch.iteration < 9
    kinds = {path.stem for path in (tmp_path / "r/models").glob("*.npz")}
    assert kinds == {"axes-000001", "axes-000004", "quality-000004"}, "components, then axes; 6 answers were too few"
    assert before[0] is before[1] is before[2] is not before[3]


def test_candidates_that_were_only_judged_are_kept_and_never_placed(tmp_path: Path) -> None:
    loop = a_loop(tmp_path / "r", "gaussian", "published")
    loop.axes.choose = replace(loop.axes.choose, fresh=loop.search.domain.initial)
    finish(loop)
    low, high = loop.view.apart[0]
    assert (low, high - low) == (toy.N, 3 * 5), "three for each of five questions"
    assert len(loop.history) == toy.N * toy.ITERATIONS + high - low
    assert loop.offered == toy.N * toy.ITERATIONS
    assert not loop.view.is_apart(loop.elites().ids).any()
    loop.axes.placing = Placing()
    loop.place()
    assert not loop.view.is_apart(loop.elites().ids).any()
    again = a_loop(tmp_path / "r", "gaussian", "published", resume=True)
    again.begin()
    assert again.view.apart == loop.view.apart
    assert again.offered == loop.offered


def test_whatever_has_a_state_goes_on_with_it_and_is_told_of_the_history(tmp_path: Path) -> None:
    piece = Counted()
    loop = a_loop(tmp_path / "r", stateful={"count": piece})
    for batch in loop:
        piece.n += 1
        if batch.iteration == 4:
            break
    claims.release(tmp_path / "r")
    other = Counted()
    again = a_loop(tmp_path / "r", stateful={"count": other}, resume=True)
    again.begin()
    assert (piece.recalled, other.n, other.recalled) == (toy.N, 3, 4 * toy.N), "iteration 4 had no checkpoint"
    assert again.search.encoder.state() == loop.search.encoder.state()


def test_a_run_that_a_rule_has_ended_does_not_go_on(tmp_path: Path) -> None:
    class Enough(Counted):
        def __call__(self, batch: Batch, placement: Placement) -> str | None:
            self.n += len(batch)
            return f"{len(placement.archive) > 0}ly enough" if self.n >= 30 else None

    loop = finish(a_loop(tmp_path / "r", stopping=(Enough(),)))
    assert (loop.last, loop.over) == (3, "Truely enough")
    assert loop.finish({"n": np.int64(3)}) == {"n": 3, "stopped": "Truely enough"}
    again = a_loop(tmp_path / "r", stopping=(Enough(),), resume=True)
    assert list(again) == []
    assert len(again.elites()) == len(loop.elites())


def test_candidates_that_fail_one_after_another_end_the_run_in_a_line(tmp_path: Path) -> None:
    rule = InVain(20)
    loop = a_loop(tmp_path / "r", "prompts", stopping=(rule,))
    render = loop.search.domain.render
    loop.search.domain.render = lambda solutions, seeds: ([None] * len(seeds), ["no paper"] * len(seeds))
    with pytest.raises(NothingEvaluatedError):
        loop.begin()
    loop.search.domain.render = render
    batches = iter(a_loop(tmp_path / "q", "prompts", stopping=(rule,)))
    batch = next(batches)
    failed = replace(batch, valid=np.zeros(len(batch), dtype=bool), errors=["no paper"] * len(batch))
    assert rule(failed, None) is None
    assert rule.state() == {"count": toy.N}
    with pytest.raises(InVainError, match="20 candidates in a row without a score; the last: no paper"):
        rule(failed, None)
    rule(batch, None)
    assert rule.state() == {"count": 0}


def test_people_are_asked_after_a_checkpoint_alone_and_before_the_first_axes_too(tmp_path: Path, monkeypatch) -> None:
    loop = a_loop(tmp_path / "r")
    assert loop.store is not None
    begin_study(loop.run.path, similarity_study("toy", title="Toys", text="Which is more alike?"))
    seen: list[tuple[int, list[str]]] = []
    publish = Store.publish

    def noted(self, *given, **more):
        seen.append((loop.last, sorted(path.name[:9] for path in (tmp_path / "r/checkpoints").glob("*.npz"))))
        return publish(self, *given, **more)

    monkeypatch.setattr(Store, "publish", noted)
    people = People(loop.store, "toy", partial(loop.run.show, loop.search))
    loop.axes.feedback = Feedback(loop.run, loop.store, people)
    with stopped_in(1):
        finish(loop)
    claims.release(tmp_path / "r")
    assert seen == [(0, ["000000000"])], "there were no axes yet, and yet a checkpoint"
    asked = loop.store.asked("toy")
    again = a_loop(tmp_path / "r", resume=True)
    assert again.store is not None
    people = People(again.store, "toy", partial(again.run.show, again.search))
    again.axes.feedback = Feedback(again.run, again.store, people)
    next(iter(again))
    assert again.store.asked("toy") == asked == 6, "the same questions"
    assert again.answers == 0
    assert again.placement.diversity.dim == 2, "components, until somebody has answered"


def test_a_schedule_is_the_one_that_the_run_was_begun_with(tmp_path: Path) -> None:
    finish(a_loop(tmp_path / "r"), cut=2)
    again = a_loop(tmp_path / "r", resume=True)
    again.axes.schedule = Schedule({1: 3, 5: 5})
    finish(again)
    assert again.axes.schedule.asks == {1: 6, 4: 8}


def test_what_was_lost_is_said_and_nothing_takes_its_place(tmp_path: Path) -> None:
    finish(a_loop(tmp_path / "r"), cut=3)
    (tmp_path / "r/models/axes-000001.npz").unlink()
    again = a_loop(tmp_path / "r", resume=True)
    with pytest.raises(LostError, match=r"axes-000001.npz is gone"):
        next(iter(again))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda state: state.pop("parts"), "there is no 'parts' in it"),
        (lambda state: state.update(offered="many"), "offered must be a whole number"),
        (lambda state: state["parts"].update(axes={}), "there is no 'schedule' in it"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_in_a_line(
    damage: Callable[[dict[str, Any]], None], said: str, tmp_path: Path
) -> None:
    loop = finish(a_loop(tmp_path / "r"), cut=3)
    found = runs.resume(tmp_path / "r", toy.NAMES).latest()
    assert found is not None
    damage(found.state)
    fresh = a_loop(tmp_path / "q")
    fresh.run.saved = {"axes": str(loop.run.path / "models/axes-000001.npz")}
    with pytest.raises(ValueError, match=f"does not fit this run: {said}"):
        fresh._restore(found)


def test_ranges_grow_only_where_they_may(tmp_path: Path) -> None:
    loop = a_loop(tmp_path / "r", "gaussian", "pca", evaluations=400)
    loop.axes.placing = Placing(quantile=0.3, margin=0.0, grows=True, end=None)
    widths = []
    for _ in loop:
        archive = loop.placement.archive
        widths.append(float((archive.upper_bounds - archive.lower_bounds)[0]))
    assert len(set(widths[:9])) == 1, "they are looked at every tenth iteration"
    assert widths[9] != widths[8]
    still = a_loop(tmp_path / "q", "gaussian", "pca", evaluations=400)
    still.axes.placing = Placing(quantile=0.3, margin=0.0, grows=False, end=None)
    still_widths = {float((still.placement.archive.upper_bounds)[0]) for _ in still}
    assert len(still_widths) == 1
    assert still.clipped > 0.1


def test_a_share_of_the_first_is_too_poor_for_the_archive(tmp_path: Path) -> None:
    loop = finish(a_loop(tmp_path / "r", "gaussian", "known", floor=0.5))
    first = loop.history.take(np.arange(toy.N), "features")[:, 4]
    assert loop.placement.least == pytest.approx(np.quantile(first, 0.5, method="higher"))
    assert loop.elites().objective.min() >= loop.placement.least


def test_elites_are_evaluated_again_in_any_domain(tmp_path: Path) -> None:
    loop = finish(a_loop(tmp_path / "r", "gaussian", "known"))
    found = loop.corrected(2)
    assert found.coverage == pytest.approx(100 * len(loop.elites()) / 25)


def test_nothing_can_be_read_before_it_is_there(tmp_path: Path) -> None:
    loop = a_loop(tmp_path / "r")
    with pytest.raises(RuntimeError, match="take a batch from the loop first"):
        _ = loop.placement
    with pytest.raises(ValueError, match="evaluations must be at least 1, got 0"):
        replace(loop, evaluations=0)
    assert not loop.axes.due(Now(0, "begin"))


@pytest.mark.parametrize("given", [None, np.zeros((3, 4)), first(np.zeros((0, 4)))], ids=["nothing", "array", "empty"])
def test_a_generator_owes_candidates(given: Any, tmp_path: Path) -> None:
    loop = a_loop(tmp_path / "r")
    generator = loop.search.generator
    loop.search = replace(loop.search, generator=Mute(given))
    assert generator is not loop.search.generator
    with pytest.raises(ValueError, match="must return a Proposal with candidates in it"):
        list(loop)


class Mute:
    """A generator that does not do its duty."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def ask(self, placement: Placement, n: int, rng: np.random.Generator) -> Any:
        return self.given


def changed(loop: Loop, what: str) -> Loop:
    if what == "axes":
        loop.axes = Known(Columns((1, 2)), np.array([(-1.0, 1.0)] * 2))
    elif what == "ranges":
        loop.axes = Known(Columns((0, 1)), np.array([(-2.0, 2.0)] * 2))
    elif what == "quality":
        loop.quality = column(toy.NAMES, "fair")
    elif what == "seed":
        loop.search = replace(loop.search, seed=4)
    elif what == "generator":
        loop.search = replace(loop.search, generator=Mute(None))
    else:
        return replace(loop, **{what: 80})
    return loop


@pytest.mark.parametrize("what", ["axes", "ranges", "quality", "seed", "generator", "evaluations", "batch_size"])
def test_a_run_does_not_go_on_with_other_parts(what: str, tmp_path: Path) -> None:
    finish(a_loop(tmp_path / "r", "gaussian", "known"), cut=3)
    again = changed(a_loop(tmp_path / "r", "gaussian", "known", resume=True), what)
    name = "axes" if what == "ranges" else what
    with pytest.raises(ValueError, match=f"the run was begun with {name} .*, this one has "):
        next(iter(again))


def test_the_best_of_all_are_the_best_by_the_objective(tmp_path: Path) -> None:
    loop = finish(a_loop(tmp_path / "r", "gaussian", "known", objective=lambda s: -s.mean, puts_forward=BestOfAll(5)))
    scores = loop.history.sample("features")[:, 4]
    assert sorted(loop.put_forward()) == sorted(np.argsort(scores, kind="stable")[:5])
    loop.finish({})
    best, _ = files.unpack((tmp_path / "r/best.npz").read_bytes(), "best")
    np.testing.assert_allclose(best["objective"], -scores[best["id"]])
    some = FromArchive(3, seed=1)(loop.history, loop.placement)
    assert set(some) <= set(loop.elites().ids)
    assert len(some) == 3
    assert FromArchive()(loop.history, loop.placement).tolist() == loop.elites().ids.tolist()


def test_what_failed_is_never_put_forward(tmp_path: Path) -> None:
    loop = finish(a_loop(tmp_path / "r", "gaussian", "known"))
    features = loop.history.sample("features")
    loop.quality = Column(0, curve=lambda values: np.where(np.arange(len(values)) % 3 == 0, np.nan, values))
    loop.view.placement = replace(loop.placement, quality=loop.quality)
    best = BestOfAll(60)(loop.history, loop.placement)
    assert len(best) == len(features) - len(features[::3])
    assert (best % 3 != 0).all()


def test_a_piece_takes_no_name_of_the_loop_s_own(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a piece of its own under 'encoder'"):
        a_loop(tmp_path / "r", stateful={"encoder": Counted()})


def test_the_last_row_of_a_curve_is_there_when_a_rule_ends_the_run(tmp_path: Path) -> None:
    curves = Curves(every=50)
    loop = a_loop(tmp_path / "r", stopping=(Until(2),), curves=curves)
    for _ in loop:
        pass
    assert [row["iteration"] for row in curves.rows] == [2]
    assert set(curves.rows[0]) >= {"evaluations", "answers", "qd_score", "coverage", "qd_score_true", "clipped"}
    assert curves.refits() == []
    other = Curves()
    other.restore(curves.state())
    assert other.rows == curves.rows
    assert other.seconds >= curves.state()["seconds"] - 1


class Until(Counted):
    """Ends a run after an iteration."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.iteration = last

    def __call__(self, batch: Batch, placement: Placement) -> str | None:
        return "enough" if batch.iteration == self.iteration else None


def test_a_first_population_is_never_lost(tmp_path: Path) -> None:
    with stopped_in(1):
        finish(a_loop(tmp_path / "r", "gaussian", "learned", checkpoint_every=100))
    claims.release(tmp_path / "r")
    again = a_loop(tmp_path / "r", "gaussian", "learned", resume=True)
    again.begin()
    assert (again.last, again.offered, again.view.placement) == (0, toy.N, None)


def test_a_refit_that_is_repeated_does_not_wait_again(tmp_path: Path) -> None:
    loop = a_loop(tmp_path / "r")
    waited: list[int] = []

    class Patient:
        kind, name, publishes = "simulation", "patient", False
        can_judge, answer = loop.axes.feedback.annotator.can_judge, loop.axes.feedback.annotator.answer

        def wait(self) -> None:
            waited.append(loop.last)

    loop.axes.feedback = replace(loop.axes.feedback, annotator=Patient())
    with stopped_in(2):
        finish(loop)
    assert waited == [0]
    loop.axes.feedback.judged("axes-000001", "triplet")
    assert waited == [0], "its answers are noted"


def test_what_is_put_forward_of_categories_is_kept_too(tmp_path: Path) -> None:
    loop = a_loop(tmp_path / "r", "language", "known", puts_forward=BestOfAll(3), archive=archives.categorical((2, 2)))
    loop.axes = Known(Halves(), np.array([(0.0, 2.0)] * 2))
    finish(loop).finish({})
    best, _ = files.unpack((tmp_path / "r/best.npz").read_bytes(), "best")
    assert len(best["id"]) == 3
    assert loop.clipped == 0.0


class Halves:
    """Whether two features are large, as categories."""

    dim = 2

    def project(self, features: Any) -> Any:
        return np.where(np.isnan(features[:, :2]), np.nan, (features[:, :2] > 0.2).astype(float))


def test_a_run_without_an_iteration_or_a_beginning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="evaluations must be above the 10 of the first population, got 10"):
        list(a_loop(tmp_path / "short", evaluations=10))
    late = a_loop(tmp_path / "late")
    late.axes.schedule = Schedule({3: 6})
    with pytest.raises(RuntimeError, match="there are no axes before iteration 1"):
        list(late)
    long = a_loop(tmp_path / "long")
    long.axes.schedule = Schedule({1: 6, 90: 30})
    with pytest.warns(UserWarning, match="ask before iteration 90, and the run ends with iteration 6: 30 questions"):
        list(long)


def test_a_model_of_one_s_own_comes_back_by_its_own_loader(tmp_path: Path) -> None:
    def mine(seen: Any, *, dim: int, rng: np.random.Generator) -> tuple[Any, None]:
        return Mine(seen.points.mean()), None

    loop = a_loop(tmp_path / "r")
    loop.axes.fitted, loop.axes.load = mine, load_mine
    finish(loop, cut=4)
    again = a_loop(tmp_path / "r", resume=True)
    again.axes.fitted, again.axes.load = mine, load_mine
    again.begin()
    assert isinstance(again.axes.model, Mine)


class Mine:
    """Two columns, moved."""

    dim = 2

    def __init__(self, by: float) -> None:
        self.by = by

    def project(self, features: Any) -> Any:
        return features[:, :2] - self.by

    def save(self, path: Path) -> None:
        path.write_text(repr(float(self.by)))


def load_mine(path: Path) -> Mine:
    return Mine(float(path.read_text()))


def test_people_need_a_study_with_their_question(tmp_path: Path) -> None:
    loop = a_loop(tmp_path / "r")
    assert loop.store is not None
    people = People(loop.store, "toy", partial(loop.run.show, loop.search), "which")
    loop.axes.feedback = Feedback(loop.run, loop.store, people)
    with pytest.raises(ValueError, match="begin_study"):
        list(loop)
    begin_study(loop.run.path, similarity_study("toy", title="Toys", text="Which is more alike?"))
    with pytest.raises(ValueError, match="asks no question 'which': it has similarity"):
        list(loop)


def test_a_summary_that_is_no_json_names_what_is_not(tmp_path: Path) -> None:
    loop = finish(a_loop(tmp_path / "r", "gaussian", "known"))
    with pytest.raises(ValueError, match="summary must be JSON values, best is ndarray"):
        loop.finish({"best": np.zeros(2)})


def test_columns_that_are_not_there_are_said(tmp_path: Path) -> None:
    for columns in ((0, 9), ("a",), ()):
        loop = a_loop(tmp_path / f"{len(columns)}{columns[-1:]}")
        loop.axes.columns = columns
        with pytest.raises(ValueError, match="columns must be numbers of the 7 feature columns"):
            list(loop)


def test_a_killed_run_with_two_learned_parts_ends_as_one_that_was_not(tmp_path: Path) -> None:
    toy.main(["--run", str(tmp_path / "whole")])
    killed_on_its_way("tests.toy", [], tmp_path / "killed")
    toy.main(["--run", str(tmp_path / "killed"), "--resume"])
    for name in ("archive.npz", *(f"models/{path.name}" for path in (tmp_path / "whole/models").iterdir())):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
