"""What a run shows of itself on the terminal."""

from __future__ import annotations

from pathlib import Path

from qdfeedback import metrics
from qdfeedback.curves import Curves
from qdfeedback.progress import Bar
from tests.loop_test import a_loop, finish


def test_a_bar_tells_how_far_it_is_what_it_does_and_the_last_figures(capfd) -> None:
    bar = Bar("toy")
    bar.say("nothing is shown before it begins")
    bar.begin(100)
    bar.at(40, "QD score 3.0")
    bar.say("axes: fitting")
    bar.at(60)
    bar.at(80)
    bar.end()
    said = capfd.readouterr().err
    assert "axes: fitting" in said
    assert "80/100" in said
    assert said.count("QD score 3.0") >= 2, "the figures stay until there are newer ones"
    assert "before it begins" not in said


def test_a_loop_shows_its_figures_and_closes_its_bar(tmp_path: Path, capfd) -> None:
    loop = finish(a_loop(tmp_path / "r", "gaussian", "learned", curves=Curves(), bar=Bar("toy")))
    said = capfd.readouterr().err
    assert f"{loop.evaluations}/{loop.evaluations}" in said
    assert "% of cells" in said
    assert "axes: asking" in said
    finish(a_loop(tmp_path / "quiet", "gaussian", "learned", bar=Bar("toy", quiet=True)))
    assert capfd.readouterr().err == ""


def test_the_history_is_scored_once_for_all_who_ask(tmp_path: Path, monkeypatch) -> None:
    scored = []
    score = metrics.score_along
    monkeypatch.setattr(metrics, "score_along", lambda *given, **more: (scored.append(1), score(*given, **more))[1])
    loop = finish(a_loop(tmp_path / "r", "gaussian", "learned", curves=Curves()))
    rows = loop.rows()
    assert rows is loop.rows()
    assert scored == [1]
    covered = [row["coverage_fixed"] for row in rows]
    assert covered == sorted(covered)
    known = finish(a_loop(tmp_path / "k", "gaussian", "known", "column", curves=Curves()))
    assert "qd_score_fixed" not in known.rows()[0], "axes that never change need no second space"
