"""A run folder has one process that works on it, and no lock outlives its process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qdfeedback import claims, files

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def another_at_work(folder: Path, more: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that claims the folder and waits."""
    code = f"""
        import sys, time
        from pathlib import Path
        from qdfeedback.claims import claim
        claim(Path(sys.argv[1]))
        {more}
        print("claimed", flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        try:
            yield process
        finally:
            process.kill()


def test_another_process_is_refused_until_the_first_one_ends_however_it_ends(tmp_path: Path) -> None:
    with another_at_work(tmp_path) as other:
        assert claims.is_at_work(tmp_path)
        with pytest.raises(ValueError, match=f"process {other.pid} is at work on .*: stop it first"):
            claims.claim(tmp_path)
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert not claims.is_at_work(tmp_path)
        claims.claim(tmp_path)
    claims.release(tmp_path)


def test_a_worker_that_outlives_its_process_holds_no_folder(tmp_path: Path) -> None:
    fork = (
        "import os; child = os.fork(); (child or time.sleep(60)); open(sys.argv[1] + '/child', 'w').write(str(child))"
    )
    with another_at_work(tmp_path, fork) as other:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        child = int((tmp_path / "child").read_text())
        os.kill(child, 0)
        claims.claim(tmp_path)
        os.kill(child, signal.SIGKILL)
    claims.release(tmp_path)


def test_the_note_decides_nothing(tmp_path: Path) -> None:
    """A process id may belong to another program by now; the note may be torn."""
    notes = ["", "[]", "{}", '{"pid": "x", "host": 1}', "{", "[" * 100_000, '{"pid": 1, "host": ""}']
    for note in notes:
        (tmp_path / "process.json").write_text(note)
        assert not claims.is_at_work(tmp_path)
        claims.claim(tmp_path)
        assert files.read_json(tmp_path / "process.json") == {"pid": os.getpid(), "host": socket.gethostname()}
        claims.release(tmp_path)
    with another_at_work(tmp_path):
        for note in notes:
            (tmp_path / "process.json").write_text(note)
            with pytest.raises(ValueError, match=r"(another process|process 1 of ) ?is at work on"):
                claims.claim(tmp_path)


def test_a_process_may_claim_its_own_folder_again_also_one_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    for _ in range(2):
        folder.mkdir()
        claims.claim(folder)
        claims.claim(folder)
        assert claims.is_at_work(folder), "whoever asks"
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    claims.release(folder)
    claims.release(folder)


def test_looking_makes_no_file_and_a_finished_run_is_not_at_work(tmp_path: Path) -> None:
    assert not claims.is_at_work(tmp_path)
    assert not claims.is_at_work(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []
    claims.claim(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    assert not claims.is_at_work(tmp_path)
    claims.release(tmp_path)


def test_of_two_that_begin_together_one_enters(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from qdfeedback.claims import claim
        sys.stdin.readline()
        try:
            claim(Path(sys.argv[1]))
        except ValueError:
            print("refused", flush=True)
        else:
            print("entered", flush=True)
            sys.stdin.readline()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    several = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for one in several:
        one.stdin.write("go\n")
        one.stdin.flush()
    assert sorted(one.stdout.readline().strip() for one in several) == ["entered", *["refused"] * 3]
    for one in several:
        one.communicate("end\n")


def test_scraps_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".settings.json.4194303.part").write_text("{")
    claims.claim(tmp_path)
    assert not list(tmp_path.glob(".*.part"))
    claims.release(tmp_path)
