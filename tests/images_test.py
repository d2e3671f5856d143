"""QDHF on pictures, run with tiny settings the way a user would."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import qdhf_images
from qdfeedback.history import History, names_of
from qdfeedback.shown import Shown
from tests.conftest import killed_on_its_way
from tests.models.pipelines import stable_diffusion

TINY = ["--pictures", "48", "--first", "24", "--batch-size", "8", "--judgments", "16", "--rounds", "2", "--cells", "5",
        "--steps", "4", "--set-size", "10"]  # fmt: skip
SEARCHES = ("qdhf", "qdhf-active", "aurora-pca", "aurora-ae", "prompt-evolution")


def images(run: Path, *arguments: str) -> dict:
    qdhf_images.main([*TINY, "--run", str(run), *arguments])
    return json.loads((run / "summary.json").read_text())


@pytest.mark.parametrize("method", [*SEARCHES, "best-of-n", "best-of-n-plus"])
def test_every_method(method: str, tmp_path: Path, capsys) -> None:
    summary = images(tmp_path / "r", "--method", method)
    assert summary["pictures"] == summary["drawn"] == 48
    assert summary["judgments"] == (16 if method in ("qdhf", "qdhf-active", "prompt-evolution") else 0)
    assert summary["set"] == (min(10, summary["elites"]) if method in SEARCHES else 10)
    assert 0 < summary["distance_mean"] < 2
    assert 1 <= summary["vendi"] <= summary["set"]
    assert 0 <= summary["entropy"] <= 1
    assert set(summary["entropy_of"]) == {"colour", "texture", "count", "size", "ground", "across", "down"}
    for name in ("archive.png", "collage.png", "archive.npz", "history.arrows"):
        assert (tmp_path / "r" / name).stat().st_size > 0, name
    names = Shown(tmp_path / "r/shown").names()
    assert sorted(names) == list(range(48))
    first = Image.open(tmp_path / "r/shown" / names[0])
    assert first.size == (64, 64)
    assert first.text["prompt"] == "any number of circles"
    assert json.loads(first.text["settings"])["steps"] == 4
    assert len(list((tmp_path / "r/shown").glob("*.png"))) == len(set(names.values()))
    assert "collage.png" in capsys.readouterr().out


def test_prompts_and_noise_together(tmp_path: Path) -> None:
    summary = images(tmp_path / "r", "--solutions", "both")
    history = History(tmp_path / "r/history.arrows", names_of(tmp_path / "r/history.arrows"))
    found = history.take(np.arange(48), "solution")
    origins = np.concatenate([part["origin"] for part in history.chunks("origin")])
    assert set(found["prompt"][:24]) == {"any number of circles"}
    assert len(set(found["prompt"])) > 3
    assert all("circle" in prompt for prompt in found["prompt"])
    assert found["noise"].shape == (48, 4, 16, 16)
    assert set(origins) == {"initial", "noise", "prompt and noise"}
    told = {
        Image.open(tmp_path / "r/shown" / name).text["prompt"] for name in Shown(tmp_path / "r/shown").names().values()
    }
    assert told == set(found["prompt"])
    assert summary["failed"] == 0


def test_a_killed_run_draws_no_picture_again_and_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = images(tmp_path / "whole")
    killed_on_its_way("experiments.qdhf_images", TINY, tmp_path / "killed")
    kept = len((tmp_path / "killed/shown/drawn.csv").read_text().splitlines())
    assert kept >= 24 + 2 * 8
    qdhf_images.main(["--run", str(tmp_path / "killed"), "--resume"])
    killed = json.loads((tmp_path / "killed/summary.json").read_text())
    assert killed.pop("drawn") == 48 - kept
    assert whole.pop("drawn") == 48
    assert json.dumps(killed, sort_keys=True) == json.dumps(whole, sort_keys=True)  # NaN is NaN
    pictures = {path.name for path in (tmp_path / "whole/shown").glob("*.png")}
    assert {path.name for path in (tmp_path / "killed/shown").glob("*.png")} == pictures


def test_any_pipeline_by_distances_of_an_embedding(tmp_path: Path) -> None:
    stable_diffusion().save_pretrained(tmp_path / "model")
    arguments = ["--model", str(tmp_path / "model"), "--prompt", "an astronaut"]
    with pytest.raises(ValueError, match="--truth: nobody knows"):
        images(tmp_path / "r", *arguments)
    summary = images(tmp_path / "r", *arguments, "--truth", str(qdhf_images.CLIP))
    assert "entropy" not in summary
    assert summary["judgments"] == 16


def test_a_picture_that_is_not_finite_is_counted_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    original = qdhf_images.images_setup.Noise.ask

    def spoiled(self, placement, n, rng):
        proposal = original(self, placement, n, rng)
        proposal.solutions[1] = np.nan
        return proposal

    monkeypatch.setattr(qdhf_images.images_setup.Noise, "ask", spoiled)
    summary = images(tmp_path / "r")
    assert summary["failed"] == 3
    assert len(Shown(tmp_path / "r/shown").names()) == 45


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "a cat"], "the prompt names no thing"),
        (["--judgments", "3"], "--judgments must be at least 16"),
        (["--method", "qdhf", "--annotator", "study"], "people answer one run of qdhf-active"),
        (["--method", "best-of-n", "--solutions", "both"], "best-of-n draws noise"),
        (["--first", "2"], "--first must be at least 4"),
    ],
)
def test_what_cannot_work_is_refused_at_once(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        images(tmp_path / "r", *arguments)
    assert not (tmp_path / "r").exists()
