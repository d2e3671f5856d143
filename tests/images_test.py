"""QDHF on pictures, run with tiny settings the way a user would."""

from __future__ import annotations

import json
import shutil
import sqlite3
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from domains.images import CLIP
from domains.images.images import Images
from experiments.benchmarks import images as benchmark_images
from experiments.images import grade as grade_images
from experiments.images import parts as images_parts
from experiments.images import qdhf as qdhf_images
from experiments.images import report as images_report
from experiments.images import seeing
from experiments.images import study as images_study
from experiments.images import table as images_table
from qdfeedback import files, loop
from qdfeedback.arguments import settings_of
from qdfeedback.diversity import published
from qdfeedback.encoders import image
from qdfeedback.feedback.study import read_study
from qdfeedback.generators.latent import Noise
from qdfeedback.history import History, names_of
from qdfeedback.models import diffusion
from qdfeedback.models.ledger import Ledger, SpendCapError
from qdfeedback.models.opening import open_model
from qdfeedback.run_settings import read_settings, write_settings
from qdfeedback.shown import Shown
from tests.models.faulty import Faulty, serving
from tests.models.pipelines import stable_diffusion
from tests.models.seeing import Seeing
from tests.stopping import killed_on_its_way, stopped_on_its_way

N, FIRST = 24, 12
TINY = ["--evaluations", f"{N}", "--first", f"{FIRST}", "--batch-size", "6", "--answers", "16", "--rounds", "2",
        "--cells", "5", "--steps", "2", "--set-size", "10"]  # fmt: skip
SEARCHES = ("qdhf", "qdhf-active", "aurora-pca", "aurora-ae", "prompt-evolution")


@pytest.fixture(scope="module", autouse=True)
def _opened_once():
    """Models are opened once for all tests of this file, and the published procedure trains for a little while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diffusion, "load_diffusion", cache(diffusion.load_diffusion))
        patch.setattr(image, "ImageEmbeddings", cache(image.ImageEmbeddings))
        patch.setattr(published, "EPOCHS", 3)
        yield


@pytest.fixture(autouse=True)
def _pictures_where_they_are_looked_at(request, monkeypatch) -> None:
    """They take as long as some of the searches here."""
    if request.function not in (test_every_method, test_several_qualities_one_of_which_is_optimised):
        monkeypatch.setattr(images_report, "_pictures", lambda *given: None)


def images(run: Path, *arguments: str) -> dict:
    qdhf_images.main([*TINY, "--run", str(run), *arguments])
    return json.loads((run / "summary.json").read_text())


QUICK = ("qdhf-active", "best-of-n")


@pytest.mark.parametrize(
    "method",
    [*QUICK, *(pytest.param(m, marks=pytest.mark.slow) for m in (*SEARCHES, "best-of-n-plus") if m not in QUICK)],
)
def test_every_method(method: str, tmp_path: Path, capsys) -> None:
    summary = images(tmp_path / "r", "--method", method)
    assert summary["evaluations"] == summary["drawn"] == N
    assert summary["answers"] == (16 if method in ("qdhf", "qdhf-active", "prompt-evolution") else 0)
    assert summary["set"] == (min(10, summary["elites"]) if method in SEARCHES else 10)
    assert 0 < summary["distance_mean"] < 2
    assert 1 <= summary["vendi"] <= summary["set"]
    assert 0 <= summary["entropy"] <= 1
    assert set(summary["entropy_of"]) == {"colour", "texture", "count", "size", "ground", "across", "down"}
    for name in ("archive.png", "collage.png", "archive.npz", "history.arrows"):
        assert (tmp_path / "r" / name).stat().st_size > 0, name
    names = Shown(tmp_path / "r/shown").names()
    assert sorted(names) == list(range(N))
    first = Image.open(tmp_path / "r/shown" / names[0])
    assert first.size == (64, 64)
    assert first.text["prompt"] == "any number of circles"
    assert json.loads(first.text["settings"])["steps"] == 2
    assert len(list((tmp_path / "r/shown").glob("*.png"))) == len(set(names.values()))
    assert "collage.png" in capsys.readouterr().out


def test_prompts_and_noise_together(tmp_path: Path) -> None:
    summary = images(tmp_path / "r", "--solutions", "both")
    history = History(tmp_path / "r/history.arrows", names_of(tmp_path / "r/history.arrows"))
    found = history.take(np.arange(N), "solution")
    origins = np.concatenate([part["origin"] for part in history.chunks("origin")])
    assert set(found["prompt"][:FIRST]) == {"any number of circles"}
    assert len(set(found["prompt"])) > 3
    assert all("circle" in prompt for prompt in found["prompt"])
    assert found["noise"].shape == (N, 4, 16, 16)
    assert set(origins) == {"initial", "noise", "prompt and noise"}
    told = {
        Image.open(tmp_path / "r/shown" / name).text["prompt"] for name in Shown(tmp_path / "r/shown").names().values()
    }
    assert told == set(found["prompt"])
    assert summary["failed"] == 0


@pytest.mark.parametrize("how", ["stopped", pytest.param("killed", marks=pytest.mark.slow)])
def test_a_killed_run_draws_no_picture_again_and_ends_as_one_that_was_not(how: str, tmp_path: Path) -> None:
    more = ["--evaluations", "56"] if how == "killed" else []  # so many that it is not done before it is killed
    whole = images(tmp_path / "whole", *more)
    if how == "killed":
        killed_on_its_way("experiments.images.qdhf", [*TINY, *more], tmp_path / "killed")
    else:
        with stopped_on_its_way(2):  # one follows the first pictures
            images(tmp_path / "killed")
    kept = len((tmp_path / "killed/shown/drawn.csv").read_text().splitlines())
    n = whole.pop("drawn")
    assert n == (56 if more else N)
    assert n > kept >= FIRST + 6
    qdhf_images.main(["--run", str(tmp_path / "killed"), "--resume"])
    killed = json.loads((tmp_path / "killed/summary.json").read_text())
    assert killed.pop("drawn") == n - kept
    assert json.dumps(killed, sort_keys=True) == json.dumps(whole, sort_keys=True)  # NaN is NaN
    pictures = {path.name for path in (tmp_path / "whole/shown").glob("*.png")}
    assert {path.name for path in (tmp_path / "killed/shown").glob("*.png")} == pictures


def test_any_pipeline_by_distances_of_an_embedding(tmp_path: Path) -> None:
    stable_diffusion().save_pretrained(tmp_path / "model")
    arguments = ["--model", str(tmp_path / "model"), "--prompt", "an astronaut"]
    with pytest.raises(ValueError, match="--truth: nobody knows"):
        images(tmp_path / "r", *arguments)
    how = ["--scheduler", "DPMSolverMultistepScheduler", "--sliced"]
    summary = images(tmp_path / "r", *arguments, *how, "--truth", str(CLIP))
    drawn = Image.open(tmp_path / "r/shown" / Shown(tmp_path / "r/shown").names()[0])
    assert json.loads(drawn.text["settings"])["scheduler"] == "DPMSolverMultistepScheduler"
    assert "entropy" not in summary
    assert summary["distance_by_truth"] == pytest.approx(summary["distance_mean"], rel=1e-4)
    assert summary["vendi_by_truth"] == pytest.approx(summary["vendi"], rel=1e-4)
    assert summary["answers"] == 16


def test_what_is_said_of_the_pipeline_reaches_it(tmp_path: Path, monkeypatch) -> None:
    seen: dict = {}

    def load(model: str, **settings) -> None:
        seen.update(settings)
        raise ValueError("that will do")

    monkeypatch.setattr(diffusion, "load_diffusion", load)
    for given in (["--compiled", "--dtype", "float16"], ["--sliced", "--at-once", "3"]):
        with pytest.raises(ValueError, match="that will do"):
            images(tmp_path / "r", *given)
        assert seen["compiled"] == ("--compiled" in given) != seen["sliced"]
        assert (seen["dtype"], seen["batch_size"]) == (("float16", 20) if "--compiled" in given else ("auto", 3))
    assert not (tmp_path / "r").exists()


def test_a_picture_that_is_not_finite_is_counted_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    original = Noise.ask

    def spoiled(self, placement, n, rng):
        proposal = original(self, placement, n, rng)
        proposal.solutions[1] = np.nan
        return proposal

    monkeypatch.setattr(Noise, "ask", spoiled)
    summary = images(tmp_path / "r")
    assert summary["failed"] == 2
    assert len(Shown(tmp_path / "r/shown").names()) == N - 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "a cat"], "the prompt names no thing"),
        (["--answers", "3"], "--answers must be at least 16"),
        (["--method", "qdhf", "--annotator", "study"], "people answer one run of qdhf-active"),
        (["--method", "best-of-n", "--solutions", "both"], "best-of-n draws noise"),
        (["--annotator", "study", "--seed", "0", "1"], "people answer one run"),
        (["--floor", "1"], "--floor must be at least 0 and below 1, got 1.0"),
        (["--first", "2"], "--first must be at least 4"),
        (["--annotator", "judge"], "--annotator judge needs --judge"),
        (["--report", "clip"], "each quality once"),
        (["--cap", "1"], "--cap needs --prices"),
        (["--annotator", "judge", "--judge", "a/hub-id"], "--annotator judge needs --judge"),
        (["--annotator", "judge", "--judge", "m@https://me:secret@host/v1"], "put the key into --key-variable"),
        (["--quality", "other", "--published-objective"], "it needs --quality clip"),
        (["--report", "there/is/no.safetensors"], "there is no there/is/no"),
    ],
)
def test_what_cannot_work_is_refused_at_once(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        images(tmp_path / "r", *arguments)
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_a_judge_that_looks_at_the_pictures(tmp_path: Path) -> None:
    arguments = ["--annotator", "judge", "--answers", "20", "--steps", "3"]  # of what can be read there is more
    with serving(Seeing(leans=1.0)) as server:
        summary = images(tmp_path / "r", *arguments, "--judge", f"m@{server.url}")
        asked = [body for body in server.seen if isinstance(body["messages"][0]["content"], list)]
        assert 2 * 18 <= len(asked) <= 2 * 20  # in both orders; what comes again is not sent again
        graded = grade_images.grade(tmp_path / "r", open_model(f"m@{server.url}", Ledger(tmp_path / "g.db")), None)
    assert 8 <= summary["answers"] <= 20  # of what it cannot read it says nothing
    assert 0 <= summary["judgment_accuracy"] <= 1
    told = summary["judge"]
    assert told["questions"] == 20 == summary["answers"] + told["no clear answer"]
    kinds = {row["annotator_kind"] for row in judgments_of(tmp_path / "r")}
    assert kinds == {"model"}
    for name, one in graded["attributes"].items():
        assert one["entropy"] == pytest.approx(one["entropy_true"], nan_ok=True), name
        assert one["agreement"] == 1 or np.isnan(one["agreement"])
    told = json.loads((tmp_path / "r/grade.json").read_text())
    assert told["pictures"] == summary["set"] == min(10, summary["elites"])


def judgments_of(run: Path) -> list[dict]:
    with sqlite3.connect(run / "judgments.db") as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM judgments")]


def test_a_judge_that_never_answers_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    sees_nothing = Faulty(lacks=("logprobs", "response_format"))  # and says something else
    with (
        serving(sees_nothing) as server,
        pytest.raises(RuntimeError, match=r"answered 0 of 16: .*not one of the answers"),
    ):
        images(tmp_path / "r", "--annotator", "judge", "--judge", f"m@{server.url}")


def test_a_cap_holds_for_all_seeds_and_after_a_stop(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text("[m]\nprompt = 1000.0\ncompletion = 0.0\n")
    paid = ["--annotator", "judge", "--prices", str(tmp_path / "prices.toml"), "--cap", "20"]  # a call reserves 10
    with serving(Seeing()) as server:
        judge = ["--judge", f"m@{server.url}"]
        with pytest.raises((SpendCapError, RuntimeError)):
            images(tmp_path / "r", *paid, *judge, "--seed", "0", "1", "--workers", "1")
        assert (tmp_path / "r/replies.db").exists()  # one for both
        asked = len(server.seen)
        with pytest.raises((SpendCapError, RuntimeError)):  # from the checkpoint that follows the first pictures
            qdhf_images.main(["--run", str(tmp_path / "r"), "--seed", "0", "1", "--workers", "1", "--resume"])
        assert len(server.seen) <= asked + 2  # what is left is asked for, no more: the cap is remembered


def test_a_run_goes_on_with_what_it_was_begun_with_alone(tmp_path: Path, monkeypatch) -> None:
    model = shutil.copytree(CLIP, tmp_path / "clip")

    def stop(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(images_report, "finish", stop)
    with pytest.raises(KeyboardInterrupt):
        images(tmp_path / "r", "--clip", str(model), "--method", "aurora-pca")
    with pytest.raises(KeyboardInterrupt):
        qdhf_images.main(["--run", str(tmp_path / "r"), "--resume", "--at-once", "7"])
    assert read_settings(tmp_path / "r")["at_once"] == 7  # it counts the next time too
    monkeypatch.undo()
    with pytest.raises(ValueError, match=f"was begun with --evaluations {N}, which cannot change"):
        qdhf_images.main(["--run", str(tmp_path / "r"), "--resume", "--evaluations", "64"])
    settings = read_settings(tmp_path / "r")
    write_settings(tmp_path / "r", {name: one for name, one in settings.items() if name != "floor"})
    with pytest.raises(ValueError, match="was begun by an earlier version, without floor"):
        qdhf_images.main(["--run", str(tmp_path / "r"), "--resume"])
    write_settings(tmp_path / "r", settings)
    (model / "note.txt").write_text("trained again")
    with pytest.raises(ValueError, match="was begun with another clip"):
        qdhf_images.main(["--run", str(tmp_path / "r"), "--resume"])
    assert (tmp_path / "r/history.arrows").exists()


def test_a_system_that_died_ends_the_run(tmp_path: Path, monkeypatch) -> None:
    original = Images.render

    calls = []

    def dead(self, solutions, seeds):
        calls.append(len(solutions))
        if len(calls) == 1:
            return original(self, solutions, seeds)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Images, "render", dead)
    with pytest.raises(RuntimeError, match=r"in a row without a score; the last: .*CUDA error"):
        images(tmp_path / "r", "--method", "prompt-evolution", "--evaluations", "300")
    assert not (tmp_path / "r/summary.json").exists()


def test_a_judge_that_sees_nothing_gives_no_grade(tmp_path: Path) -> None:
    images(tmp_path / "r", "--method", "best-of-n")
    (tmp_path / "q.json").write_text(json.dumps([{"name": "hue", "question": "Which?", "answers": ["warm", "cold"]}]))
    sees_nothing = Faulty(lacks=("logprobs", "response_format"))
    with (
        serving(sees_nothing) as server,
        pytest.raises(RuntimeError, match=r"answered nothing: .*not one of the answers"),
    ):
        grade_images.main([str(tmp_path / "r"), "--judge", f"m@{server.url}", "--ledger", str(tmp_path / "g.db"),
                           "--questions", str(tmp_path / "q.json")])  # fmt: skip
    assert not (tmp_path / "r/grade.json").exists()


@pytest.mark.slow
def test_several_qualities_one_of_which_is_optimised(tmp_path: Path) -> None:
    head = tmp_path / "beauty.safetensors"
    save_file({"weight": torch.linspace(-1, 1, 64)[None], "bias": torch.ones(1)}, head)
    shutil.copytree(CLIP, tmp_path / "picks")
    summary = images(tmp_path / "r", "--quality", str(tmp_path / "picks"), "--report", "clip", str(head))
    assert list(summary["scores"]) == [str(tmp_path / "picks"), "clip", str(head)]
    assert list(summary["first_scores"]) == list(summary["scores"])
    features = History(tmp_path / "r/history.arrows", names_of(tmp_path / "r/history.arrows")).sample("features")
    columns = names_of(tmp_path / "r/history.arrows")
    assert features.shape == (N, 64 + 11 + 64)
    assert columns[-1] == "picks:63"
    np.testing.assert_allclose(features[:, :64], features[:, -64:], atol=1e-5)
    expected = (features[:, :64] @ np.linspace(-1, 1, 64) + 1)[summary["set_ids"]].mean()
    assert summary["scores"][str(head)] == pytest.approx(expected, rel=1e-4)
    assert (tmp_path / "r/scores.png").stat().st_size > 0
    published = images(tmp_path / "p", "--published-objective")
    assert published["set_ids"] == summary["set_ids"]  # by the same scores
    kept, _ = files.unpack((tmp_path / "p/archive.npz").read_bytes(), "")
    other, _ = files.unpack((tmp_path / "r/archive.npz").read_bytes(), "")
    scores = 100 * other["objective"] / image.ImageEmbeddings(tmp_path / "picks").logit_scale
    np.testing.assert_allclose(kept["objective"], 10 * (10 - 100 / scores), rtol=1e-4)


def test_the_table(tmp_path: Path, capsys) -> None:
    runs = []
    for method in ("qdhf-active", "best-of-n"):
        for seed in range(3):
            run = tmp_path / "runs" / method / f"seed-{seed}"
            run.mkdir(parents=True)
            better = 0.1 * (method == "qdhf-active")
            asked = int(300 * (better > 0))
            summary = {"prompt": "a thing", "method": method, "asked": asked, "judgments": asked - seed * (asked > 0),
                       "seed": seed, "set_ids": [1], "set": 50, "scores": {"clip": 48.0 + seed + better},
                       "alignment_true": 1.0,
                       "distance_mean": 0.4 + better + 0.001 * seed, "vendi": 4 + 30 * better + seed,
                       "entropy": 0.5 + better, "coverage_true": 10.0, "qd_score_true": 5.0, "unreadable": 0.1,
                       "axes": [{"colour": 0.5, "count": 0.1}, {"colour": 0.2, "count": 0.3}]}  # fmt: skip
            (run / "summary.json").write_text(json.dumps(summary))
            write_settings(run, {"method": method, "seed": [seed], "pictures": 1000, "judgments": 300})
            runs.append(run)
    images_table.main([str(tmp_path / "runs"), "--out", str(tmp_path / "table")])
    text = (tmp_path / "table/table.md").read_text()
    assert "| a thing | qdhf-active | 300 | 3 |" in text
    assert "1.002 [" in text  # of the CLIP score
    assert "+0.100 [" in text
    assert "colour 0.50, count 0.30" in text
    assert "qdhf-active" in capsys.readouterr().out
    bare = {"entropy", "alignment_true", "coverage_true", "qd_score_true", "unreadable"}  # of a real model nobody knows
    for run in runs:
        known = json.loads((run / "summary.json").read_text())
        (run / "summary.json").write_text(json.dumps({name: one for name, one in known.items() if name not in bare}))
    images_table.main([str(tmp_path / "runs"), "--out", str(tmp_path / "table")])
    assert "nan" not in (tmp_path / "table/table.md").read_text()
    for run, clip in zip(runs, "aabbbb", strict=True):
        found = json.loads((run / "summary.json").read_text())
        (run / "summary.json").write_text(json.dumps(found | {"seen_by": {"clip": clip}}))
    with pytest.raises(ValueError, match="runs with another clip cannot be compared: "):
        images_table.main([str(tmp_path / "runs"), "--out", str(tmp_path / "table")])
    for run in runs:
        found = json.loads((run / "summary.json").read_text())
        (run / "summary.json").write_text(json.dumps(found | {"seen_by": {}}))
    (runs[0] / "summary.json").write_text(
        json.dumps(known | {"method": "qdhf-active", "asked": 300, "seed": 0, "set": 40})
    )
    with pytest.raises(ValueError, match="have 40 to 50 pictures"):
        images_table.main([str(tmp_path / "runs"), "--out", str(tmp_path / "table")])
    whole = json.loads((runs[1] / "summary.json").read_text())
    (runs[0] / "summary.json").write_text(json.dumps(whole | {"seed": 0}))
    for run, changed in ((runs[-1], {"pictures": 500}), (runs[0], {"floor": 0.1}), (runs[-1], {"floor": 0.1})):
        was = read_settings(run)
        write_settings(run, was | changed)
        with pytest.raises(ValueError, match=f"differs in {next(iter(changed))}"):
            images_table.main([str(tmp_path / "runs"), "--out", str(tmp_path / "table")])
        write_settings(run, was)
    images_table.main([str(tmp_path / "runs"), "--out", str(tmp_path / "table")])


@pytest.mark.slow
def test_the_human_study_in_one_command_and_again_without_repeating_anything(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("any number of circles\n\n")
    (tmp_path / "two.txt").write_text("a red circle and a blue square\n")
    arguments = [str(tmp_path / "human"), "--singular", str(tmp_path / "one.txt"), "--compositional",
                 str(tmp_path / "two.txt"), "--methods", "aurora-pca", "best-of-n", "--search.evaluations", "48",
                 "--search.first", "40", "--search.steps", "2", "--search.cells", "9", "--search.set-size", "16",
                 "--search.workers", "1"]  # fmt: skip
    images_study.main(arguments)
    asked = {}
    for kind, questions, size in (("singular", {"prefer", "diverse"}, 16), ("compositional", {"accurate"}, 9)):
        study = read_study(tmp_path / "human" / kind)
        assert {question.name for question in study.questions} == questions
        assert study.raters_per_trial == 50
        with sqlite3.connect(tmp_path / "human" / kind / "judgments.db") as connection:
            shown = dict(connection.execute("SELECT item_id, content FROM items"))
            rows = connection.execute("SELECT anchor_id, a_id, b_id FROM trials WHERE kind = 'main'").fetchall()
        assert len(rows) == len(questions)
        for anchor, *sides in rows:
            asked[kind] = (tmp_path / "human" / kind / "shown" / shown[anchor]).read_text()
            assert [len(shown[side].split(" ")) for side in sides] == [size, size]
    assert asked == {"singular": "any number of circles", "compositional": "a red circle and a blue square"}
    (tmp_path / "human/singular/study.json").rename(tmp_path / "kept.json")
    shutil.move(tmp_path / "human/singular", tmp_path / "human/singular.part")  # killed while it was made
    images_study.main(arguments)
    assert (tmp_path / "human/singular/study.json").exists()
    before = written(tmp_path / "human")
    images_study.main(arguments)
    assert written(tmp_path / "human") == before


def written(folder: Path) -> dict[Path, int]:
    files_ = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm"))]
    return {path: path.stat().st_mtime_ns for path in files_}


def test_a_study_is_of_searches_with_the_same_settings(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("any number of circles\n")
    arguments = [str(tmp_path / "h"), "--singular", str(tmp_path / "one.txt"), "--methods", "aurora-pca", "best-of-n"]
    run = tmp_path / "h/runs/singular/best-of-n/000-any-number-of-circles"
    write_settings(run, settings_of(qdhf_images.Args(evaluations=80, method="best-of-n")))
    with pytest.raises(ValueError, match="was begun with evaluations 80: name another folder"):
        images_study.main(arguments)
    with pytest.raises(ValueError, match="must be at least 16"):
        images_study.main([str(tmp_path / "other"), *arguments[1:], "--search.set-size", "9"])
    assert not (tmp_path / "other").exists()


def test_a_method_that_asks_nobody_needs_no_server(tmp_path: Path, monkeypatch) -> None:
    nobody = ["--annotator", "judge", "--judge", "m@http://127.0.0.1:9/v1", "--writer", "m@http://127.0.0.1:9/v1"]
    assert images(tmp_path / "r", "--method", "best-of-n", *nobody)["answers"] == 0

    def refuse(*_: object) -> None:
        raise RuntimeError("cannot connect")

    monkeypatch.setattr(images_parts, "open_model", refuse)
    with pytest.raises(RuntimeError, match="cannot connect"):
        images(tmp_path / "q", *nobody)
    assert not (tmp_path / "q").exists()


def test_a_picture_with_no_finite_objective_enters_no_map(tmp_path: Path, monkeypatch) -> None:
    """As where the published objective has its pole; the published procedure adds elites by itself."""
    original = qdhf_images.published_objective

    def pole(scores):
        found = original(scores)
        return np.where(np.arange(len(found)) % 5 == 0, -np.inf, found)

    monkeypatch.setattr(qdhf_images, "published_objective", pole)
    summary = images(tmp_path / "r", "--method", "qdhf", "--published-objective")
    assert 0 < summary["elites"] < N


@pytest.mark.parametrize("method", ["qdhf", pytest.param("qdhf-active", marks=pytest.mark.slow)])
def test_what_is_too_poor_is_no_elite(method: str, tmp_path: Path) -> None:
    images(tmp_path / "r", "--method", method, "--floor", "0.75", "--evaluations", "40")  # of fewer too few remain
    history = History(tmp_path / "r/history.arrows", names_of(tmp_path / "r/history.arrows"))
    quality = seeing.open_encoders(qdhf_images.Args()).qualities["clip"]
    objective = quality.score(history.sample("features")).mean
    least = np.quantile(objective[:FIRST], 0.75, method="higher")
    assert np.load(tmp_path / "r/archive.npz")["objective"].min() >= least - 1e-3
    assert (objective[FIRST:] < least).any()


@pytest.mark.slow
def test_the_benchmark_compares_like_with_like(tmp_path: Path, capsys, monkeypatch) -> None:
    drawn: dict[bool, list[int]] = {False: [], True: []}
    searched = []
    original, take_step = benchmark_images.Bare.draw, loop.step
    monkeypatch.setattr(
        benchmark_images.Bare,
        "draw",
        lambda bare, latents: (drawn[bare.encode].append(len(latents)), original(bare, latents)),
    )
    monkeypatch.setattr(loop, "step", lambda *given, n, **more: (searched.append(n), take_step(*given, n=n, **more))[1])
    out = tmp_path / "figures.json"
    small = ["--first", "20", "--evaluations", "32", "--batch-size", "8", "--at-once", "4", "--answers", "16"]
    benchmark_images.main([*small, "--steps", "2", "--out", str(out)])
    figures = json.loads(out.read_text())
    rates = figures["pictures_per_second"]
    assert figures["search_to_bare"] == pytest.approx(rates["search"] / rates["bare"])
    assert figures["published_to_search"] == pytest.approx(rates["search"] / rates["published"])
    assert searched == [4, 4, 8, 8, 8, 8]  # a small search first
    assert drawn[False] == [8] * 4
    assert len(drawn[True]) == 4
    assert [n > 8 for n in drawn[True]] == [True, True, True, False]  # elites again; two refits of so few fall together
    assert f"a share of {figures['search_to_bare']:.3f}" in capsys.readouterr().out


@pytest.mark.slow
def test_the_architecture_of_stable_diffusion_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    benchmark_images.main(
        ["--random-weights", "--device", "cpu", "--size", "64", "--at-once", "1", "--steps", "1", "--out", str(out)]
    )
    figures = json.loads(out.read_text())
    assert figures["pictures_per_second"] > 0
    assert 0 < figures["share_in_unet"] < 2  # timed apart, on a machine that others use
