"""Numbers that cannot be are refused by every command before it does anything, with the flag and its bounds."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest

from qdfeedback import archives, cli
from qdfeedback.bounds import Amount, Bounds, Count, Seed, Share, check, check_number, numbers, read_arguments
from qdfeedback.diversity.fitting import Fit
from qdfeedback.diversity.published import fit_published
from qdfeedback.diversity.similarity import fit_similarity
from qdfeedback.diversity.unsupervised import fit_autoencoder, fit_pca
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.feedback.queries import choose_triplets, uniform_triplets
from qdfeedback.generators.gaussian import Gaussian
from qdfeedback.generators.pools import Best, Novel, Unlike
from qdfeedback.metrics import attribute_entropy
from qdfeedback.models.language import Sampling
from qdfeedback.models.opening import Opening
from qdfeedback.models.recorded import Patience
from qdfeedback.models.served import Served
from qdfeedback.parallel import compute_on, run_all

NAN, INF = float("nan"), float("inf")
RNG = np.random.default_rng(0)
TRIPLETS = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0]])
ROOT = Path(__file__).resolve().parents[1]
COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("experiments", "domains", "qdfeedback")
    for path in (ROOT / folder).rglob("*.py")
    if ("\nclass Args" in (text := path.read_text()) and "\ndef main(argv" in text) or "commands.search(" in text
)
SUBCOMMANDS = (cli.Serve, cli.New, cli.Export, cli.Import, cli.Report, cli.DeleteRater)


@dataclass(frozen=True)
class Inner:
    share: Share = 0.5


@dataclass(frozen=True)
class Args:
    batch_size: Count = 1
    seed: tuple[Seed, ...] = (0,)
    cap: Amount | None = None
    floor: Annotated[float, Bounds(0, below=1)] = 0.5
    rate: Annotated[float, Bounds(above=0, most=2)] = 1
    free: float = 0.0
    sizes: tuple[Count, Share] = (1, 0.5)
    name: str = ""
    flag: bool = False
    path: Path | None = None
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--batch-size 0", r"--batch-size must be at least 1, got 0$"),
        ("--seed 3 -1", r"--seed must be between 0 and 4294967295, got -1$"),
        ("--seed 4294967296", r"--seed must be between 0 and 4294967295, got 4294967296"),
        ("--seed", r"--seed must be a whole number, got \(\)"),
        ("--cap -1", r"--cap must be at least 0, got -1.0"),
        ("--cap nan", r"--cap must be finite and at least 0, got nan"),
        ("--cap inf", r"--cap must be finite and at least 0, got inf"),
        ("--floor 1", r"--floor must be at least 0 and below 1, got 1.0"),
        ("--floor -0.1", r"--floor must be at least 0 and below 1, got -0.1"),
        ("--rate 0", r"--rate must be above 0 and at most 2, got 0.0"),
        ("--rate 2.1", r"--rate must be above 0 and at most 2, got 2.1"),
        ("--free=-inf", r"--free must be finite, got -inf"),
        ("--sizes 1 1.5", r"--sizes must be between 0 and 1, got 1.5"),
        ("--sizes 0 0.5", r"--sizes must be at least 1, got 0"),
        ("--inner.share 2", r"--inner.share must be between 0 and 1, got 2.0"),
    ],
)
def test_numbers_out_of_their_bounds_are_named_by_their_flag(words: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_arguments(Args, words.split())


def test_numbers_within_their_bounds_are_taken() -> None:
    words = "--batch-size 1 --seed 0 4294967295 --cap 0 --floor 0 --rate 2 --free -1e30 --sizes 1 1 --inner.share 1"
    found = read_arguments(Args, words.split())
    assert found == Args(1, (0, 2**32 - 1), 0, 0, 2, -1e30, (1, 1), inner=Inner(1))
    assert read_arguments(Args, []) == Args()


def test_numbers_from_a_file_must_be_numbers() -> None:
    for value, said in (
        (True, "a whole number, got True"),
        ("5", "a whole number, got '5'"),
        (1.0, "a whole number, got 1.0"),
    ):
        with pytest.raises(ValueError, match=f"--batch-size must be {said}"):
            check(Args(batch_size=value))
    with pytest.raises(ValueError, match=r"^batch_size must be at least 1, got 0"):
        check(Args(batch_size=0), "")
    check_number(np.int64(3), "n", Bounds(3, 3), kind=int)
    check_number(np.float32(0.5), "x", Bounds(0, 1))
    check_number(10**400, "x", Bounds(0))
    with pytest.raises(ValueError, match="x must be finite and at least 0, got nan"):
        check_number(np.float32("nan"), "x", Bounds(0))


def classes() -> Iterator[tuple[str, Any]]:
    for name in COMMANDS:
        yield name, importlib.import_module(name).Args
    for one in SUBCOMMANDS:
        yield f"cli.{one.__name__}", one


def test_every_number_of_every_command_has_bounds() -> None:
    assert len(COMMANDS) >= 19
    assert set(SUBCOMMANDS) == {one for one in vars(cli).values() if is_dataclass(one) and hasattr(one, "run")}
    found = [(command, *of) for command, cls in classes() for of in numbers(cls)]
    assert len(found) >= 100
    assert [f"{command} {flag}" for command, flag, _, bounds, _ in found if bounds is None] == []


def test_every_command_reads_its_arguments_by_the_function_that_checks_them() -> None:
    for name in COMMANDS:
        text = (ROOT / (name.replace(".", "/") + ".py")).read_text()
        assert "tyro.cli(" not in text, name
        assert "read_arguments(Args, argv" in text or re.search(r"commands\.search\(\s*Args, argv", text), name


NEEDED = {
    "experiments.writing.calibrate": ["--run", "r", "--axis", "a"],
    "experiments.images.grade": ["r", "--judge", "m"],
    "experiments.images.study": ["r"],
    "experiments.images.table": ["r"],
    "qdfeedback.similarity": ["--features", "f.npy", "--triplets", "t.csv"],
}
RUN_BY = {"qdfeedback.problem": "experiments.curves"}
"""What is a command of everybody's problem → one of them."""


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_refuses_a_number_before_it_runs(command: str, tmp_path: Path, monkeypatch) -> None:
    module = importlib.import_module(command)
    flag, kind = next(((flag, kind) for flag, kind, *_ in numbers(module.Args)), (None, None))
    if flag is None:
        pytest.skip("takes no numbers")
    monkeypatch.chdir(tmp_path)
    values = ["-1" if kind is int else "nan"] * (3 if command == "domains.images.train" else 1)
    run = importlib.import_module(RUN_BY.get(command, command)).main
    with pytest.raises((ValueError, SystemExit), match=rf"^(error: )?{flag} must be "):
        run([*NEEDED.get(command, []), flag, *values])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("serve s --port 70000", "--port must be between 0 and 65535, got 70000"),
        ("serve s --port -1", "--port must be between"),
        ("new s r --pairs -1", "--pairs must be at least 0, got -1"),
        ("new s r --grid 0", "--grid must be at least 1, got 0"),
        ("new s r --pairs 1 --raters-per-trial 0", "--raters-per-trial must be at least 1, got 0"),
        ("new s r --pairs 1 --max-raters 0", "--max-raters must be at least 1, got 0"),
        ("new s r --pairs 1 --seed -1", "--seed must be between 0 and"),
        ("new s r --labels 1 --label-axis -1", "--label-axis must be at least 0, got -1"),
    ],
)
def test_subcommands_refuse_them_in_one_line(words: str, said: str, capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["study", *words.split()])
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith(f"error: {said}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Sampling(max_tokens=0), "max_tokens must be at least 1, got 0"),
        (lambda: Sampling(temperature=-1), "temperature must be at least 0, got -1"),
        (lambda: Sampling(temperature=NAN), "temperature must be finite and at least 0, got nan"),
        (lambda: Sampling(top_p=0), "top_p must be above 0 and at most 1, got 0"),
        (lambda: Sampling(top_p=1.1), "top_p must be above 0 and at most 1, got 1.1"),
        (lambda: Sampling(stop="\n"), r"stop must be a list of strings, got the string '.n'$"),
        (lambda: Sampling(stop=("a", "")), "stop must hold no empty string"),
        (lambda: Opening(batch_size=0), "batch_size must be at least 1"),
        (lambda: Opening(timeout=0), "timeout must be above 0"),
        (lambda: Opening(samples=0), "samples must be at least 1"),
        (lambda: Opening(thoughts=-1), "thoughts must be at least 0"),
        (lambda: Patience(concurrency=0), "concurrency must be at least 1"),
        (lambda: Patience(attempts=0), "attempts must be at least 1"),
        (lambda: Patience(first_wait=-1), "first_wait must be at least 0"),
        (lambda: Patience(longest_wait=INF), "longest_wait must be finite and at least 0"),
        (lambda: Served("http://x/v1", "m", timeout=-1), "timeout must be above 0"),
        (lambda: Served("http://x/v1", "m", thoughts=-1), "thoughts must be at least 0"),
        (lambda: Simulated(truth=abs, flip=1.5), "flip must be between 0 and 1, got 1.5"),
        (lambda: Simulated(truth=abs, temperature=-1), "temperature must be at least 0"),
        (lambda: Gaussian(-0.1, np.zeros), "sigma must be at least 0, got -0.1"),
        (lambda: Gaussian(NAN, np.zeros), "sigma must be finite and at least 0"),
        (lambda: Best(0), "most must be at least 1"),
        (lambda: Unlike(most=0), "most must be at least 1"),
        (lambda: Unlike(threshold=-1), "threshold must be at least 0"),
        (lambda: Novel(nearest=0), "nearest must be at least 1"),
        (lambda: Novel(least_quality=NAN), "least_quality must be finite, got nan"),
        (lambda: archives.grid((), (0, 5)), "dims must be at least 1, got 0"),
        (lambda: archives.grid((), (2.5, 5)), "dims must be a whole number, got 2.5"),
        (lambda: archives.cvt((), 0, 5), "dim must be at least 1"),
        (lambda: archives.cvt((), 2, 0), "cells must be at least 1"),
        (lambda: archives.ranges(np.eye(2), quantile=0.5), "quantile must be at least 0 and below 0.5"),
        (lambda: archives.ranges(np.eye(2), margin=-0.1), "margin must be at least 0, got -0.1"),
        (lambda: list(run_all(abs, [1, 2], workers=-1)), "workers must be at least 1, got -1"),
        (lambda: list(run_all(abs, [1, 2], workers=0)), "workers must be at least 1, got 0"),
        (lambda: compute_on(0), "count must be at least 1"),
        (lambda: uniform_triplets(5, -1, RNG), "n must be at least 0, got -1"),
        (
            lambda: choose_triplets(None, np.eye(5), 3, rng=RNG, random_share=1.5),
            "random_share must be between 0 and 1",
        ),
        (lambda: attribute_entropy(np.zeros(3), 1), "n_values must be at least 2, got 1"),
        (lambda: Fit(ridge=-3), "ridge must be"),
        (lambda: fit_pca(np.eye(5), dim=0), "dim must be at least 1, got 0"),
        (lambda: fit_autoencoder(np.eye(9), dim=0, rng=RNG), "dim must be at least 1, got 0"),
        (lambda: fit_similarity(np.eye(5), TRIPLETS, dim=0, how=Fit(), rng=RNG), "dim must be at least 1, got 0"),
        (lambda: fit_published(np.eye(5), TRIPLETS, dim=0, rng=RNG), "dim must be at least 1, got 0"),
    ],
)
def test_functions_that_are_called_directly_refuse_them_too(call, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        call()
