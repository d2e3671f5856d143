"""Whatever others wrote is read as what it is, or refused in one short line that names it; never anything else."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from domains.training import Progress
from qdfeedback import array_files, csv_files, files, text_files
from qdfeedback.diversity import models
from qdfeedback.diversity.linear import Linear
from qdfeedback.diversity.similarity import Similarity
from qdfeedback.encoders.attributes import read_attributes
from qdfeedback.feedback.formats import read_features, read_triplets
from qdfeedback.feedback.left_out import read_left_out
from qdfeedback.feedback.study import read_study, write_study
from qdfeedback.history import DamagedHistoryError, History, Position
from qdfeedback.models import probing, thoughts, usage
from qdfeedback.models.calls import Call, Reply, UnansweredError, read_prices
from qdfeedback.models.language import Sampling, Usage
from qdfeedback.models.pictures import Pictures
from qdfeedback.models.probing import find_abilities
from qdfeedback.models.received import pairs
from qdfeedback.models.said import words_in
from qdfeedback.models.served import Abilities, RefusedError, Served
from qdfeedback.refits import read_refits
from qdfeedback.run_settings import read_settings
from qdfeedback.shown import Shown
from qdfeedback.study.exchange.import_pages import read_jspsych, read_label_studio
from qdfeedback.study.exchange.import_potato import read_potato
from qdfeedback.study.exchange.read_records import read_records
from qdfeedback.study.place import open_study
from qdfeedback.study.sources import read_sources
from qdfeedback.tables import collect
from qdfeedback.text_files import read_json_lines
from tests.batches import NAMES, batch
from tests.fuzzing import as_json, broken, changed, holds, json_files, texts
from tests.fuzzing import text_files as like_texts
from tests.study.small_study import STUDY, small_study

Case = tuple[st.SearchStrategy[Any], Callable[[Any], Any]]
QUICK, MANY, SLOW = 20, 600, ("history", "database")

# --- files that people, spreadsheets and other tools wrote: name → file, what it may look like, and its reader

TABLES = ["a,b\n1,2\n", "anchor,near,far\n0,1,2\n2,1,0\n", "sep=;\na;b\n1,5;2\n", 'a\tb\n"q\n""x",2\n']
ATTRIBUTE = {"name": "calm", "question": "Is it?", "answers": ["yes", "no"], "kind": "probability", "swap": True}
TRIAL = {
    "study_id": "s-1", "schema_version": 1, "trial_id": "p/0", "kind": "main", "choice": "left", "rater_id": "ab12",
    "left_id": "t0", "right_id": "t1", "position": 1, "rt": 812.5, "t_shown_utc": "2026-11-20T10:00:00Z",
    "t_answered_utc": "2026-11-20T10:00:01Z", "simulated": False,
}  # fmt: skip
TASK = {
    "id": 1, "data": {"study_id": "s-1", "schema_version": 1, "trial_id": "p/0", "kind": "main"},
    "annotations": [{
        "completed_by": {"id": 3}, "lead_time": 2.5, "created_at": "2026-11-20T10:00:00Z", "was_cancelled": False,
        "result": [{"from_name": "choice", "value": {"choices": ["left"]}}],
    }],
}  # fmt: skip
STATE = {
    "user_id": "me", "instance_id_to_label_to_value": {
        "main|ab|p/0": [[{"schema": "choice", "name": "selection"}, "A"]],
        "main|ba|p/1": {"choice": {"selection": "A"}},
    },
    "instance_id_to_behavioral_data": {"main|ab|p/0": {"session_end": 1_790_000_000.25, "total_time_ms": 1234}},
}  # fmt: skip


SETTINGS = {"format": 1, "settings": {"database": None, "seed": 3}}
QUESTION = {"name": "a", "task": "label", "text": "t", "options": ["x", "y"], "scale": [1, 5]}
REFITS = {"10": {"after": 0, "until": 5, "count": 5, "erased": 0, "digest": "a"}, "quality-000020": 7}
TOMLS = ['[a]\nb = 1\nc = "x"\n', f"x = {'9' * 5000}", "x = [1, {a = nan}]"]
PRICES = ["[a]\nprompt = 1\ncompletion = 2\n", '["a.b"]\nprompt = 0.5\n']
NAMES_OF_SHOWN = [f"3,{'a' * 64}.png\n", f"4,{'b' * 64}.txt\n"]


def every_row(path: Path) -> None:
    for where, cells in csv_files.read_table(path).records():
        for cell in cells.values():
            for number in (csv_files.whole_number, csv_files.number):
                with suppress(ValueError):
                    number(cell, where)


def study_again(path: Path) -> None:
    study = read_study(path.parent)
    write_study(path.parent, study)
    assert read_study(path.parent) == study


def in_words(found: Any) -> None:
    """What an import cannot take is said in short lines, and never stops the rest."""
    refused = [one.refused for one in found.answers] if hasattr(found, "answers") else found[1]
    assert all(len(one) < 500 and len(one.splitlines()) < 2 for one in refused), refused


def settings_of(path: Path) -> None:
    (path.parent / "judgments.db").touch()
    read_settings(path.parent)


READ: dict[str, tuple[str, st.SearchStrategy[bytes], Callable[[Path], Any]]] = {
    "text": ("x.txt", like_texts(TABLES), text_files.read_lines),
    "json": ("x.json", json_files([{"a": [1, 2.5, {"b": None}]}, [1, "x"]]), text_files.read_json),
    "json of ours": ("x.json", json_files([{"a": [1, 2.5, {}]}]), lambda path: files.read_json(path, dict)),
    "json lines": ("x.jsonl", like_texts(['{"a": 1}\n[2]\n', '{"a"']), lambda path: list(read_json_lines(path))),
    "toml": ("x.toml", like_texts(TOMLS), text_files.read_toml),
    "csv": ("x.csv", like_texts(TABLES), every_row),
    "triplets": ("x.csv", like_texts(TABLES), lambda path: read_triplets(path, 3)),
    "attributes": ("x.json", json_files([[ATTRIBUTE, ATTRIBUTE | {"name": "b"}]]), read_attributes),
    "prices": ("x.toml", like_texts(PRICES), read_prices),
    "study": (
        "study.json", json_files([{"schema_version": 1, "study_id": "x", "questions": [QUESTION]}]), study_again,
    ),
    "settings": ("settings.json", json_files([SETTINGS]), settings_of),
    "refits": ("refits.json", json_files([REFITS]), lambda path: read_refits(path.parent)),
    "left out": ("left_out.json", json_files([{"axes-000001": {"ab": ["too fast"]}, "2": {}}]), read_left_out),
    "jsPsych": ("x.json", json_files([[TRIAL, TRIAL]]), lambda path: in_words(read_jspsych(path, STUDY))),
    "jsPsych as CSV": (
        "x.csv", like_texts([f"{','.join(TRIAL)}\n{','.join(map(str, TRIAL.values()))}\n"]),
        lambda path: in_words(read_jspsych(path, STUDY)),
    ),
    "Label Studio": ("x.json", json_files([[TASK, TASK]]), lambda path: in_words(read_label_studio(path, STUDY))),
    "Potato": ("me/user_state.json", json_files([STATE]), lambda path: in_words(read_potato(path.parents[1], STUDY))),
    "records": (
        "r.jsonl", like_texts([json.dumps(TRIAL)]), lambda path: in_words(read_records(path, "responses", "jsonl")),
    ),
    "shown": ("index.csv", like_texts(NAMES_OF_SHOWN), lambda path: Shown(path.parent).names()),
}  # fmt: skip


def a_file(folder: Path, name: str) -> Case:
    file, contents, read = READ[name]
    (folder / file).parent.mkdir(exist_ok=True)

    def written(content: bytes) -> None:
        (folder / file).write_bytes(content)
        read(folder / file)

    return contents, written


# --- arrays


def npy(array: Any) -> bytes:
    file = BytesIO()
    np.lib.format.write_array(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


def _with_header(kind: str, shape: str, body: bytes) -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': True, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


ARRAYS = [
    np.arange(12).reshape(4, 3), np.ones((3, 2)), np.asfortranarray(np.ones((3, 2))), np.array(1.0), np.array(["a"]),
    np.array([None]), np.zeros((0, 3)), np.full((3, 2), np.nan), np.ones((3, 2), complex), np.ones(3, bool),
    np.zeros(2, [("a", int)]), np.ones((3, 2, 2)), np.array([-1, 2, 10**9]), np.zeros((2, 3), np.longdouble),
]  # fmt: skip
KINDS = ["'<f8'", "'|O'", "'|V0'", "'<U9999999'", "[('a', '|O')]", "[]", "('<f8', (2,))", "'zz'", "None", "'<f8,<i4'"]
SHAPES = [
    "(3, 2)", "(9999999999, 9999999999)", "(0, 99999999999999999999)", "(-1, 3)", "(True, 3)", "('a',)", "3", "()",
    f"({'1, ' * 70})", f"{'(' * 80}{')' * 80}", "(2.0,)",
]  # fmt: skip
headers = st.builds(_with_header, *map(st.sampled_from, (KINDS, SHAPES, [b"", bytes(24), bytes(48)])))
arrays = st.one_of(st.sampled_from(ARRAYS).map(npy), broken(st.sampled_from(ARRAYS).map(npy)), headers, broken(headers))


def an_array(folder: Path) -> Case:
    path = folder / "x.npy"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        found = None
        with suppress(ValueError):
            found = array_files.read_array(path)
            assert isinstance(found, np.ndarray)
            assert found.dtype.isnative
        with suppress(ValueError):
            assert read_features(path).dtype == np.float32
        read_triplets(path, 5)

    return arrays, read


@st.composite
def packs(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Draws archives like ours, with other arrays and other metadata."""
    parts, meta = files.unpack(draw(st.sampled_from(seeds)), "x")
    bodies = {name: npy(array) for name, array in parts.items()}
    for _ in range(draw(st.integers(0, 2))):
        bodies[draw(st.sampled_from([*bodies, "new"]))] = draw(arrays)
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, body in bodies.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), body)
        archive.writestr(zipfile.ZipInfo("meta.json"), json.dumps(draw(changed([meta]))))
    return draw(broken(st.just(file.getvalue()), draw(st.sampled_from([0, 0, 3]))))


def a_model(folder: Path) -> Case:
    path, seeds = folder / "m.npz", []
    similarity = Similarity(np.zeros(3), np.ones((3, 2)), np.ones((2, 3, 2)), 1.0, 0.1, {"a": 1.0})
    for model in (Linear(np.zeros(3), np.ones((3, 2))), similarity):
        model.save(path)
        seeds.append(path.read_bytes())

    def read(content: bytes) -> None:
        path.write_bytes(content)
        model = models.load(path)
        if isinstance(model, Linear | Similarity):
            with np.errstate(all="ignore"):
                assert model.project(np.ones((4, len(model.offset)))).shape[0] == 4

    return packs(seeds), read


def an_archive(folder: Path) -> Case:
    shown = Shown(folder / "shown")
    shown.note((i, shown.add(f"text {i}")) for i in range(3))
    elites = {"id": np.arange(3), "objective": np.ones(3), "measures": np.zeros((3, 2))}
    good = files.pack(elites | {"lower_bounds": np.zeros(2), "upper_bounds": np.ones(2)}, {"cells": 16})

    def read(content: bytes) -> None:
        (folder / "archive.npz").write_bytes(content)
        (source,) = read_sources(f"a={folder}")
        assert len(source.ids) == len(source.names) == len(source.objective) == len(source.measures)

    return packs([good]), read


def a_history(folder: Path) -> Case:
    path = folder / "history.arrows"
    history, rng = History(path, NAMES), np.random.default_rng(0)
    for i in range(3):
        history.append(batch(i * 5, rng.random((5, 3))))
        history.flush()
    rows, sums = path.read_bytes(), history.sums.read_bytes()

    def read(content: tuple[bytes, bytes | None]) -> None:
        for old in folder.glob("history.*"):
            old.unlink()
        path.write_bytes(content[0])
        if content[1] is not None:
            path.with_suffix(".sums").write_bytes(content[1])
        found = History(path, NAMES)
        with suppress(DamagedHistoryError):
            assert all(len(one["id"]) == len(one["features"]) for one in found.chunks("id", "solution", "features"))
        found.check()
        found.cut(Position(0, 0))
        beside = [one.read_bytes() for one in folder.glob("history.*-*.arrows")]
        assert not content[0] or any(one.endswith(content[0]) for one in beside), "nothing is cut without a copy"

    damaged = broken(st.just(rows))
    noted = st.one_of(st.just(sums), st.none(), broken(st.just(sums)))
    return st.tuples(st.one_of(st.just(rows), damaged, damaged), noted), read


def a_database(folder: Path) -> Case:
    small = small_study(folder)
    small.store.close()
    path = folder / "judgments.db"
    content = path.read_bytes()

    def read(damaged: bytes) -> None:
        path.write_bytes(damaged)
        with closing(open_study(folder, write=False).database) as database:
            assert database.schema >= 1

    return broken(st.just(content), 8), read


def a_drawn(folder: Path) -> Case:
    """A picture that was drawn before, and the list of what was."""
    png = BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(png, "png")
    good = f"{'0' * 64},{'a' * 64}.png\n"
    shown = Shown(folder / "shown")
    shown.folder.mkdir()

    def read(content: tuple[bytes, bytes]) -> None:
        noted, image = content
        name = hashlib.sha256(image).hexdigest() + ".png"
        (shown.folder / name).write_bytes(image)
        (shown.folder / "drawn.csv").write_bytes(noted)
        pictures = Pictures(Black(), shown)
        noise, seeds = np.zeros((1, 1, 2, 2)), np.zeros(1, np.uint64)
        with (shown.folder / "drawn.csv").open("ab") as file:
            file.write(f"\n{pictures._key('p', noise[0], 0)},{name}\n".encode())
        (found,), (reason,) = Pictures(Black(), shown).draw(["p"], noise, seeds)
        assert reason is None
        assert found.pixels.dtype == np.uint8
        assert found.pixels.ndim == 3

    texts_of = st.one_of(st.just(b""), like_texts([good, good * 2]))
    return st.tuples(texts_of, broken(st.sampled_from([png.getvalue(), *PNGS]))), read


class Black:
    """Draws black pictures."""

    batch_size, latent_shape, about = 1, (1, 2, 2), {"black": True}

    def draw(self, prompts: Any, latents: Any, seeds: Any) -> Any:
        return SimpleNamespace(pixels=[np.zeros((4, 4, 3), np.uint8)], reasons=[None])


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    said = ((len(body).to_bytes(4, "big"), kind + body, crc32(kind + body).to_bytes(4, "big")) for kind, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(b"".join, said))


def _sized(width: int, height: int, kind: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, kind, 0, 0, 0])


PNGS = [
    _png(_sized(60_000, 60_000), (b"IDAT", zlib.compress(b"\0" * 13)), (b"IEND", b"")),
    _png(_sized(4, 4), (b"IDAT", zlib.compress(b"\0" * 52)[:-6]), (b"IEND", b"")),
    _png(_sized(4, 4), (b"IDAT", b"no zlib"), (b"IEND", b"")),
    _png(_sized(4, 4), (b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 10**7)), (b"IEND", b"")),
    _png(_sized(4, 4), (b"iCCP", b"a\0\0x"), (b"acTL", b"\0" * 8), (b"IDAT", b""), (b"IEND", b"")),
    _png((b"IDAT", b"")), _png(_sized(0, 4), (b"IEND", b"")), _png(_sized(4, 4, 9), (b"IEND", b"")),
]  # fmt: skip


def a_training(folder: Path) -> Case:
    """The checkpoint of a training."""
    network = torch.nn.Linear(2, 2)
    adam = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    adam.step()
    progress = Progress(folder, {"net": network}, [adam], {"width": 2})
    progress.save(3)
    good = progress.path.read_bytes()
    header = json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])

    def with_header(value: Any) -> bytes:
        text = as_json(value).encode("utf-8", "surrogatepass")
        return len(text).to_bytes(8, "little") + text + good[8 + int.from_bytes(good[:8], "little") :]

    def told(value: Any) -> bytes:
        return with_header(header | {"__metadata__": {"training": as_json(value)}})

    def read(content: bytes) -> None:
        progress.path.write_bytes(content)
        assert progress.load() >= 0

    training = json.loads(header["__metadata__"]["training"])
    kinds = (changed([header]).map(with_header), changed([training]).map(told), broken(st.just(good)))
    return st.one_of(*kinds), read


def a_summary(folder: Path) -> Case:
    """The summary of a run, from which a table is made."""
    good = {"method": "qdhf", "seed": 3, "judgments": 250}
    (folder / "run").mkdir()
    (folder / "run" / "settings.json").write_text(json.dumps(SETTINGS))
    (folder / "run" / "judgments.db").touch()

    def read(content: bytes) -> None:
        (folder / "run" / "summary.json").write_bytes(content)
        rows = collect([folder], lambda one: (one["method"], one["judgments"]), alike=str, may_differ=())
        assert len(rows) == 1

    return json_files([good]), read


# --- what servers and models say


def an_ability(folder: Path) -> Case:
    """What is remembered of a server."""
    key = Call("what can it do? (2, None)").key(f"abilities of {Served('http://h/v1', 'm').name}")
    good = {"abilities": asdict(Abilities(logprobs=True)), "said": {"seed": "from a server: no"}}

    class Remembered:
        def known(self, keys: Any) -> Any:
            return {key: Reply(TOLD[0])} if keys == [key] else {}

        def keep(self, *_: Any) -> None:
            pass

    def read(content: bytes) -> None:
        TOLD[0] = content.decode("utf-8", "replace")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(probing._Probing, "plain", lambda *_, chat: Abilities(chat=chat))
            patch.setattr(probing._Probing, "features", lambda _, plain: plain)
            client = find_abilities("http://h/v1", "m", Remembered())
        assert all(type(getattr(client.abilities, name)) is type(value) for name, value in good["abilities"].items())
        assert all(isinstance(name, str) and isinstance(why, str) for name, why in client.said.items())
        client.abilities.draws(Sampling(temperature=0.5, top_p=0.5))

    return json_files([good]), read


CHAT = {"choices": [{"finish_reason": "stop", "message": {"content": "<think>a</think>yes", "refusal": None}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}  # fmt: skip
TOPS = [{"token": t, "logprob": -i - 0.1, "bytes": [i]} for i, t in enumerate(["yes", "no", " Yes", "x", "y", "z"])]
LOGS = CHAT | {"choices": [{"finish_reason": "stop", "message": {}, "logprobs": {"content": [{"top_logprobs": TOPS}]}}]}
ERROR = {"error": {"message": "no such model", "code": 404, "errors": [{"detail": [{"loc": ["a"], "msg": "bad"}]}]}}
CALLS = (
    Call("p", sampling=Sampling(max_tokens=20, stop=("\n",))),
    Call("p", options=("yes", "no"), how="logprobs"),
    Call("p", options=("yes", "no"), how="structured"),
)


class Saying(Served):
    """A client of a server that says what the test says."""

    def _send(self, body: Any) -> Any:
        try:
            return json.loads(TOLD[0], object_pairs_hook=pairs)
        except (ValueError, RecursionError) as error:
            raise UnansweredError(f"garbled reply: {words_in(TOLD[0])}", paid=None) from error


TOLD = [""]


def a_reply(_: Path) -> Case:
    client = Saying("http://h/v1", "m", Abilities(logprobs=True))

    def read(said: tuple[bytes, Call]) -> None:
        TOLD[0], call = said[0].decode("utf-8", "replace"), said[1]
        try:
            reply = client.ask(call)
        except (UnansweredError, RefusedError) as error:
            raise ValueError(f"from a server: {error}") from error  # said as other refusals are
        assert 0 <= reply.usage.completion_tokens <= 2 * usage.MOST
        assert all(np.isfinite(one) and one <= 0 for one in reply.logprobs)
        assert not call.options or not reply.text or reply.text in call.options

    return st.tuples(json_files([CHAT, LOGS, ERROR]), st.sampled_from(CALLS)), read


MARKS = (
    "<think>", "</think>", "[THINK]", "◁/think▷", "<|channel|>analysis<|message|>", "assistantfinal", "<",
    "<think " * 99,
)  # fmt: skip


def a_thought(_: Path) -> Case:
    def read(text: str) -> None:
        kept, open_ = thoughts.without_thoughts(text)
        assert isinstance(kept, str)
        assert isinstance(open_, bool)
        assert isinstance(thoughts.closes_thoughts(text), str | None)

    return st.lists(st.one_of(st.sampled_from(MARKS), texts), max_size=9).map("".join), read


def a_count(_: Path) -> Case:
    worst = Usage(1, 100, 50)

    def read(counted: Any) -> None:
        with suppress(ValueError):
            used = usage.used_by(counted, worst)
            assert used.prompt_tokens > 0
            assert 0 < used.completion_tokens <= 2 * usage.MOST

    return changed([CHAT["usage"], {"eval_count": 3, "prompt_eval_count": 4.0}]), read


OTHERS = (
    an_array, a_model, an_archive, a_history, a_database, a_drawn, a_training, a_summary, an_ability, a_reply,
    a_thought, a_count,
)  # fmt: skip
CASES: dict[str, Callable[[Path], Case]] = {name: lambda folder, name=name: a_file(folder, name) for name in READ}
SAID = ("reply", "thought", "count")
CASES |= {one.__name__.split("_", 1)[1]: one for one in OTHERS}


def check(name: str, folder: Path, n: int) -> None:
    contents, read = CASES[name](folder)

    @settings(
        max_examples=n, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        print_blob=False,
    )  # fmt: skip
    @given(contents)
    def test(content: Any) -> None:
        holds(read, content, "from a server" if name in SAID else str(folder))

    test()


@pytest.mark.parametrize("name", CASES)
def test_what_others_wrote_is_read_or_refused_in_a_line(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, QUICK if name not in SLOW else QUICK // 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_much_of_what_others_wrote_is_read_or_refused_in_a_line(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, MANY if name not in SLOW else MANY // 5)
