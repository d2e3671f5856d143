from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch

from qdfeedback.models.diffusion import FLAGGED, NOT_FINITE, Diffusion, Drawing, Remembering, load_diffusion
from qdfeedback.parallel import can_compile
from tests.models.pipelines import KINDS, stable_diffusion

PROMPTS = ["a red boat", "b", "a red boat", "b", "a red boat"]
SMALL = Drawing(steps=3, height=16, width=16)


def noise(diffusion: Diffusion, n: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, *diffusion.latent_shape)).astype(np.float32)


def counting(diffusion: Diffusion, name: str) -> list[int]:
    calls: list[int] = []
    network = getattr(diffusion.pipeline, name)
    network.register_forward_pre_hook(lambda _, args, kwargs: calls.append(len(args[0])), with_kwargs=True)
    return calls


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_does_not_depend_on_those_beside_it(kind: str) -> None:
    diffusion = Diffusion(KINDS[kind](), kind, SMALL, batch_size=5)
    latents, seeds = noise(diffusion, 5), np.arange(5, dtype=np.uint64)
    together = diffusion.draw(PROMPTS, latents, seeds)
    assert together.reasons == (None,) * 5
    assert together.pixels[0].shape == (16, 16, 3)
    assert together.pixels[0].dtype == np.uint8
    again = diffusion.draw(PROMPTS, latents, seeds)
    assert all(np.array_equal(a, b) for a, b in zip(together.pixels, again.pixels, strict=True))
    diffusion.batch_size = 2
    apart = diffusion.draw(PROMPTS, latents, seeds)
    for a, b in zip(together.pixels, apart.pixels, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 2  # levels of 255: kernels add up in another order
    assert np.abs(together.pixels[0].astype(int) - together.pixels[2]).max() > 10  # other noise, another picture


def test_noise_on_the_way_comes_from_the_row_s_own_seed() -> None:
    scheduler = diffusers.EulerAncestralDiscreteScheduler(steps_offset=1)
    diffusion = Diffusion(stable_diffusion(scheduler), "sd", SMALL, batch_size=3)
    latents = np.repeat(noise(diffusion, 1), 3, axis=0)
    found = diffusion.draw(["b"] * 3, latents, np.array([7, 8, 7], dtype=np.uint64)).pixels
    assert np.abs(found[0].astype(int) - found[2]).max() <= 2
    assert not np.array_equal(found[0], found[1])
    alone = diffusion.draw(["b"], latents[:1], np.array([8], dtype=np.uint64)).pixels[0]
    assert np.abs(alone.astype(int) - found[1]).max() <= 2


def test_a_prompt_is_encoded_once() -> None:
    diffusion = Diffusion(stable_diffusion(), "sd", SMALL, batch_size=2)
    calls = counting(diffusion, "text_encoder")
    diffusion.draw(PROMPTS, noise(diffusion, 5), np.arange(5))
    assert len(calls) == 4  # two prompts, each with the empty one that it is led away from
    diffusion.draw(PROMPTS, noise(diffusion, 5), np.arange(5))
    assert len(calls) == 4


@pytest.mark.parametrize("negative", ["", "a"])
def test_as_the_pipeline_itself_draws(negative: str) -> None:
    latents = noise(Diffusion(stable_diffusion(), "sd"), 2)
    how = Drawing(steps=4, guidance=5.0, negative=negative)
    found = Diffusion(stable_diffusion(), "sd", how).draw(["a red boat", "b"], latents, np.arange(2)).pixels
    plain = stable_diffusion()(
        ["a red boat", "b"], negative_prompt=[negative] * 2, latents=torch.from_numpy(latents), num_inference_steps=4,
        guidance_scale=5.0, output_type="np",
    ).images  # fmt: skip
    assert np.abs(np.stack(found) - 255 * plain).max() < 1.5


def test_a_picture_that_is_not_finite_has_a_reason() -> None:
    diffusion = Diffusion(stable_diffusion(), "sd", SMALL, batch_size=3)
    latents = noise(diffusion, 3)
    latents[1] = np.nan
    found = diffusion.draw(["b"] * 3, latents, np.arange(3))
    assert found.reasons == (None, NOT_FINITE, None)
    assert found.pixels[1] is None


def test_a_flagged_picture_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    diffusion = Diffusion(stable_diffusion(), "sd", SMALL, batch_size=2)
    black = lambda image, device, dtype: (image * torch.tensor([1.0, 0.0])[:, None, None, None], [False, True])  # noqa: E731
    monkeypatch.setattr(diffusion.pipeline, "run_safety_checker", black)
    assert diffusion.draw(["b"] * 2, noise(diffusion, 2), np.arange(2)).reasons == (None, FLAGGED)


def test_what_is_no_text_to_image_pipeline_with_latents_is_refused() -> None:
    whole = stable_diffusion()
    parts = {name: part for name, part in whole.components.items() if name != "image_encoder"}
    with pytest.raises(ValueError, match="takes no latents"):
        Diffusion(diffusers.StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False), "x")
    with pytest.raises(ValueError, match="takes no prompt"):
        Diffusion(diffusers.DDIMPipeline(whole.unet, diffusers.DDIMScheduler()), "x")
    with pytest.raises(ValueError, match=r"need latents of shape \(2, 4, 8, 8\)"):
        Diffusion(whole, "x", SMALL).draw(["b"] * 2, np.zeros((2, 4, 4, 4)), np.arange(2))


def test_batches_are_halved_where_memory_does_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    diffusion = Diffusion(stable_diffusion(), "sd", SMALL, batch_size=5)
    original = diffusion._draw_at_once

    def small_memory(prompts, latents, seeds):
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("no room")
        return original(prompts, latents, seeds)

    monkeypatch.setattr(diffusion, "_draw_at_once", small_memory)
    with pytest.warns(UserWarning, match="memory does not suffice"):
        found = diffusion.draw(PROMPTS, noise(diffusion, 5), np.arange(5))
    assert found.reasons == (None,) * 5
    assert diffusion.batch_size == 2


def test_a_folder_is_loaded_with_another_scheduler_and_type(tmp_path) -> None:
    stable_diffusion().save_pretrained(tmp_path / "model")
    one = load_diffusion(tmp_path / "model", how=SMALL, device="cpu")
    assert one.about["scheduler"] == "DDIMScheduler"
    assert one.about["dtype"] == "float32"
    changed = {"dtype": "bfloat16", "scheduler": "DPMSolverMultistepScheduler", "sliced": True}
    other = load_diffusion(tmp_path / "model", how=SMALL, device="cpu", **changed)
    assert other.about["scheduler"] == "DPMSolverMultistepScheduler"
    assert other.about["dtype"] == "bfloat16"
    assert other.about["model"] == one.about["model"]
    assert other.draw(["b"], noise(other, 1), np.arange(1)).reasons == (None,)
    with pytest.raises(ValueError, match="no scheduler 'Path'"):
        load_diffusion(tmp_path / "model", scheduler="Path")
    with pytest.raises(OSError, match="model_index"):
        load_diffusion(tmp_path)


def test_nothing_is_compiled_without_a_compiler(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CXX", "there-is-no-such-compiler")
    stable_diffusion().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=r"compiling needs a C\+\+ compiler"):
        load_diffusion(tmp_path / "model", compiled=True)


@pytest.mark.slow
def test_a_compiled_denoiser_draws_the_same_pictures(tmp_path) -> None:
    if not can_compile():
        pytest.skip("there is no C++ compiler, or no headers of Python")
    stable_diffusion().save_pretrained(tmp_path / "model")
    one, other = (
        load_diffusion(tmp_path / "model", how=SMALL, device="cpu", batch_size=3, compiled=compiled)
        for compiled in (False, True)
    )
    plain, compiled = (each.draw(PROMPTS, noise(one, 5), np.arange(5)).pixels for each in (one, other))
    for a, b in zip(plain, compiled, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 2  # levels of 255


def test_prompts_whose_embeddings_are_lists_keep_a_row_each() -> None:
    """As Z-Image's: a list of embeddings, of as many tokens as each prompt has."""
    asked = []

    def encode(prompt, device=None):
        asked.append(prompt)
        return [torch.full((len(one), 2), float(len(one))) for one in prompt], None

    remembering = Remembering(encode)
    first, none = remembering(["a", "bb", "a"])
    assert none is None
    assert [one.shape[0] for one in first] == [1, 2, 1]
    assert asked == [["a"], ["bb"]]


def test_what_goes_with_no_row_must_be_the_same_for_all() -> None:
    def encode(prompt):
        return torch.zeros(len(prompt), 1), torch.full((2,), float(len(prompt[0])))

    places = Remembering(encode)(["aa", "bb"])[1]
    assert places.tolist() == [2, 2]
    calls = []

    def whole(prompt):
        calls.append(prompt)
        return encode(prompt)

    assert Remembering(whole)(["a", "bb"])[0].shape == (2, 1)
    assert calls[-1] == ["a", "bb"]  # nobody knows how to join them: the pipeline does


def test_a_pipeline_that_can_begin_with_a_picture_but_need_not_is_taken() -> None:
    class Either(diffusers.StableDiffusionPipeline):
        def __call__(  # as Flux 2's
            self, prompt=None, image=None, latents=None, num_inference_steps=4, generator=None, output_type="pil"
        ):
            assert image is None
            return super().__call__(
                prompt, latents=latents, num_inference_steps=num_inference_steps, generator=generator,
                output_type=output_type,
            )  # fmt: skip

    plain = stable_diffusion()
    either = Either(**plain.components, requires_safety_checker=False)
    drawn = Diffusion(either, "either", Drawing(steps=2)).draw(["a"], np.zeros((1, 4, 8, 8), dtype=np.float32), [1])
    assert drawn.reasons == (None,)
    with pytest.raises(ValueError, match="begins with a picture"):
        Diffusion(
            diffusers.StableDiffusionInpaintPipeline(**plain.components, requires_safety_checker=False), "inpaint"
        )
