from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from qdfeedback.diversity.columns import Calibrated, columns
from qdfeedback.feedback.calibration import (
    Isotonic,
    Marks,
    Temperature,
    cross_entropy,
    fit_isotonic,
    fit_temperature,
    marks,
)
from qdfeedback.feedback.store import Store
from qdfeedback.quality.columns import Column
from tests.contracts import check_diversity, check_quality


def rows(task: str, answers) -> list[dict]:
    return [
        {
            "study_id": "s", "trial_id": f"{task}{number}", "task": task, "question": task, "kind": kind,
            "purpose": "random", "left_id": item, "choice": "skip" if value is None else "value",
            "value": value if task == "rating" else None, "label": value if task == "label" else None,
            "annotator_kind": "person", "annotator_id": f"p{number}", "answered_utc": "2026-01-01",
        }
        for number, (item, kind, value) in enumerate(answers)
    ]  # fmt: skip


def test_marks_are_what_people_said(tmp_path: Path) -> None:
    store = Store(tmp_path / "judgments.db")
    store.append(
        rows(
            "rating",
            [("4", "main", 3.0), ("4", "main", 5.0), ("2", "main", 1.0), ("2", "repeat", 5.0), ("4", "main", None)],
        )
        + rows("label", [("a/7", "main", "horror"), ("a/7", "main", "romance"), ("b/7", "main", "horror")])
    )  # fmt: skip
    found = marks(store, "s", "rating")
    assert (found.ids.tolist(), found.mean.tolist(), found.count.tolist()) == ([2, 4], [1.0, 4.0], [1, 2])
    share = marks(store, "s", "label", label="horror", source="a")
    assert (share.ids.tolist(), share.mean.tolist(), share.count.tolist()) == ([7], [0.5], [2])
    assert len(marks(store, "s", "label", label="horror")) == 0  # without the run's label nothing is matched
    assert isinstance(found, Marks)
    assert len(marks(store, "s", "rating", without=["p0", "p1"])) == 1
    store.append([one | {"annotator_kind": "model", "trial_id": "m"} for one in rows("rating", [("9", "main", 1.0)])])
    assert marks(store, "s", "rating").ids.tolist() == [2, 4]  # a judge is not calibrated to itself


def test_a_temperature_is_found_again(rng: np.random.Generator) -> None:
    said = rng.random(4000)
    count = rng.integers(1, 5, size=4000)
    for temperature, shift in ((3.0, 0.0), (0.5, 0.0), (2.0, -1.0)):
        true = expit(logit(said) / temperature + shift)
        share = rng.binomial(count, true) / count
        found = fit_temperature(said, share, count, shift=shift != 0)
        assert found.temperature == pytest.approx(temperature, rel=0.15)
        assert found.shift == pytest.approx(shift, abs=0.1)
        assert cross_entropy(found(said), share, count) < cross_entropy(said, share, count)


def test_people_who_all_agree_do_not_make_it_infinite() -> None:
    said = np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    found = fit_temperature(said, (said > 0.5).astype(float), np.ones(5))
    assert 0.01 < found.temperature < 1
    assert np.isfinite(found(np.array([0.0, 1.0, 0.5]))).all()


def test_an_isotonic_curve_rises_and_is_flat_beyond_its_ends(rng: np.random.Generator) -> None:
    said = rng.random(500)
    mean = 1 + 4 * said**3 + rng.normal(0, 0.1, 500)
    found = fit_isotonic(said, mean, np.ones(500))
    at = np.linspace(-1, 2, 200)
    assert (np.diff(found(at)) >= 0).all()
    np.testing.assert_allclose(found(np.array([0.3, 0.8])), 1 + 4 * np.array([0.3, 0.8]) ** 3, atol=0.2)
    assert found(np.array([-1.0]))[0] == found(np.array([0.0]))[0]


def test_few_texts_are_not_enough() -> None:
    with pytest.raises(ValueError, match="five texts with answers or more, got 4"):
        fit_isotonic(np.array([0.1, 0.2, 0.3, 0.4, np.nan]), np.ones(5), np.ones(5))


def test_curves_are_read_through(rng: np.random.Generator) -> None:
    features = rng.random((9, 3)).astype(np.float32)
    model = Calibrated(columns(("a", "b", "c"), "a", "c"), ((2, Temperature(2.0)),))
    found = model.project(features)
    np.testing.assert_allclose(found[:, 0], features[:, 0])
    np.testing.assert_allclose(found[:, 1], Temperature(2.0)(features[:, 2]), rtol=1e-6)
    check_diversity(model, features)
    quality = Column(1, curve=Isotonic((0.0, 1.0), (1.0, 5.0)))
    np.testing.assert_allclose(quality.score(features).mean, 1 + 4 * features[:, 1], rtol=1e-6)
    check_quality(quality, features)


# --- by hand


def test_a_temperature_by_hand() -> None:
    # log-odds of 0.9 are ln 9, those of 0.75 are ln 3 = ln 9 / 2
    said = np.full(5, 0.9)
    assert fit_temperature(said, np.full(5, 0.75), np.ones(5)).temperature == pytest.approx(2, rel=0.03)
    # one person says yes and three are at one half: 0.625, log-odds 0.510826, ln 9 / 0.510826
    said, share, count = np.full(6, 0.9), np.repeat([1.0, 0.5], 3), np.repeat([1, 3], 3)
    found = fit_temperature(said, share, count)
    assert found.temperature == pytest.approx(np.log(9) / 0.510826, rel=0.07), "texts count by their people"
    assert found.shift == 0
    assert Temperature(2.0)(np.array([0.9, 0.5, 0.1])) == pytest.approx([0.75, 0.5, 0.25])
    assert Temperature(2.0, np.log(3))(np.array([0.5, 0.1])) == pytest.approx([0.75, 0.5])
    assert np.isnan(Temperature(2.0)(np.array([np.nan]))).all()


def test_a_judge_that_is_never_sure_keeps_finite_odds() -> None:
    # clipped at one in a million: log-odds 13.8155, halved
    assert Temperature(2.0)(np.array([1.0]))[0] == pytest.approx(expit(13.815510 / 2), abs=1e-9)


def test_an_isotonic_curve_by_hand() -> None:
    # 3 (by one) and 2 (by three people) fall: both become (3 + 3 * 2) / 4
    found = fit_isotonic(np.arange(1.0, 6), np.array([1.0, 3, 2, 4, 5]), np.array([1, 1, 3, 1, 1]))
    assert found(np.array([1, 2, 3, 3.5, 4, 9])) == pytest.approx([1, 2.25, 2.25, (2.25 + 4) / 2, 4, 5])


def test_cross_entropy_by_hand() -> None:
    # -ln 0.8 of one person, -ln 0.5 of three; of an even share at 0.8, half of each
    found = cross_entropy(np.array([0.8, 0.5]), np.array([1.0, 0.5]), np.array([1, 3]))
    assert found == pytest.approx((-np.log(0.8) - 3 * np.log(0.5)) / 4)
    even = cross_entropy(np.array([0.8]), np.array([0.5]), np.array([2]))
    assert even == pytest.approx(-(np.log(0.8) + np.log(0.2)) / 2)


def test_rows_without_a_number_are_left_out_of_a_curve() -> None:
    said, share = np.array([0.9] * 5 + [np.nan, 0.9]), np.array([0.75] * 5 + [0.0, np.nan])
    assert fit_temperature(said, share, np.ones(7)).temperature == pytest.approx(2, rel=0.03)
    with pytest.raises(ValueError, match="got 4"):
        fit_temperature(said[1:], share[1:], np.ones(6))
