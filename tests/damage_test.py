"""Folders that are damaged in every way and then used: one line or a warning, a copy of all that is cut, no surprise.

A damage that nobody can notice is one that changes no result: what it must not do is change the archive unseen.
"""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from experiments.arm import qdhf as qdhf_arm
from experiments.arm import report as arm_report
from experiments.writing import qdaif as qdaif_writing
from experiments.writing import report as writing_report
from qdfeedback import claims, cli
from qdfeedback.loop import Loop
from qdfeedback.models import local
from tests.study.small_study import small_study

ONE_LINE = (ValueError, RuntimeError, OSError, ImportError, sqlite3.Error)  # what a command shows as one
WAYS = ("truncated", "emptied", "deleted", "flipped", "overwritten")
ARM = ("--evaluations", "240", "--batch-size", "10", "--answers", "12", "--rounds", "3", "--checkpoint-every", "5")
TEXTS = ("--evaluations", "43", "--batch-size", "10", "--seeded", "10")


def kind_of(path: Path) -> str:
    """What a file of a folder is: all checkpoints are of one kind."""
    return path.parts[0] if len(path.parts) > 1 and path.name != "index.csv" else path.name


def damage(path: Path, way: str, rng: np.random.Generator) -> bytes:
    """Damages a file; returns what it holds then."""
    content = bytearray(path.read_bytes())
    n = len(content)
    if way == "deleted":
        path.unlink()
        return b""
    if way == "emptied":
        content = bytearray()
    elif way == "truncated":
        content = content[: int(rng.integers(n)) if n else 0]
    elif way == "flipped" and n:
        content[int(rng.integers(n))] ^= 1 << int(rng.integers(8))
    elif way == "overwritten" and n:
        at = int(rng.integers(max(n // 4096, 1))) * 4096
        content[at : at + 4096] = rng.bytes(min(4096, n - at))
    path.write_bytes(content)
    return bytes(content)


@dataclass(frozen=True)
class Kept:
    """A folder to be damaged, and what is done with it then."""

    folder: Path
    use: Callable[[Path], None]
    result: bytes  # archive.npz where nothing is damaged


def is_kept(folder: Path, name: Path, before: bytes) -> bool:
    """True where all that a damaged file held stands in it still, or in a copy beside it."""
    now = (folder / name).read_bytes() if (folder / name).exists() else b""
    if now.startswith(before):
        return True
    same = next((i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), min(len(before), len(now)))
    beside = [path for path in (folder / name).parent.iterdir() if path.name.startswith(name.name.split(".")[0])]
    return any(before[same:] and path.read_bytes().endswith(before[same:]) for path in beside if path != folder / name)


def check(kept: Kept, tmp_path: Path, seed: int, only: tuple[str, ...] = ()) -> tuple[str, str, str]:
    """Damages a copy of the folder once and uses it; returns what was damaged, how, and what came of it."""
    rng = np.random.default_rng(seed)
    folder = tmp_path / f"copy-{seed}"
    shutil.copytree(kept.folder, folder)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    kinds = sorted({kind_of(path) for path in files if not only or kind_of(path) in only})
    kind, way = kinds[seed // len(WAYS) % len(kinds)], WAYS[seed % len(WAYS)]
    of_kind = [path for path in files if kind_of(path) == kind]
    name = of_kind[int(rng.integers(len(of_kind)))]
    before = damage(folder / name, way, rng)
    said: list[str] = []
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            kept.use(folder)
        except ONE_LINE as error:
            said.append(str(error))
        except SystemExit as stop:
            said.append(str(stop.code))
        finally:
            claims.release(folder)
    told = f"{name} {way}: {said + [str(one.message) for one in heard]}"
    assert all(len(line) < 2000 for line in said), told
    made = folder / "archive.npz"
    if said:
        outcome = "refused"
    elif not kept.result or made.read_bytes() == kept.result:
        outcome = "the same, with a word" if heard else "the same"
    else:
        assert heard, f"another archive without a word: {told}"
        outcome = "another, with a word"
    old = kind == "checkpoints" and name != of_kind[-1]  # is removed once there are two newer ones
    if kind in ("history.arrows", "refits.json", "checkpoints", "models") and not old:  # databases are written in place
        assert way == "deleted" or is_kept(folder, name, before), f"cut or replaced without a copy: {told}"
    shutil.rmtree(folder)
    return kind, way, outcome


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """No pictures, and the story model is read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arm_report, "_pictures", lambda *_: None)
        patch.setattr(writing_report, "_pictures", lambda *_: None)
        load, loaded = local.load_local, {}

        def once(name, **more):
            key = (str(name), repr(sorted(more.items())))
            return loaded.setdefault(key, load(name, **more)) if key not in loaded else loaded[key]

        patch.setattr(local, "load_local", once)
        yield


def stopped(experiment, owner: type, method: str, at: int, arguments: tuple[str, ...], run: Path, then=None) -> None:
    """Leaves a run as a kill would."""
    original, calls = getattr(owner, method), itertools.count()

    def failing(self, *args, **more):
        if next(calls) == at:
            if then is not None:
                then(self)
            raise KeyboardInterrupt
        return original(self, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, failing)
        with pytest.raises(KeyboardInterrupt):
            experiment.main([*arguments, "--run", str(run)])
    claims.release(run)


def kept(folder: Path, whole: Path, use: Callable[[Path], None]) -> Kept:
    shutil.copytree(folder, whole)
    use(whole)
    claims.release(whole)
    return Kept(folder, use, (whole / "archive.npz").read_bytes())


@pytest.fixture(scope="module")
def arm(tmp_path_factory, quick) -> Kept:
    base = tmp_path_factory.mktemp("arm")
    show = lambda loop: loop.run.show(loop.search, np.arange(8))  # noqa: E731
    stopped(qdhf_arm, Loop, "_follow_ranges", 16, ARM, base / "run", show)
    return kept(base / "run", base / "whole", lambda run: qdhf_arm.main(["--run", str(run), "--resume"]))


@pytest.fixture(scope="module")
def texts(tmp_path_factory, quick) -> Kept:
    base = tmp_path_factory.mktemp("texts")
    stopped(qdaif_writing, Loop, "checkpoint", 3, TEXTS, base / "run")
    return kept(base / "run", base / "whole", lambda run: qdaif_writing.main(["--run", str(run), "--resume"]))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Kept:
    folder = tmp_path_factory.mktemp("study") / "s"
    small_study(folder).store.close()

    def use(place: Path) -> None:
        for arguments in (["report", str(place)], ["export", str(place), f"{place}-out"]):
            cli.main(arguments)

    return Kept(folder, use, b"")


PARTS = {"arm": 8, "texts": 4, "study": 4}  # of 25 damages each
COUNTS: Counter[tuple[str, ...]] = Counter()


def several(kept: Kept, tmp_path: Path, seeds: range) -> None:
    for seed in seeds:
        COUNTS[check(kept, tmp_path, seed)] += 1


def test_an_arm_folder_a_few_times(arm: Kept, tmp_path: Path, monkeypatch) -> None:
    for seed in (3, 8, 13):  # a flipped bit
        check(arm, tmp_path, seed, only=("history.arrows", "judgments.db", "checkpoints"))


def test_a_study_folder_a_few_times(study: Kept, tmp_path: Path, capsys) -> None:
    several(study, tmp_path, range(0, 40, 4))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "part"), [(name, i) for name, n in PARTS.items() for i in range(n)])
def test_a_folder_many_times(name: str, part: int, tmp_path: Path, request, capsys) -> None:
    """200 damages of a run on the arm, 100 of one on stories, 100 of a study."""
    several(request.getfixturevalue(name), tmp_path, range(25 * part, 25 * part + 25))
    with capsys.disabled():
        report()


def report() -> None:
    """Prints how many damages of each kind there were, and what came of them."""
    for (kind, way, outcome), n in sorted(COUNTS.items()):
        print(f"{kind:18} {way:12} {outcome:22} {n}")  # noqa: T201
    COUNTS.clear()
