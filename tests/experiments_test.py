"""Every experiment, run with tiny settings the way a user would."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pytest

from domains.arm import Arm
from experiments.arm import ablation as ablation_arm
from experiments.arm import parts as arm_parts
from experiments.arm import qdhf as qdhf_arm
from experiments.arm import report as arm_report
from experiments.arm import table as arm_table
from experiments.arm.arguments import Piece
from experiments.benchmarks import loop as benchmark_loop
from experiments.benchmarks import similarity as benchmark_similarity
from qdfeedback import metrics
from qdfeedback import similarity as similarity_from_triplets
from qdfeedback.arguments import settings_of
from qdfeedback.commands import run_main
from qdfeedback.diversity import published, similarity
from qdfeedback.diversity.accuracy import Validation, accuracies, by_fold
from qdfeedback.feedback.store import Store
from qdfeedback.history import History
from tests.conftest import SHARED

TINY = ["--evaluations", "480", "--batch-size", "20", "--answers", "40", "--rounds", "5", "--checkpoint-every", "8"]
FAST = ("gt", "aurora-pca-inc", "qdhf", "qdhf-active")  # the others are slow tests
METHODS = ("gt", "aurora-pca", "aurora-pca-inc", "aurora-ae", "aurora-ae-inc", "qdhf-base", "qdhf", "qdhf-active")
KEYS = {
    "method", "seed", "iterations", "evaluations", "answers", "qd_score_all", "coverage_all", "qd_score_archive",
    "coverage_archive", "judgment_accuracy", "seconds",
}  # fmt: skip


def arm(run: Path, *arguments: str) -> dict:
    qdhf_arm.main([*TINY, "--no-present", "--run", str(run), *arguments])
    return json.loads((run / "summary.json").read_text())


@pytest.fixture(autouse=True)
def _pictures_where_they_are_looked_at(request, monkeypatch) -> None:
    """They take longer than the searches here, and so does the published training to its end."""
    monkeypatch.setattr(published, "EPOCHS", 20)
    if request.function is not test_every_method_on_the_arm:
        monkeypatch.setattr(arm_report, "_pictures", lambda *given: None)


@pytest.mark.parametrize("method", [m for m in FAST if m != "qdhf-active"])
def test_methods_on_the_arm(method: str, tmp_path: Path, capsys) -> None:
    check_run(tmp_path / "r", method, arm(tmp_path / "r", "--method", method), capsys.readouterr().out)


@pytest.mark.parametrize("method", [pytest.param(m, marks=[pytest.mark.slow] * (m != "qdhf-active")) for m in METHODS])
def test_every_method_on_the_arm(method: str, tmp_path: Path, capsys) -> None:
    summary = arm(tmp_path / "r", "--method", method, "--present")
    check_run(tmp_path / "r", method, summary, capsys.readouterr().out)
    for name in ("archive.png", "arms.png", "curves.png"):
        assert (tmp_path / "r" / name).stat().st_size > 0, name
    shown = list((tmp_path / "r/shown").glob("*.png"))
    assert 0 < len(shown) <= summary["elites"]


def check_run(run: Path, method: str, summary: dict, said: str) -> None:
    assert set(summary) >= KEYS
    assert summary["method"] == method
    judged = method.startswith("qdhf")
    assert summary["answers"] == (40 if judged else 0)
    assert (summary["judgment_accuracy"] is not None) == judged
    extra = {"qdhf-base": 120, "qdhf": 30}.get(method, 0)  # random arms that were only judged
    assert summary["evaluations"] == 480 + extra
    assert 0 < summary["coverage_all"] < 80
    assert summary["qd_score_archive"] <= summary["qd_score_all"] + 20
    for name in ("settings.json", "history.arrows", "archive.npz", "curves.csv"):
        assert (run / name).stat().st_size > 0, name
    assert len(History(run / "history.arrows", arm_parts.NAMES)) == summary["evaluations"]
    settings = json.loads((run / "settings.json").read_text())["settings"]
    store = Store(run / "judgments.db")
    assert len(store.triplets(settings["study"])) == summary["answers"]
    assert "Look at" in said


def test_the_true_axes_need_no_judgment(tmp_path: Path) -> None:
    summary = arm(tmp_path / "r", "--method", "gt")
    assert summary["axes_accuracy"] == 1
    assert summary["qd_score_archive"] == pytest.approx(summary["qd_score_all"], rel=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--dim", "3"], marks=pytest.mark.slow),
        ["--dim", "1", "--pinned", "x"],
        pytest.param(["--label-noise", "0.2"], marks=pytest.mark.slow),
        pytest.param(["--emitter", "iso-line"], marks=pytest.mark.slow),
        pytest.param(["--emitter", "cma-me"], marks=pytest.mark.slow),
        pytest.param(["--emitter", "cma-mae", "--es", "sep_cma_es"], marks=pytest.mark.slow),
        ["--objective-noise", "10", "--reevaluate", "3"],
        pytest.param(["--dim", "3", "--reevaluate", "2"], marks=pytest.mark.slow),
        pytest.param(["--commit"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_every_knob(arguments: list[str], tmp_path: Path) -> None:
    summary = arm(tmp_path / "r", *arguments)
    assert np.isfinite(summary["qd_score_all"])
    if "--objective-noise" in arguments:
        assert summary["qd_score_corrected"] < summary["qd_score"]


class Fragile(Arm):
    """An arm that breaks when its first joint turns far."""

    def render(self, solutions, seeds):
        artifacts, _ = super().render(solutions, seeds)
        return artifacts, ["broke" if abs(angle) > 2 else None for angle in solutions[:, 0]]


@pytest.mark.parametrize("method", [m if m == "qdhf-active" else pytest.param(m, marks=pytest.mark.slow) for m in FAST])
def test_failing_candidates_are_counted_and_no_more(method: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(qdhf_arm, "Arm", Fragile)
    summary = arm(tmp_path / "r", "--method", method)
    assert summary["failed"] > 0
    assert np.isfinite(summary["qd_score_all"])


@pytest.mark.slow
@pytest.mark.parametrize("piece", get_args(Piece))
def test_every_piece_can_be_left_out(piece: str, tmp_path: Path) -> None:
    assert arm(tmp_path / "r", "--without", piece)["without"] == [piece]


@pytest.mark.slow
def test_ablation(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(ablation_arm, "Piece", Literal["bald"])
    ablation_arm.main(["--answers", "20", "--seeds", "1", "--evaluations", "1000", "--run", str(tmp_path)])
    assert "| bald |" in (tmp_path / "ablation.md").read_text()
    with pytest.raises(ValueError, match="no finished run"):
        arm_table.main([str(tmp_path / "bald")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--answers", "0"], "--answers must be at least 2"),
        (["--method", "qdhf", "--answers", "3"], "at least 16 for qdhf"),
        (["--evaluations", "100"], "--evaluations must be above --batch-size, 100"),
        (["--dim", "1"], "one axis alone makes no map"),
        (["--method", "gt", "--without", "bald"], "takes pieces from qdhf-active only"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_door(arguments, message, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        qdhf_arm.main(["--run", str(tmp_path / "r"), *arguments])
    assert not (tmp_path / "r").exists()


def test_few_judgments_and_many_rounds(tmp_path: Path) -> None:
    assert arm(tmp_path / "r", "--answers", "5")["answers"] == 5


def test_no_password_in_the_run_folder() -> None:
    args = qdhf_arm.Args(database="postgresql+psycopg://me:secret@db/x")
    assert "secret" not in json.dumps(settings_of(args))


def test_what_a_person_can_mend_is_one_line(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit, match=r"error: .* holds no run"):
        run_main(lambda: qdhf_arm.main(["--run", str(tmp_path), "--resume"]))
    with pytest.raises(SystemExit, match="stopped"):
        run_main(lambda: (_ for _ in ()).throw(KeyboardInterrupt))


def test_judgments_in_a_store_of_ones_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    for name in ("a", "b"):
        assert arm(tmp_path / name, "--database", url, "--rounds", "2")["answers"] == 40
    assert not (tmp_path / "a/judgments.db").exists()


@pytest.mark.slow
def test_a_finished_run_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    first = arm(tmp_path / "r")
    with pytest.raises(ValueError, match="is not empty"):
        arm(tmp_path / "r")
    assert arm(tmp_path / "r", "--resume") == first, "it is finished: nothing is run again"
    again = arm(tmp_path / "r", "--overwrite")
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in first.items() if k != "seconds"}


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_several_seeds_and_the_table(workers: str, tmp_path: Path, capsys) -> None:
    qdhf_arm.main([*TINY, "--run", str(tmp_path / "runs"), "--seed", "0", "1", "--workers", workers, "--method", "gt"])
    arm(tmp_path / "runs/qdhf", "--method", "qdhf")
    arm_table.main([str(tmp_path / "runs"), "--out", str(tmp_path / "table")])
    text = (tmp_path / "table/table.md").read_text()
    assert "| gt | – | 0% | 2 |" in text
    assert "(74.9 ± 0.3)" in text
    assert "| qdhf | 40 | 0% | 1 |" in text
    assert len((tmp_path / "table/table.csv").read_text().splitlines()) == 3
    assert (tmp_path / "table/table.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="no finished run"):
        arm_table.main([str(tmp_path / "nothing")])
    shutil.copytree(tmp_path / "runs/qdhf", tmp_path / "runs/twice")
    with pytest.raises(ValueError, match="the same seed counts twice"):
        arm_table.main([str(tmp_path / "runs")])


def test_seeds_are_resumed_with_the_settings_of_those_begun(tmp_path: Path) -> None:
    run = ("--run", str(tmp_path))
    arm(tmp_path / "seed-0", "--method", "gt")
    qdhf_arm.main([*run, "--seed", "0", "1", "--workers", "1", "--resume"])
    summary = json.loads((tmp_path / "seed-1" / "summary.json").read_text())
    assert (summary["method"], summary["seed"]) == ("gt", 1)
    with pytest.raises(ValueError, match="holds no run to resume"):
        qdhf_arm.main(["--run", str(tmp_path / "none"), "--seed", "0", "1", "--resume"])


@pytest.fixture
def triplet_files(tmp_path: Path, rng) -> dict[str, Path]:
    from tests.diversity.similarity_test import world

    features, triplets, test = world(rng, n=40, d=6, t=900)
    features = np.concatenate([features, np.full((40, 1), 4.5)], axis=1)
    np.save(tmp_path / "F.npy", features)
    np.save(tmp_path / "T.npy", triplets)
    lines = ["anchor,near,far", *(",".join(map(str, row)) for row in triplets.tolist())]
    (tmp_path / "T.csv").write_text("\n".join(lines))
    np.save(tmp_path / "test.npy", test)
    np.save(tmp_path / "few.npy", triplets[:50])
    return {name: tmp_path / name for name in ("F.npy", "T.npy", "T.csv", "test.npy", "few.npy")}


@pytest.mark.parametrize(
    ("triplets", "curve"),
    [("T.npy", [50, 100]), pytest.param("T.csv", [50, 100, 200, 300], marks=pytest.mark.slow)],
)
def test_similarity_from_anyones_triplets(triplets: str, curve: list[int], triplet_files, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["--features", str(triplet_files["F.npy"]), "--triplets", str(triplet_files[triplets])]
    similarity_from_triplets.main(
        [
            *arguments,
            "--answers",
            str(curve[-1]),
            "--folds",
            "3",
            "--run",
            str(run),
            "--test-triplets",
            str(triplet_files["test.npy"]),
        ]
    )
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test_accuracy"] > 0.93
    assert summary["item_accuracy"]["low"] < summary["item_accuracy"]["value"] < summary["item_accuracy"]["high"]
    assert [row["judgments"] for row in summary["learning_curve"]] == curve
    assert summary["learning_curve"][-1]["held_out"] == summary["judgment_accuracy"]
    assert summary["learning_curve"][-1]["items"] == summary["item_accuracy"]
    assert summary["accuracy_judgments"] == {"held_out": curve[-1], "items": curve[-1]}, "more than so many were left"
    assert summary["ridge_chosen_for"] == "items"
    model = similarity.load(run / "model.npz")
    features = np.load(triplet_files["F.npy"])
    right = metrics.orders_right(model, features, np.load(triplet_files["test.npy"]))
    assert right.mean() == pytest.approx(summary["test_accuracy"])
    assert (run / "map.png").exists()
    assert (run / "learning_curve.png").exists()
    with pytest.raises(ValueError, match="needs --test-triplets"):
        similarity_from_triplets.main([*arguments, "--answers", "50", "--run", str(run), "--test-features", "x.npy"])


def test_figures_are_those_of_the_model_that_is_saved(triplet_files, tmp_path: Path, capsys, monkeypatch) -> None:
    """All judgments but a fold are fitted to, and the temperature is that of answers held out."""
    monkeypatch.setattr(similarity_from_triplets, "pictures", lambda *given: None)
    run = tmp_path / "run"
    similarity_from_triplets.main(
        ["--features", str(triplet_files["F.npy"]), "--triplets", str(triplet_files["few.npy"]), "--run", str(run),
         "--ridge", "1", "--folds", "5", "--predict", "judgments"]
    )  # fmt: skip
    summary = json.loads((run / "summary.json").read_text())
    fitted = summary["accuracy_judgments"]
    assert fitted["held_out"] == pytest.approx(0.8 * 50)
    assert 38 < fitted["items"] < 45
    assert len(summary["item_accuracy_folds"]) == 15
    assert (summary["ridge"], summary["ridge_chosen_for"]) == (1.0, None)
    model = similarity.load(run / "model.npz")
    assert model.temperature == summary["temperature"] != 1
    said = capsys.readouterr().out
    assert "(fits to 40)" in said
    assert "1 feature columns are the same for all items" in said
    assert summary["constant_columns"] == 1


def test_too_few_judgments_to_hold_out_items_are_said_to_be(triplet_files, tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "T.npy", np.array([[0, 1, 2], [1, 2, 3], [2, 3, 0], [3, 0, 1]]))
    arguments = ["--features", str(triplet_files["F.npy"]), "--triplets", str(tmp_path / "T.npy"), "--folds", "2"]
    similarity_from_triplets.main(
        [*arguments, "--ridge", "1", "--predict", "judgments", "--run", str(tmp_path / "run")]
    )
    assert "judgments about new items        not measured: nothing can be fitted" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/summary.json").read_text())["item_accuracy"] is None
    with pytest.raises(ValueError, match="nothing can be fitted to what fold 0"):
        similarity_from_triplets.main([*arguments, "--run", str(tmp_path / "other")])


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the human judgments (../shared/data) are not here")
@pytest.mark.parametrize(("judgments", "least"), [(400, 0.755), (2000, 0.77)])
def test_real_people_are_predicted_on_new_items(judgments: int, least: float, tmp_path: Path) -> None:
    args = similarity_from_triplets.Args(SHARED / "zappos/features.npy", SHARED / "zappos/triplets.npy", folds=3)
    features = np.load(args.features).astype(np.float32)
    triplets = np.load(args.triplets).astype(np.int64)
    how = similarity_from_triplets.settings(features, triplets[:judgments], args, np.random.default_rng(0))
    found = accuracies(features, triplets, Validation(how=how, folds=3), judgments)
    folds = by_fold(found.by_item)
    assert len(folds) == 9
    assert np.mean(folds) >= least
    assert found.items.value >= least
    assert found.items.value < found.held_out.value < found.items.value + 0.06, "known items are a little easier"


@pytest.mark.slow
def test_benchmarks_run(tmp_path: Path, capsys) -> None:
    benchmark_loop.main(["--rounds", "1", "--evaluations", "2000", "--out", str(tmp_path / "loop.json")])
    assert set(json.loads((tmp_path / "loop.json").read_text())) == {"batch_100", "batch_1000", "qdhf_run"}
    small = ["--rounds", "1", "--sizes", "100", "--evaluations", "1000"]
    benchmark_similarity.main([*small, "--out", str(tmp_path / "fit.json")])
    found = json.loads((tmp_path / "fit.json").read_text())["100"]
    assert 0.7 < found["accuracy_ours"] < 0.9, "from 100 triplets about 20 angles"
    assert found["accuracy_ensemble"] == pytest.approx(found["accuracy_ours"], abs=0.02), "an ensemble moves no map"
    assert 0.45 < found["accuracy_published"] < found["accuracy_ours"]
    assert f"accuracy {found['accuracy_ours']:.4f} (published {found['accuracy_published']:.4f})" in (
        capsys.readouterr().out
    )


def test_what_the_fits_are_measured_on_is_judged_by_the_place_of_the_hand() -> None:
    features = benchmark_similarity.arms(2)
    triplets = benchmark_similarity.judged(features, 50, np.random.default_rng(0))
    hand = features[triplets][:, :, 20:22]
    near, far = (np.linalg.norm(hand[:, 0] - hand[:, side], axis=1) for side in (1, 2))
    assert (near < far).all()
