from __future__ import annotations

import numpy as np
import pytest

from qdfeedback.diversity.similarity import fit_similarity
from qdfeedback.feedback import agreement
from qdfeedback.feedback.annotators import Simulated
from qdfeedback.feedback.queries import ask, bald_triplets, choose_triplets, uniform_triplets
from qdfeedback.types import WIDTHS
from tests.contracts import check_annotator


@pytest.mark.parametrize("items", [3, 4, 50])
def test_uniform_triplets_name_three_items_all_alike_often(items: int, rng) -> None:
    triplets = uniform_triplets(items, 6000, rng)
    assert triplets.min() == 0
    assert triplets.max() == items - 1
    assert all(len(set(row)) == 3 for row in triplets.tolist())
    for column in triplets.T:
        counts = np.bincount(column, minlength=items)
        assert counts.std() < 3 * np.sqrt(6000 / items)
    with pytest.raises(ValueError, match="at least 3"):
        uniform_triplets(2, 1, rng)


def test_degenerate_ones_only_on_request(rng) -> None:
    triplets = uniform_triplets(3, 500, rng, degenerate=True)
    assert any(len(set(row)) < 3 for row in triplets.tolist())


class TwoMinds:
    """Two members that agree on all but triplets with item 0 or item 1 as anchor."""

    def member_probability(self, features, triplets):
        sure = np.full((4, len(triplets)), 0.99)
        sure[:2, triplets[:, 0] == 0] = 0.01
        sure[::2, triplets[:, 0] == 1] = 0.01
        return sure


def test_bald_asks_where_members_disagree_and_not_twice_the_same(rng) -> None:
    chosen = bald_triplets(TwoMinds(), np.zeros((10, 1)), 4, rng=rng, pool=2000)
    assert set(chosen[:2, 0]) == {0, 1}, "the second question is about what the first leaves open"


def test_some_questions_are_random_and_the_first_all_are(rng) -> None:
    features = rng.random((40, 3))
    rows, purpose = choose_triplets(None, features, 20, rng=rng)
    assert set(purpose) == {"random"}
    model = fit_similarity(features, rows, rng=rng)
    rows, purpose = choose_triplets(model, features, 20, rng=rng, random_share=0.15)
    assert (purpose == "random").sum() == 3
    assert (purpose == "bald").sum() == 17
    assert rows.shape == (20, 3)
    assert choose_triplets(model, features, 1, rng=rng)[1].tolist() == ["random"]


def test_bald_learns_faster_than_chance(rng) -> None:
    """On the same number of answers, over several worlds."""
    from qdfeedback.metrics import orders_right

    def learn(active: bool, seed: int) -> float:
        own = np.random.default_rng(seed)
        features = own.standard_normal((200, 12))
        truth = features[:, :2]

        def answer(t):
            a, b, c = (truth[t[:, i]] for i in range(3))
            near = np.square(a - b).sum(axis=1) < np.square(a - c).sum(axis=1)
            return np.where(near[:, None], t, t[:, [0, 2, 1]])

        triplets, model = np.empty((0, 3), dtype=int), None
        for _ in range(6):
            rows, _ = choose_triplets(model if active else None, features, 20, rng=own, pool=4000)
            triplets = np.concatenate([triplets, answer(rows)])
            model = fit_similarity(features, triplets, rng=own)
        test = answer(uniform_triplets(200, 3000, own))
        return float(orders_right(model, features, test).mean())

    gain = [learn(True, seed) - learn(False, seed) for seed in range(6)]
    assert np.mean(gain) > 0.01


def test_asking_again_gives_the_same_names() -> None:
    rows = np.array([[0, 1, 2], [2, 0, 1]])
    shown = np.arange(12.0).reshape(2, 3, 2)
    ids, purpose = np.array([10, 20, 30]), np.array(["random", "bald"])
    queries, again = (ask(rows, ids, purpose, batch="7", shown=shown) for _ in range(2))
    assert np.array_equal(queries.uids, again.uids)
    assert queries.uids[0].startswith("7/0-")
    other = ask(rows, ids, purpose, batch="7", shown=shown + 1)
    assert not set(queries.uids) & set(other.uids), "an answer never stands for another question"
    assert queries.items.tolist() == [[10, 20, 30], [30, 10, 20]]


PLACES = np.random.default_rng(1).standard_normal((100, 4))


def simulated(**settings) -> Simulated:
    return Simulated(truth=lambda ids: PLACES[ids, :2], **settings)


def questions(n: int, rng) -> tuple:
    rows = uniform_triplets(100, n, rng)
    return ask(rows, np.arange(100), np.full(n, "random"), batch="b", shown=PLACES[rows]), PLACES[rows]


def test_a_simulated_annotator_says_what_is_nearer(rng) -> None:
    queries, shown = questions(300, rng)
    answers = simulated().answer(queries)
    left, right = (np.square(shown[:, 0, :2] - shown[:, i, :2]).sum(axis=1) for i in (1, 2))
    assert np.array_equal(answers.choice, (left >= right).astype(int))
    assert simulated().kind == "simulation"


def test_flips_come_at_their_rate_and_the_same_each_time(rng) -> None:
    queries, _ = questions(2000, rng)
    clean = simulated().answer(queries).choice
    flipped = simulated(flip=0.2, seed=3).answer(queries).choice
    assert 0.17 < (clean != flipped).mean() < 0.23
    assert np.array_equal(flipped, simulated(flip=0.2, seed=3).answer(queries).choice)
    assert not np.array_equal(flipped, simulated(flip=0.2, seed=4).answer(queries).choice)


def test_temperature_blurs_close_calls_first(rng) -> None:
    queries, shown = questions(3000, rng)
    wrong = simulated().answer(queries).choice != simulated(temperature=2.0).answer(queries).choice
    left, right = (np.square(shown[:, 0, :2] - shown[:, i, :2]).sum(axis=1) for i in (1, 2))
    close = np.abs(left - right) < np.median(np.abs(left - right))
    assert wrong[close].mean() > 2 * wrong[~close].mean()


def of_task(task: str, n: int, rng, **settings) -> tuple:
    """Questions of pairs or ratings, what was said, and the (n, w) true values."""
    width = {"pair": 2, "rating": 1}[task]
    rows = rng.integers(100, size=(n, width))
    queries = ask(rows, np.arange(100), np.full(n, "random"), batch="b", shown=PLACES[rows], task=task)
    return queries, simulated(**settings).answer(queries), PLACES[rows, 0]


def test_a_simulated_annotator_prefers_the_higher_first_place(rng) -> None:
    queries, found, values = of_task("pair", 400, rng)
    assert np.array_equal(found.choice, (values[:, 1] >= values[:, 0]).astype(int)), "a draw goes to right"
    assert (found.value, np.isnan(found.probability).all()) == (None, True)
    flipped = simulated(flip=0.2, seed=3).answer(queries).choice
    assert 0.12 < (flipped != found.choice).mean() < 0.28
    blurred = simulated(temperature=1.0, seed=3).answer(queries).choice != found.choice
    close = np.abs(values[:, 0] - values[:, 1]) < 1
    assert blurred[close].mean() > 2 * blurred[~close].mean() > 0


def test_a_simulated_annotator_rates_by_the_first_place(rng) -> None:
    _, found, values = of_task("rating", 50, rng, flip=1.0, temperature=9.0)
    assert found.value.tolist() == values[:, 0].tolist()
    assert set(found.choice) == {0}
    assert np.isnan(found.probability).all()


@pytest.mark.parametrize("task", ["triplet", "pair", "rating"])
def test_a_simulated_annotator_keeps_the_contract(task: str, rng) -> None:
    rows = np.array([rng.permutation(100)[: WIDTHS[task]] for _ in range(6)])
    known = np.concatenate([PLACES, np.full((1, 4), np.nan)])
    queries = ask(rows, np.arange(100), np.full(6, "random"), batch="b", shown=PLACES[rows], task=task)
    annotator = Simulated(truth=lambda ids: known[ids], flip=0.3, temperature=0.5, seed=2)
    check_annotator(annotator, queries, unknown=100)
    assert annotator.can_judge(np.array([0, 100, 5])).tolist() == [True, False, True]


def test_wilson_and_bootstrap() -> None:
    share = agreement.proportion(80, 100)
    assert share.value == 0.8
    assert share.low == pytest.approx(0.7112, abs=1e-3)
    assert share.high == pytest.approx(0.8666, abs=1e-3)
    assert str(share) == "0.800 [0.711, 0.867]"
    assert np.isnan(agreement.proportion(0, 0).value)
    rng = np.random.default_rng(0)
    values = np.repeat([0.0, 1.0], 50)
    alone = agreement.bootstrap(values, rng=rng)
    grouped = agreement.bootstrap(values, groups=np.repeat(np.arange(4), 25), rng=rng)
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def test_agreement_figures() -> None:
    n = np.nan
    ratings = np.array([[1, 2, 3, 3, 2, 1, 4, 1, 2, n, n, n], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, n, 3],
                        [n, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, n], [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, n]])  # fmt: skip
    assert agreement.krippendorff_alpha(ratings) == pytest.approx(0.743, abs=1e-3)  # Krippendorff 2011
    assert agreement.krippendorff_alpha(ratings, level="interval") == pytest.approx(0.849, abs=1e-3)
    with pytest.raises(ValueError, match="two raters"):
        agreement.krippendorff_alpha(np.array([[1, n], [n, 2]]))
    with pytest.raises(ValueError, match="all one value"):
        agreement.krippendorff_alpha(np.ones((2, 3)))
    assert agreement.cohen_kappa(ratings[0], ratings[1]) == pytest.approx((8 / 9 - 23 / 81) / (1 - 23 / 81))
    with pytest.raises(ValueError, match="no item in common"):
        agreement.cohen_kappa(np.array([1, n]), np.array([n, 1]))
    assert agreement.raw_agreement(np.array([[1, 1], [1, 2]])) == 0.5
    assert agreement.raw_agreement(ratings) == pytest.approx(86 / 110)
    assert np.isnan(agreement.raw_agreement(np.array([[1.0, n]])))
