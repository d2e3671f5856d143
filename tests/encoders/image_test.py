from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipModel,
    SiglipTextConfig,
    SiglipVisionConfig,
)
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from domains.images import CLIP
from domains.images.scenes import Kind, arranged, draw
from qdfeedback.encoders.image import ImageEmbeddings
from qdfeedback.quality.alignment import alignment, published_objective
from qdfeedback.types import Scores
from tests.contracts import check_quality


def scenes() -> np.ndarray:
    kinds = [("circle", "red"), ("square", "blue"), ("triangle", "yellow"), ("cross", "green"), ("circle", "purple")]
    return np.stack([draw(arranged([Kind(*kind, "plain")], "white", 11.0, (32, 32))) for kind in kinds])


@pytest.fixture(scope="module")
def clip() -> ImageEmbeddings:
    return ImageEmbeddings(CLIP, device="cpu", batch_size=2)


def test_rows_are_unit_vectors_alone_and_together(clip: ImageEmbeddings) -> None:
    pictures = scenes()
    whole = clip.encode(pictures)
    assert whole.shape == (5, len(clip.names)) == (5, 64)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, rtol=1e-5)
    for i in range(5):
        np.testing.assert_allclose(clip.encode(pictures[i : i + 1])[0], whole[i], atol=1e-5)
    assert clip.encode(pictures[:0]).shape == (0, 64)
    mixed = clip.encode([pictures[0], None, pictures[1]])
    assert np.isnan(mixed[1]).all()
    np.testing.assert_allclose(mixed[[0, 2]], whole[:2], atol=1e-5)


def test_as_the_network_itself_embeds(clip: ImageEmbeddings) -> None:
    network = CLIPModel.from_pretrained(CLIP, dtype=torch.float32).eval()
    pixels = torch.from_numpy(scenes()).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        plain = network.get_image_features(pixel_values=pixels).pooler_output
    plain = torch.nn.functional.normalize(plain, dim=-1).numpy()
    np.testing.assert_allclose(clip.encode(scenes()), plain, atol=1e-4)


def test_the_clip_score_finds_the_caption(clip: ImageEmbeddings) -> None:
    texts = ["a red circle", "a blue square", "a yellow triangle", "a green cross", "a purple circle"]
    embedded = clip.encode(scenes())
    scores = [alignment(clip.names, clip.names, text).score(embedded).mean for text in clip.embed_texts(texts)]
    assert np.argmax(scores, axis=0).tolist() == [0, 1, 2, 3, 4]
    quality = alignment(clip.names, clip.names, clip.embed_texts(texts[:1])[0])
    check_quality(quality, embedded)
    cosine = embedded @ clip.embed_texts(texts[:1])[0]
    np.testing.assert_allclose(quality.score(embedded).mean, 100 * cosine, rtol=1e-5)


def test_the_published_objective() -> None:
    found = published_objective(Scores(np.array([30.0, 25.0]), np.zeros(2)))
    np.testing.assert_allclose(found, [66.667, 60.0], atol=1e-2)
    worst = published_objective(Scores(np.array([0.0, -5.0, np.nan, 0.1]), np.zeros(4)))
    assert worst[0] == worst[1] == -np.inf  # not above all others, where the formula has a pole
    assert np.isnan(worst[2])
    assert worst[3] == pytest.approx(-9900)


def test_a_score_of_columns_that_are_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no column 'b'"):
        alignment(["a"], ["b"], np.zeros(1))
    with pytest.raises(ValueError, match=r"text must have shape \(1,\)"):
        alignment(["a"], ["a"], np.zeros(2))


def test_dinov2_and_siglip_in_folders(tmp_path) -> None:
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
    Dinov2Model(Dinov2Config(**small, image_size=28, patch_size=14)).save_pretrained(tmp_path / "dino")
    BitImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(
        tmp_path / "dino"
    )
    dino = ImageEmbeddings(tmp_path / "dino", name="dino", device="cpu")
    assert dino.names[-1] == "dino31"
    assert np.ptp(dino.encode(scenes()), axis=0).max() > 0.01
    with pytest.raises(ValueError, match="knows pictures alone"):
        dino.embed_texts(["a"])
    config = SiglipConfig(
        text_config=SiglipTextConfig(**small, vocab_size=700, max_position_embeddings=16).to_dict(),
        vision_config=SiglipVisionConfig(**small, image_size=32, patch_size=16).to_dict(),
    )
    SiglipModel(config).save_pretrained(tmp_path / "siglip")
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "siglip")
    siglip = ImageEmbeddings(tmp_path / "siglip", device="cpu")
    assert siglip.encode(scenes()).shape == (5, 32)
    assert siglip.logit_scale > 0
