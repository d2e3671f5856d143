from __future__ import annotations

import numpy as np
import pytest

from qdfeedback import archives
from qdfeedback.diversity.columns import Columns
from qdfeedback.generators.language import (
    NEAR_DUPLICATE,
    Beginning,
    Directional,
    Guided,
    Near,
    Replace,
    Rewrite,
    Seeds,
    Written,
    ZeroShot,
    tidy,
)
from qdfeedback.generators.latent import Fresh
from qdfeedback.generators.pools import Best, Everything, FromPool, Member, Novel, Unlike
from qdfeedback.generators.similar import Words
from qdfeedback.models.language import CUT_OFF, EMPTY, Sampling
from qdfeedback.models.scripted import Scripted
from qdfeedback.quality.columns import column
from qdfeedback.types import Outcome, Placement, Proposal
from tests.contracts import check_generator

LINE = "A tale:"
TEXTS = np.array([f"tale number {i} about {'a' * i}." for i in range(64)])


def placed(ids: list[int], dims: tuple[int, int] = (8, 8)) -> Placement:
    """A placement whose elites are text i in cell i of a grid."""
    archive = archives.grid((), dims)(np.array([(0.0, float(n)) for n in dims]), 0)
    cells = np.stack(np.unravel_index(ids, dims), axis=1) + 0.5
    archive.add(np.array(ids), np.ones(len(ids)), cells, id=np.array(ids))
    return Placement(column(("quality",), "quality"), Columns((0, 1)), archive, resolve=lambda wanted: TEXTS[wanted])


def writer(write=lambda prompt, seed: f"text {seed}") -> Scripted:
    return Scripted(write, lambda _, options: [1 / len(options)] * len(options))


def told(proposal: Proposal, quality, measures) -> tuple[Proposal, Outcome]:
    quality = np.asarray(quality, dtype=float)
    valid = np.isfinite(quality)
    return proposal, Outcome(valid.astype(int), quality, quality, measures, valid)


OPERATORS = [
    ZeroShot(LINE), Seeds(LINE, ("a", "b", "c")), Near(LINE),
    Replace(LINE, lambda ids: np.full((len(ids), 3), 5), lambda placement: np.arange(4)),
    Rewrite("story"), Guided("story", (str, str)), Directional("story", (("a", "b"), ("c", "d"))),
    FromPool(LINE, ("a", "b", "c", "d"), Everything(), "random-search"),
]  # fmt: skip


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda one: one.name)
def test_every_operator_makes_a_generator(operator) -> None:
    check_generator(lambda: Written(writer(), operator), lambda: placed(list(range(20))), 6)


def test_near_takes_examples_from_around_a_cell(rng: np.random.Generator) -> None:
    placement = placed(list(range(64)))
    requests = Near(LINE)(placement, 3000, rng)
    assert all(len(set(row)) == 3 for row in requests.parents.tolist())
    assert requests.prompts[0].startswith(f"{LINE} tale number {requests.parents[0, 0]} ")
    assert requests.prompts[0].endswith(f"\n###\n{LINE}")
    cells = np.stack(np.unravel_index(requests.parents, (8, 8)), axis=2)
    apart = np.linalg.norm(cells[:, 0] - cells[:, 1], axis=1)
    uniform = np.linalg.norm(rng.integers(8, size=(3000, 2)) - rng.integers(8, size=(3000, 2)), axis=1)
    assert apart.mean() < 0.75 * uniform.mean()


def test_near_weighs_by_the_cube_of_the_distance(rng: np.random.Generator) -> None:
    placement = placed([0, 1, 2, 7], dims=(1, 8))  # d from the first: 0, 1, 2, 7
    first = Near(LINE)(placement, 20000, rng).parents[:, 0]
    d = np.abs(np.array([0, 1, 2, 7])[:, None] - [0, 1, 2, 7])
    weights = 1 / (1 + d**3)
    expected = (weights / weights.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose([(first == i).mean() for i in (0, 1, 2, 7)], expected, atol=0.015)


def test_near_works_on_voronoi_cells(rng: np.random.Generator) -> None:
    archive = archives.cvt((), 2, 50)(np.array([(0.0, 1.0), (0.0, 1.0)]), 0)
    archive.add(np.arange(40), np.ones(40), rng.random((40, 2)), id=np.arange(40))
    placement = Placement(column(("quality",), "quality"), Columns((0, 1)), archive, resolve=lambda ids: TEXTS[ids])
    assert len(Near(LINE)(placement, 5, rng).prompts) == 5


@pytest.mark.parametrize("operator", [Near(LINE), Replace(LINE, lambda ids: ids, lambda _: np.arange(3))])
def test_too_few_elites_is_a_clear_error(operator, rng: np.random.Generator) -> None:
    with pytest.raises(RuntimeError, match="holds 2 elites and 'A tale:' needs 3 examples"):
        operator(placed([0, 1]), 4, rng)


def test_replace_keeps_two_examples_of_the_parent(rng: np.random.Generator) -> None:
    known = np.array([[10, 11, 12]] * 64)
    operator = Replace(LINE, lambda ids: known[ids], lambda placement: np.array([20, 21]))
    rows = operator(placed(list(range(8))), 200, rng).parents
    assert (np.isin(rows, (20, 21)).sum(axis=1) == 1).all()
    assert {tuple(np.flatnonzero(row >= 20)) for row in rows} == {(0,), (1,), (2,)}
    seeds = np.full((64, 1), -1)  # a candidate that was made from nothing
    filled = Replace(LINE, lambda ids: seeds[ids], lambda placement: np.arange(30, 36))(placed([0, 1, 2]), 50, rng)
    assert (filled.parents >= 30).all()
    assert all(len(set(row)) == 3 for row in filled.parents.tolist())


def test_guided_names_a_cell_and_directional_an_answer(rng: np.random.Generator) -> None:
    placement = placed(list(range(10)))
    guided = Guided("story", (lambda cell: f"x{cell}", lambda cell: f"y{cell}"))(placement, 300, rng)
    wishes = {prompt.split("so that it is ")[1].split(".")[0] for prompt in guided.prompts}
    assert len(wishes) > 60
    assert wishes <= {f"x{x} and y{y}" for x in range(8) for y in range(8)}
    directed = Directional("story", (("horror", "romance"), ("happy", "sad")))(placement, 50, rng)
    ways = {prompt.split("so that it is ")[1].split(".")[0] for prompt in directed.prompts}
    assert ways == {f"more {a} and more {b}" for a in ("horror", "romance") for b in ("happy", "sad")}


def test_what_is_broken_or_said_again_is_no_candidate(rng: np.random.Generator) -> None:
    said = iter(["A tale of a spy", "", "one two three four five six", "A tale, of a spy!\n###\nmore", "Another"])
    sampling = Sampling(max_tokens=5, stop=("\n",))
    generator = Written(writer(lambda *_: next(said)), ZeroShot(LINE), sampling, seen=Words())
    found = generator.ask(placed([0]), 5, rng)
    assert found.errors == [None, EMPTY, CUT_OFF, NEAR_DUPLICATE, None]
    assert found.solutions.tolist() == [
        "A tale of a spy.", "", "one two three four five.", "A tale, of a spy!", "Another.",
    ]  # fmt: skip


def test_near_duplicates_are_found_across_generators(rng: np.random.Generator) -> None:
    seen = Words(["the spy came at night and left."])
    one = Written(writer(lambda *_: "The spy came at night, and left."), ZeroShot(LINE), seen=seen)
    assert one.ask(placed([0]), 1, rng).errors == [NEAR_DUPLICATE]
    other = Written(writer(lambda *_: "A politician was rich."), ZeroShot(LINE), seen=seen)
    assert other.ask(placed([0]), 2, rng).errors == [None, NEAR_DUPLICATE]
    assert len(seen) == 2


def test_texts_are_tidied() -> None:
    assert tidy("  a  b ") == "a b."
    assert tidy("Done!") == "Done!"
    for end in "\u3002\uff0e\uff09\u061f\u06d4\u0964\u104b\u17d4\u201c":
        assert tidy(f"x{end}") == f"x{end}"
    assert tidy("") == tidy("\n ") == ""
    assert tidy(" one \n  two\n\nthree \n") == "one\ntwo\n\nthree"


def test_a_beginning_goes_on_until_there_are_elites(rng: np.random.Generator) -> None:
    make = lambda: Beginning(Written(writer(), ZeroShot(LINE)), Written(writer(), Near(LINE)), n=4)  # noqa: E731
    generator = make()
    origins = []
    for elites in (2, 2, 2, 5):
        proposal = generator.ask(placed(list(range(elites))), 3, rng)
        origins.append(proposal.origin[0])
    assert origins == ["zero-shot", "zero-shot", "zero-shot", "lmx-near"]
    again = make()
    again.restore(placed([0]), *generator.state())
    assert again.ask(placed([0, 1, 2]), 1, rng).origin[0] == "lmx-near"


# --- words in common


def rouge_l(one: list[str], two: list[str]) -> float:
    table = np.zeros((len(one) + 1, len(two) + 1))
    for i, a in enumerate(one):
        for j, b in enumerate(two):
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
    common = table[-1, -1]
    precision, recall = common / len(two), common / len(one)
    return 2 * precision * recall / (precision + recall) if common else 0.0


def test_rouge_l_is_what_its_definition_says(rng: np.random.Generator) -> None:
    texts = [[f"w{word}" for word in rng.integers(6, size=rng.integers(1, 15))] for _ in range(30)]
    words = Words(" ".join(text) for text in texts)
    for text in texts[:10]:
        found = words.rouge_l(" ".join(text))
        np.testing.assert_allclose(found, [rouge_l(text, other) for other in texts], atol=1e-12)
    assert words.likest("nothing of this") == 0.0
    assert Words().likest("x") == 0.0
    assert Words([""]).likest("") == 1.0


def test_scripts_without_spaces_are_compared_letter_by_letter() -> None:
    """A whole sentence would be one word, and every text unlike every other."""
    night, day = "\u5bc6\u63a2\u591c\u91cc\u6765\u4e86", "\u5bc6\u63a2\u767d\u5929\u6765\u4e86"
    assert Words([night]).likest(day) == pytest.approx(4 / 6)
    assert Words([f"the spy {night}"]).likest(f"The spy, {night}!") == 1.0
    thai = "\u0e2a\u0e32\u0e22\u0e25\u0e31\u0e1a"
    assert Words([thai]).likest(thai[:-1]) > 0.9
    assert Words(["\u30ab\u30fb\u30ad"]).likest("\u30ab\u30ad") == 1.0  # a dot is no word
    assert Words(["snake_case"]).likest("snake_case") == 1.0


# --- pools


def fed(rule, members: list[Member], pool: int = 0) -> list[Member]:
    kept = [Member(-1 - i, f"seed {i}") for i in range(pool)]
    for member in members:
        rule.take(kept, member)
    return kept


def test_quality_only_keeps_the_best_and_drops_seeds_first() -> None:
    kept = fed(Best(3), [Member(i, str(i), quality) for i, quality in enumerate((0.5, 0.1, 0.9, 0.7))], pool=2)
    assert sorted(one.id for one in kept) == [0, 2, 3]


def test_a_rouge_filter_keeps_what_is_new() -> None:
    texts = ["a b c d", "a b c e", "x y z w", "x y q r", "l m n o"]
    members = [Member(i, text, 0.9 if i != 4 else 0.5) for i, text in enumerate(texts)]
    assert [one.id for one in fed(Unlike(), members)] == [0, 2, 3, 4]
    assert [one.id for one in fed(Unlike(least_quality=0.8, most=2), members)] == [2, 3]


def test_novelty_adapts_its_threshold() -> None:
    rule = Novel(threshold=0.1)
    far = [Member(i, "", 0.9, (0.3 * i,)) for i in range(4)]
    assert [one.id for one in fed(rule, far)] == [0, 1, 2, 3]
    assert rule.threshold == pytest.approx(0.1 * 1.05**2)  # after the third and the fourth in a row
    near = [Member(9, "", 0.9, (0.3,))] * 22
    rule.nearest = 1
    assert fed(rule, near) == []
    assert rule.threshold == pytest.approx(0.1 * 1.05**2 * 0.95**2)
    strict = Novel(least_quality=0.8)
    assert fed(strict, [Member(0, "", 0.5, (0.0,))]) == []
    assert strict.taken == 1  # the threshold adapts all the same
    assert strict.places == []


def test_a_pool_learns_from_what_was_judged_and_goes_on_where_it_was(rng: np.random.Generator) -> None:
    def make() -> FromPool:
        return FromPool(LINE, ("a", "b", "c"), Novel(nearest=1), "novelty")

    placement = placed([0, 1, 2])
    operator = make()
    generator = Written(writer(), operator)
    corners, middles = [[0, 0], [2, 2], [8, 0], [0, 8]], [[8, 8], [2, 2], [4, 4], [4, 0]]
    quality = np.array([0.2, np.nan, 0.9, 0.4])
    for places in (corners, middles, corners):  # what comes again is not new
        proposal = generator.ask(placement, 4, rng)
        generator.tell(*told(proposal, quality, np.array(places, dtype=float)))
    taken = operator.pool[3:]
    assert [one.id for one in taken] == [
        3,
        5,
        6,
        7,
        9,
        10,
    ]  # the second of each batch was not judged
    assert [one.quality for one in taken] == [0.2, 0.9, 0.4] * 2
    assert [one.place for one in taken] == [(0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5), (0.5, 0)]
    assert operator.next_id == 15
    again = Written(writer(), make())
    again.restore(placement, *generator.state())
    one, two = (each.ask(placement, 5, np.random.default_rng(7)) for each in (generator, again))
    assert one.solutions.tolist() == two.solutions.tolist()
    assert one.parents.tolist() == two.parents.tolist()


def test_a_beginning_keeps_the_arrays_of_its_parts(rng: np.random.Generator) -> None:
    def beginning() -> Beginning:
        return Beginning(Fresh(lambda n, rng: rng.random((n, 3)), among=4), Written(writer(), ZeroShot(LINE)), n=50)

    one, two, placement = beginning(), beginning(), placed([0, 1, 2, 3])
    one.ask(placement, 3, rng)
    two.restore(placement, *one.state())
    np.testing.assert_array_equal(two.parts[0].last, one.parts[0].last)
    assert two.asked == 3
