"""What a model folder says beside its weights: only where a text ends is taken from it; what cannot work is named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from qdfeedback.models.language import CUT_OFF, EMPTY, ONLY_THOUGHTS, Sampling
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.local import load_local
from qdfeedback.models.opening import Opening, open_model
from tests.models.chain import make

CHAIN = ("A:", "The", "sea", "is", "wide.", "<eos>")
COLD = Sampling(20, 0.01)
PLAIN = "{% for m in messages %}{{ m.content }} {% endfor %}"
SWITCH = PLAIN + "{% if enable_thinking is defined and not enable_thinking %}A: {% else %}B: {% endif %}"


def texts(folder: Path, sampling: Sampling = COLD, **how):
    found = load_local(folder, device="cpu", **how).complete(["A:", "A:"], np.array([1, 2]), sampling)
    assert found.texts[0] == found.texts[1]
    return found.texts[0], found.reasons[0]


@pytest.mark.parametrize(
    "given",
    [
        {"num_beams": 4}, {"return_dict_in_generate": True, "output_scores": True}, {"stop_strings": ["sea"]},
        {"suppress_tokens": [5]}, {"min_new_tokens": 9}, {"min_length": 12}, {"repetition_penalty": 3.0},
        {"no_repeat_ngram_size": 1}, {"bad_words_ids": [[5]]}, {"forced_eos_token_id": 3}, {"max_length": 3},
        {"exponential_decay_length_penalty": (1, 9.0)}, {"num_return_sequences": 2}, {"do_sample": True, "top_k": 1},
        {"begin_suppress_tokens": [4]}, {"forced_bos_token_id": 5}, {"max_time": 1e-9}, {"assistant_early_exit": 1},
    ],
    ids=lambda one: next(iter(one)),
)  # fmt: skip
def test_what_a_maker_found_fit_does_not_change_our_draws(given, tmp_path: Path) -> None:
    folder = make(tmp_path, CHAIN)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | given))  # as it lies on a hub, unchecked
    assert texts(folder) == ("The sea is wide.", None)


def test_where_a_text_ends_is_taken_from_the_maker(tmp_path: Path) -> None:
    several = make(tmp_path / "1", ("A:", "The", "sea", "<turn>", "more"), generation={"eos_token_id": [2, 6]})
    model = load_local(several, device="cpu")
    assert model.tokenizer.convert_tokens_to_ids("<turn>") == 6
    assert model.complete(["A:"], np.ones(1), COLD).texts == ("The sea",)
    beyond = make(tmp_path / "2", CHAIN, generation={"eos_token_id": [2, -1, 9999]})
    assert texts(beyond) == ("The sea is wide.", None)
    forgotten = make(tmp_path / "3", CHAIN, generation={"eos_token_id": None})
    assert texts(forgotten) == ("The sea is wide.", None)  # the tokenizer knows it


def test_a_tokenizer_without_end_or_padding_works(tmp_path: Path) -> None:
    for eos in (True, False):
        for pad in (True, False):
            folder = make(tmp_path / f"{eos}{pad}", CHAIN, eos=eos, pad=pad, words=("B:",))
            model = load_local(folder, device="cpu", batch_size=2)
            stop = Sampling(5, 0.01, stop=("wide.",))
            found = model.complete(["A:", "B: B: A:"], np.array([1, 2]), stop)
            assert found.texts == ("The sea is ",) * 2
            assert found.reasons == (None,) * 2
            whole = model.complete(["A:"], np.array([1]), Sampling(3, 0.01))
            assert (whole.texts, whole.reasons) == (("The sea is",), (CUT_OFF,))
            likely = model.choose(["A:", "B: B: A:"], [("The", "sea")] * 2).logprobs
            assert (np.exp(likely[:, 0]) > 0.9).all()


def test_a_row_that_a_stop_ended_early_is_not_filled_up(tmp_path: Path) -> None:
    """What is written after a stop, until the longest row ends, is padding: it is neither text nor counted."""
    folder = make(tmp_path, ("A:", "one", "two", "three", "four", "five", "<eos>"), eos=False, pad=False)
    found = load_local(folder, device="cpu").complete(["A:", "two"], np.ones(2), Sampling(9, 0.01, stop=("three",)))
    assert found.texts == ("one two ", "")
    assert found.usage.completion_tokens == 3 + 1


def test_pickled_weights_are_named_and_not_loaded(tmp_path: Path) -> None:
    folder = make(tmp_path, CHAIN)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    assert load_local(folder, device="cpu")  # those beside safetensors do no harm
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"pytorch_model\.bin holds pickled weights, .* as safetensors") as caught:
        load_local(folder, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config.json", b"z"), ("tokenizer_config.json", b"\xff\xff"), ("tokenizer_config.json", b"[[], 1]"),
        ("tokenizer.json", b"{}"), ("tokenizer.json", b"[" * 50_000), ("config.json", b'[{"model_type": "llama"}]'),
        ("config.json", b'{"model_type": "llama", "dtype": ["float32"]}'), ("config.json", b"[" * 50_000),
        ("config.json", b'{"model_type": "llama", "rope_parameters": 0}'),
        ("config.json", b'{"model_type": "llama", "hidden_size": -8}'),
    ],
)  # fmt: skip
def test_json_of_a_folder_that_is_damaged_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    folder = make(tmp_path / "m", CHAIN)
    (folder / name).write_bytes(content)
    with pytest.raises((ValueError, OSError), match=re.escape(str(folder))) as caught:
        load_local(folder, device="cpu")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


def test_weights_that_are_broken_or_not_all_there_are_named(tmp_path: Path) -> None:
    folder = make(tmp_path / "1", CHAIN)
    weights = load_file(folder / "model.safetensors")
    some = {name: value for name, value in weights.items() if name != "lm_head.weight"}
    save_file(some, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights of a LlamaForCausalLM, lm_head\.weight among them"):
        load_local(folder, device="cpu")
    whole = make(tmp_path / "2", CHAIN) / "model.safetensors"
    whole.write_bytes(whole.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"the weights of .* are broken"):
        load_local(whole.parent, device="cpu")


def test_a_chat_template_that_fails_is_named(tmp_path: Path) -> None:
    template = "{{ raise_exception('a system message is needed') }}"
    with pytest.raises(ValueError, match=r"has a chat template that takes no single message, .*a system message"):
        load_local(make(tmp_path, CHAIN, template=template), device="cpu")
    assert texts(tmp_path, chat=False) == ("The sea is wide.", None)


# --- thoughts


def test_what_a_template_opens_is_closed(tmp_path: Path) -> None:
    """Else answers would be read where thoughts begin."""
    folder = make(tmp_path, ("</think>", "The", "sea", "<eos>"), words=("<think>",), template=PLAIN + "<think>")
    model = load_local(folder, device="cpu")
    assert model.name.endswith("(float32, messages, thoughts closed)")
    assert model.complete(["A:"], np.ones(1), COLD).texts == ("The sea",)
    assert np.exp(model.choose(["A:"], [("The", "sea")]).logprobs[0, 0]) > 0.9


def test_a_template_with_a_switch_is_told_not_to_think(tmp_path: Path) -> None:
    folder = make(tmp_path, CHAIN, words=("B:",), template=SWITCH)
    closed, thinks = load_local(folder, device="cpu"), load_local(folder, device="cpu", thoughts=8)
    assert closed.name != thinks.name
    assert thinks.name.endswith("(float32, messages, 8 tokens to think)")
    assert closed.complete(["x"], np.ones(1), COLD).texts == ("The sea is wide.",)
    assert thinks.complete(["x"], np.ones(1), COLD).reasons == (EMPTY,)  # it goes on from B:
    plain = make(tmp_path / "plain", CHAIN, template=PLAIN)
    assert load_local(plain, device="cpu").name.endswith("(float32, messages)")


THINKS = ("A:", "<think>", "hm", "###", "well", "</think>", "The", "sea.", "<eos>")


@pytest.mark.parametrize("special", [(), ("<think>", "</think>")])
def test_thoughts_in_this_process_are_no_text(special, tmp_path: Path) -> None:
    folder = make(tmp_path, THINKS, special=special)
    assert texts(folder, Sampling(20, 0.01)) == ("The sea.", None)
    with_stop = Sampling(2, 0.01, stop=("###", "sea"))
    assert texts(folder, with_stop, thoughts=8) == ("The ", None)  # a stop in thoughts is none
    assert texts(folder, Sampling(2, 0.01)) == ("", f"{EMPTY}: thinking used up the room (thoughts: 0 tokens)")
    assert texts(folder, Sampling(1, 0.01), thoughts=3) == (
        "", f"{EMPTY}: thinking used up the room (thoughts: 3 tokens)",
    )  # fmt: skip
    assert texts(folder, Sampling(20, 0.01, stop=("###",))) == ("", ONLY_THOUGHTS)
    ledger = Ledger(tmp_path / "r.db")
    opened = open_model(str(folder), ledger, Opening("cpu", thoughts=8))
    assert opened.complete(["A:"], np.ones(1, dtype=int), with_stop).texts == ("The ",)
