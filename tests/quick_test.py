"""What a command says at once: `--help` and a refused argument come before anything is loaded that takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = (
    "diffusers", "fastapi", "matplotlib", "numba", "openai", "pandas", "ribs", "scipy.optimize", "scipy.stats",
    "sklearn", "torch", "transformers",
)  # fmt: skip
COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "experiments").rglob("*.py")
    if 'if __name__ == "__main__"' in path.read_text() and "benchmarks" not in path.parts  # these time what is heavy
)
REFUSED = {"experiments.arm.qdhf": ["--answers", "1"], "experiments.images.qdhf": ["--answers", "3"],
           "experiments.writing.qdaif": ["--method", "asked"], "experiments.arm.table": ["--nonsense"]}  # fmt: skip
LIBRARY = ("qdfeedback.loop", "qdfeedback.learning.axes", "qdfeedback.learning.preferences", "qdfeedback.archives",
           "qdfeedback.problem")  # fmt: skip
ONE_PROCESS = """
import contextlib, importlib, io, json, sys
jobs, heavy = json.loads(sys.argv[1])
found = {}
for name, words in jobs:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        module = importlib.import_module(name)
        if words is not None:
            try:
                module.main(words)
            except (SystemExit, ValueError) as error:
                said.write(str(error))
    found[" ".join([name, *(words or [])])] = [said.getvalue(), [one for one in heavy if one in sys.modules]]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, list]:
    jobs: list[tuple[str, list[str] | None]] = [(name, None) for name in LIBRARY]
    jobs += [(name, ["--help"]) for name in COMMANDS] + list(REFUSED.items())
    jobs += [
        ("qdfeedback.cli", words) for words in (["--help"], ["study", "serve", "--help"], ["similarity", "--help"])
    ]
    done = subprocess.run(
        [sys.executable, "-c", ONE_PROCESS, json.dumps([jobs, HEAVY])], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list] = json.loads(done.stdout)
    return found


def test_nothing_heavy_is_loaded_to_speak_or_to_import_what_a_script_needs(said) -> None:
    first = next(((words, loaded) for words, (_, loaded) in said.items() if loaded), None)
    assert first is None, f"{first[0]} loads {first[1]}" if first else ""


def test_each_says_something(said) -> None:
    assert COMMANDS
    for words, (text, _) in said.items():
        assert ("usage" in text) == words.endswith("--help") or "--nonsense" in words, words
    assert "--answers must be at least" in said["experiments.arm.qdhf --answers 1"][0]
