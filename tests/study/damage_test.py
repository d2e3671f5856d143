"""Real damage to the database of a real study: every command says what is wrong in a line, or works; never a trace."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qdfeedback.cli import main
from qdfeedback.feedback.store import Store
from qdfeedback.study.secrets import VARIABLE
from tests.study.plain import plain_study
from tests.study.visitor import KEY, Visitor, site

PAGE = 4096
PERSON = "5f8e7d6c5b4a39281706f5e4"
Damage = Callable[[bytearray, np.random.Generator], object]


def flip(content: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(len(content)))
    content[at] ^= 1 << int(rng.integers(8))


def overwrite(content: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(len(content) // PAGE)) * PAGE
    content[at : at + PAGE] = rng.bytes(PAGE)


def blank(content: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(len(content) // PAGE)) * PAGE
    content[at : at + PAGE] = bytes(PAGE)


def exchange(content: bytearray, rng: np.random.Generator) -> None:
    one, other = rng.choice(len(content) // PAGE, 2, replace=False) * PAGE
    content[one : one + PAGE] = content[other : other + PAGE]


def cut(content: bytearray, rng: np.random.Generator) -> None:
    del content[int(rng.integers(len(content))) :]


DAMAGES: tuple[Damage, ...] = (flip, overwrite, blank, exchange, cut)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "s"
    plain_study(folder, 4, practice=0, repeats=0.0)
    place, app = site(folder)
    Visitor(app).join(PROLIFIC_PID=PERSON).answer_all(lambda _: "left")
    place.database.close()
    assert not (folder / "judgments.db-wal").exists()
    return folder


def commands(folder: Path) -> dict[str, Callable[[], object]]:
    """What is done with a study: by its owner, by people, by a search."""
    out = folder.with_name(f"{folder.name}-out")

    def serve() -> None:
        place, app = site(folder)
        visitor = Visitor(app)
        visitor.join(PROLIFIC_PID="new").get("/task")
        visitor.get("/done")
        assert visitor.page.status_code in (200, 303, 401, 503)
        place.database.close()

    def search() -> None:
        store = Store(folder / "judgments.db", create=False)
        store.triplets("s"), store.count("s"), store.answered("s"), store.fingerprint("s")
        store.close()

    return {
        "report": lambda: main(["study", "report", str(folder)]),
        "export": lambda: main(["study", "export", str(folder), str(out / "jsonl")]),
        "serve": serve,
        "search": search,
        "import": lambda: main(["study", "import", str(folder), str(out / "jsonl")]),
        "delete-rater": lambda: main(["study", "delete-rater", str(folder), PERSON]),
    }


def outcome(do: Callable[[], object], path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Returns what became of a command: "done", or "said" where one line names what is wrong."""
    capsys.readouterr()
    try:
        do()
    except SystemExit:
        said = capsys.readouterr().err
    except (ValueError, OSError) as error:
        said = f"{error}\n"
    else:
        return "done"
    assert said.count("\n") == 1, said
    assert len(said) < 1000, said
    assert PERSON not in said
    assert "sqlalche" not in said
    return "said"


QUICK = ("report", "export", "search", "delete-rater")
ALL = (*QUICK, "import", "serve")


def tried(
    study: Path, to: Path, damage: Damage, seed: int, names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> Counter[str]:
    """Returns how many commands were done, and how many said what is wrong, with one damage."""
    found: Counter[str] = Counter()
    content = bytearray((study / "judgments.db").read_bytes())
    damage(content, np.random.default_rng([seed, DAMAGES.index(damage)]))
    for name in names:
        folder = to / f"{damage.__name__}-{seed}-{name}"
        shutil.copytree(study, folder)
        (folder / "judgments.db").write_bytes(content)
        if name == "import":
            main(["study", "export", str(study), f"{folder}-out/jsonl"])
        found[outcome(commands(folder)[name], folder / "judgments.db", capsys)] += 1
        shutil.rmtree(folder)
    return found


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY.decode())


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_damage_ends_in_a_line(study: Path, tmp_path: Path, damage: Damage, capsys: pytest.CaptureFixture[str]) -> None:
    found = tried(study, tmp_path, damage, 0, QUICK, capsys)
    assert sum(found.values()) == len(QUICK)
    if damage is not flip:
        assert found["said"] == len(QUICK), "no page of this file is idle"


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_much_damage(study: Path, tmp_path: Path, damage: Damage, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(1, int(os.environ.get("DAMAGES", "20"))):
        tried(study, tmp_path, damage, seed, ALL, capsys)
