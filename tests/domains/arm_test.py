from __future__ import annotations

import numpy as np

from domains.arm import RANGES, Arm, ArmEncoder
from domains.arm.arm import draw
from tests.contracts import check_domain, check_encoder

SEEDS = np.zeros(5, dtype=np.uint64)


def test_contracts() -> None:
    check_domain(Arm(), ArmEncoder())
    check_domain(Arm(noise=3.0), ArmEncoder())
    artifacts, _ = Arm().render(Arm().initial(6, np.random.default_rng(0)), SEEDS)
    check_encoder(ArmEncoder(), artifacts, np.full(11, np.nan))


def test_the_hand_is_where_the_links_lead() -> None:
    straight, square = np.zeros(10), np.zeros(10)
    square[[1, 2, 3]] = np.pi / 2  # right, up, left, then down to the end
    artifacts, errors = Arm().render(np.stack([straight, square]), SEEDS[:2])
    features = ArmEncoder().encode(artifacts)
    np.testing.assert_allclose(features[0, 20:], [10, 0, 100], atol=1e-5)
    np.testing.assert_allclose(features[1, 20:22], [1 + 0 - 1 + 0, 0 + 1 + 0 - 7], atol=1e-5)
    np.testing.assert_allclose(features[1, 22], (1 - square.var()) * 100, rtol=1e-6)
    assert errors == [None, None]


def test_random_arms_are_about_as_bad_as_the_paper_says() -> None:
    artifacts, _ = Arm().render(Arm().initial(4000, np.random.default_rng(0)), np.zeros(4000))
    features = ArmEncoder().encode(artifacts)
    assert -240 < features[:, 22].mean() < -180  # PAPERS: about -229; E[var] = 0.9 pi²/3 gives -196
    assert np.abs(features[:, 20:22]).max() <= RANGES[0, 1]
    np.testing.assert_allclose(np.square(features[:, :10]) + np.square(features[:, 10:20]), 1, atol=1e-5)


def test_the_arm_draws_itself() -> None:
    image = draw(np.zeros(10), size=64)
    assert image.shape == (64, 64, 3)
    dark = image.min(axis=2) < 200
    assert dark[30:35, 34:60].any(axis=0).all(), "a straight arm to the right"
    assert not dark[:20].any()
    assert (draw(np.full(10, np.nan)) == 255).all()
