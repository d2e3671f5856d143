"""Real servers, with the story model: what they can do is found out, and they say what the model itself says."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from domains.images.attributes import QUESTIONS, VALUES, value
from domains.images.reader import read
from domains.images.scenes import draw, random_scene
from domains.stories import MODEL, STORIES, grammar
from qdfeedback.encoders.attributes import Attributes
from qdfeedback.feedback.judges import Judge
from qdfeedback.feedback.queries import ask
from qdfeedback.models.frames import few_shot
from qdfeedback.models.language import Sampling
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.local import load_local
from qdfeedback.models.probing import find_abilities
from qdfeedback.models.recorded import Patience, record_client
from tests.models import small_vlm
from tests.models.gguf_file import write_gguf

pytestmark = pytest.mark.slow
PATIENCE = Patience(concurrency=4, attempts=2, first_wait=0.2)
LLAMA = Path(os.environ.get("LLAMA_CPP_PYTHON", ".venv/llama/bin/python")).absolute()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[str]:
    """Starts a server, waits until it listens, and stops it by its own process id."""
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | {"HF_HUB_OFFLINE": "1"}
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"{url}/v1/models", timeout=5).read()
                break
            except urllib.error.HTTPError:
                break  # it listens
            except OSError:
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < until, log.read_text()[-2000:]
                time.sleep(0.5)
        yield f"{url}/v1"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def clear_stories(n: int) -> list[str]:
    rng = np.random.default_rng(3)
    plans = [grammar.Plan((3, 2), (3, 2)), grammar.Plan((-3, -2), (-3, -2))] * (n // 2)
    return [grammar.write(plan, grammar.cast(rng), rng) for plan in plans]


def test_transformers_serve(tmp_path: Path) -> None:
    """It offers neither log-probabilities nor structured output: answers are drawn, and parsed strictly."""
    program = Path(sys.executable).with_name("transformers")
    if not program.exists():
        pytest.skip("the transformers command is not installed")
    port = free_port()
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with running(command, port, tmp_path / "log") as url:
        ledger = Ledger(tmp_path / "replies.db")
        client = find_abilities(url, str(MODEL), ledger, patience=PATIENCE, timeout=60)
        assert (client.abilities.chat, client.how(("yes", "no"))) == (False, "plain")
        model = record_client(client, ledger, PATIENCE, samples=3)
        texts = clear_stories(4)
        said = Attributes(STORIES.axes, (model,)).encode(texts)
        np.testing.assert_array_equal(said > 0.5, STORIES.truth(texts)[:, 1:] > 0.5)
        found = model.complete([few_shot(STORIES.line, texts[:3])] * 3, np.arange(3), STORIES.sampling)
        assert np.mean([grammar.read(text).known for text in found.texts]) > 0.9
        assert found.usage.prompt_tokens > 300
        asked = ledger.totals().requests
        find_abilities(url, str(MODEL), ledger, patience=PATIENCE, timeout=60)
        assert ledger.totals().requests == asked


def test_a_vision_language_model_on_transformers_serve(tmp_path: Path) -> None:
    """It is shown pictures, says what is in them, and what it cannot answer has a reason."""
    program = Path(sys.executable).with_name("transformers")
    if not program.exists():
        pytest.skip("the transformers command is not installed")
    small_vlm.train(tmp_path / "model")
    port = free_port()
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with running(command, port, tmp_path / "log") as url:
        ledger = Ledger(tmp_path / "replies.db")
        client = find_abilities(url, str(tmp_path / "model"), ledger, patience=PATIENCE, timeout=60)
        assert (client.abilities.chat, client.how(("2", "3"))) == (True, "plain")
        model = record_client(client, ledger, PATIENCE, samples=1)
        rng = np.random.default_rng(9)
        scenes = [draw(random_scene(rng)) for _ in range(12)]
        files = [png(pixels) for pixels in scenes]
        asked = Attributes(tuple(QUESTIONS[name] for name in small_vlm.ASKED), (model,), files=lambda shown: shown)
        said = asked.encode(files)
        true = np.array([[VALUES[name].index(value(read(one), name)) for name in small_vlm.ASKED] for one in scenes])
        assert (said == true).mean() > 0.8, (said, true, asked.reasons)
        judge = Judge(model, lambda ids: {int(one): files[one] for one in ids})
        asked_of_people = ask(np.array([[0, 1, 2]]), np.arange(3), np.zeros(1), batch="0", shown=np.zeros((1, 3)))
        answers = judge.answer(asked_of_people)
        assert len(answers.query) == 0
        assert judge.counts["not one of the answers"] == 2


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_llama_cpp_python_server(tmp_path: Path) -> None:
    """It gives log-probabilities: they are those of the model in this process."""
    if not LLAMA.exists():
        pytest.skip(f"llama-cpp-python is not installed ({LLAMA}): make test-all tries to")
    pytest.importorskip("gguf")
    shutil.copytree(MODEL, tmp_path / "model")
    write_gguf(tmp_path / "model", tmp_path / "story.gguf")
    port = free_port()
    command = [
        str(LLAMA), "-m", "llama_cpp.server", "--model", str(tmp_path / "story.gguf"), "--model_alias", "story",
        "--host", "127.0.0.1", "--port", str(port), "--logits_all", "true", "--n_ctx", "1024", "--n_threads", "2",
    ]  # fmt: skip
    local = load_local(MODEL, device="cpu")
    with running(command, port, tmp_path / "log") as url:
        ledger = Ledger(tmp_path / "replies.db")
        client = find_abilities(url, "story", ledger, chat=False, patience=PATIENCE, timeout=60)
        assert (client.abilities.chat, client.how(("yes", "no"))) == (False, "logprobs")
        model = record_client(client, ledger, PATIENCE)
        texts = clear_stories(6)
        encoders = [Attributes((STORIES.quality, *STORIES.axes), (one,)).encode(texts) for one in (model, local)]
        np.testing.assert_allclose(encoders[0], encoders[1], atol=0.02)
        greedy = Sampling(max_tokens=60, temperature=0.0, stop=("\n",))
        prompts = [few_shot(STORIES.line, texts[:3])]
        one, two = (each.complete(prompts, np.zeros(1, dtype=int), greedy).texts[0] for each in (model, local))
        assert one.strip()[:80] == two.strip()[:80]
