"""What every implementation of a protocol must do; each implementation's test calls these."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest

from qdfeedback.models.language import LanguageModel, Sampling
from qdfeedback.shown import PNG
from qdfeedback.types import (
    Annotator,
    Answers,
    Diversity,
    Domain,
    Encoder,
    Floats,
    Generator,
    Outcome,
    Placement,
    Quality,
    Queries,
)


def check_domain(domain: Domain, encoder: Encoder) -> None:
    """Initial solutions are seeded; a candidate's artifact depends on its solution and its seed alone."""
    first = domain.initial(7, np.random.default_rng(1))
    again = domain.initial(7, np.random.default_rng(1))
    assert len(first) == 7
    assert np.array_equal(first, again)
    assert len(domain.initial(0, np.random.default_rng(1))) == 0
    seeds = np.arange(7, dtype=np.uint64)
    artifacts, errors = domain.render(first, seeds)
    assert len(artifacts) == len(errors) == 7
    whole = encoder.encode(artifacts)
    for i in range(7):
        alone, _ = domain.render(first[i : i + 1], seeds[i : i + 1])
        np.testing.assert_allclose(encoder.encode(alone)[0], whole[i], rtol=1e-5, atol=1e-5)
    shown = domain.present(artifacts[0])
    if isinstance(shown, bytes):
        assert shown.startswith(PNG)
        return
    assert isinstance(shown, str) or (shown.dtype == np.uint8 and shown.ndim in (3, 4) and shown.shape[-1] == 3)


def check_encoder(encoder: Encoder, artifacts: Floats, bad: Floats) -> None:
    """Shapes, empty batch, determinism, row independence, and a bad row that leaves its neighbours alone.

    Args:
        encoder: the encoder.
        artifacts: several good artifacts, as an array.
        bad: one artifact that cannot be measured.
    """
    d = len(encoder.names)
    assert len(set(encoder.names)) == d
    whole = encoder.encode(artifacts)
    assert whole.shape == (len(artifacts), d)
    assert whole.dtype == np.float32
    assert encoder.encode(artifacts[:0]).shape == (0, d)
    np.testing.assert_array_equal(encoder.encode(artifacts), whole)
    _rows_independent(encoder.encode, artifacts, whole)
    mixed = np.concatenate([artifacts[:1], bad[None], artifacts[1:]])
    with_bad = encoder.encode(mixed)
    assert np.isnan(with_bad[1]).any()
    np.testing.assert_allclose(np.delete(with_bad, 1, axis=0), whole, rtol=1e-5, atol=1e-5)


def check_quality(quality: Quality, features: Floats) -> None:
    """Shapes, empty batch, determinism, row independence, NaN in = NaN out in that row only."""
    scores = quality.score(features)
    assert scores.mean.shape == scores.std.shape == (len(features),)
    assert (scores.std >= 0).all()
    assert quality.score(features[:0]).mean.shape == (0,)
    _rows_independent(lambda rows: quality.score(rows).mean, features, scores.mean)
    _one_bad_row(lambda rows: quality.score(rows).mean, features)


def check_diversity(diversity: Diversity, features: Floats) -> None:
    """Shapes, empty batch, determinism, row independence, NaN in = NaN out in that row only."""
    measures = diversity.project(features)
    assert measures.shape == (len(features), diversity.dim)
    assert diversity.project(features[:0]).shape == (0, diversity.dim)
    np.testing.assert_array_equal(diversity.project(features), measures)
    _rows_independent(diversity.project, features, measures)
    half = len(features) // 2
    chunked = np.concatenate([diversity.project(features[:half]), diversity.project(features[half:])])
    np.testing.assert_allclose(chunked, measures, rtol=1e-5, atol=1e-5)
    _one_bad_row(diversity.project, features)


def check_generator(make: Callable[[], Generator], placement: Callable[[], Placement], n: int) -> None:
    """Proposals of the right size, the same for the same seeds; fate may hold rows that are not valid."""
    proposals = []
    for _ in range(2):
        generator, place, rng = make(), placement(), np.random.default_rng(3)
        for _ in range(3):
            proposal = generator.ask(place, n, rng)
            assert len(proposal) == len(proposal.parents) == len(proposal.origin) == n
            assert proposal.parents.ndim == 2
            text = proposal.solutions.dtype.kind == "U"
            assert text or np.isfinite(proposal.solutions).all()
            assert proposal.errors is None or len(proposal.errors) == n
            measures = rng.random((n, 2)) * place.archive.upper_bounds if text else proposal.solutions[:, :2]
            ids = np.arange(n) + (0 if text else 1000)
            solutions = ids if place.holds_ids else proposal.solutions
            added = place.archive.add(solutions, -np.square(measures).sum(axis=1), measures, id=ids)
            valid = np.ones(n, dtype=bool)
            valid[0] = False
            objective = -np.square(measures).sum(axis=1)
            generator.tell(
                proposal,
                Outcome(
                    np.where(valid, added["status"], 0),
                    np.where(valid, added["value"], np.nan),
                    np.where(valid, objective, np.nan),
                    np.where(valid[:, None], measures, np.nan),
                    valid,
                ),
            )
        proposals.append(generator.ask(place, n, rng))
    np.testing.assert_array_equal(proposals[0].solutions, proposals[1].solutions)


def _rows_independent(function: Callable[[Floats], Floats], rows: Floats, whole: Floats) -> None:
    for i in range(len(rows)):
        np.testing.assert_allclose(function(rows[i : i + 1])[0], whole[i], rtol=1e-5, atol=1e-5)


def _one_bad_row(function: Callable[[Floats], Floats], rows: Floats) -> None:
    broken = rows.copy()
    broken[0] = np.nan
    found = function(broken)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1:], function(rows)[1:], rtol=1e-5, atol=1e-5)


def check_annotator(annotator: Annotator, queries: Queries, unknown: int) -> None:
    """Shapes, empty batch, determinism; an answer depends on its query alone; what is not known has none.

    Args:
        annotator: one that answers at once.
        queries: about candidates that it knows, all of which it answers.
        unknown: a candidate of which it knows nothing.
    """
    assert annotator.kind in ("model", "simulation")
    assert annotator.name
    assert not annotator.publishes
    known = annotator.can_judge(np.unique(queries.items))
    assert (known.dtype, known.all()) == (bool, True)
    assert annotator.can_judge(np.empty(0, dtype=np.int64)).shape == (0,)
    whole = annotator.answer(queries)
    assert whole.query.tolist() == list(range(len(queries)))
    assert len(whole.choice) == len(whole.probability) == len(queries)
    assert set(whole.choice.tolist()) <= ({0} if queries.task == "rating" else {-1, 0, 1})
    assert (np.isnan(whole.probability) | (np.abs(whole.probability - 0.5) <= 0.5)).all()
    assert (whole.value is None) == (queries.task != "rating")
    assert whole.value is None or np.isfinite(whole.value).all()
    assert len(annotator.answer(queries.where(np.empty(0, dtype=np.int64)))) == 0
    _same_answers(annotator.answer(queries), whole)
    turned = annotator.answer(queries.where(np.arange(len(queries))[::-1]))
    for i in range(len(queries)):
        alone = _answer_to(whole, i)
        _same_answers(annotator.answer(queries.where(np.array([i]))), alone)
        _same_answers(_answer_to(turned, len(queries) - 1 - i), alone)
    items = queries.items.copy()
    items[1, -1] = unknown
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is not asked
        found = annotator.answer(Queries(queries.uids, items, queries.purpose, queries.task))
    assert found.query.tolist() == [i for i in range(len(queries)) if i != 1]
    _same_answers(_answer_to(found, 0), _answer_to(whole, 0))


def _answer_to(answers: Answers, row: int) -> Answers:
    value = None if answers.value is None else answers.value[[row]]
    return Answers(np.array([0]), answers.choice[[row]], answers.probability[[row]], value)


def _same_answers(found: Answers, wanted: Answers) -> None:
    np.testing.assert_array_equal(found.choice, wanted.choice)
    np.testing.assert_allclose(found.probability, wanted.probability, rtol=1e-5)
    assert (found.value is None) == (wanted.value is None)
    if found.value is not None:
        np.testing.assert_allclose(found.value, wanted.value, rtol=1e-5)


def check_language_model(model: LanguageModel, same: LanguageModel | None = None) -> None:
    """What a row gives depends on its prompt, its seed and its options alone; nothing asked, nothing said.

    Args:
        model: any.
        same: another one like it, which remembers nothing of what this one was asked.
    """
    apart = same or model
    prompts = ["one", "another, and a good deal longer", "one", "what?"]
    seeds, sampling = np.array([3, 4, 3, 5]), Sampling(max_tokens=8, stop=("\n",))
    whole = model.complete(prompts, seeds, sampling)
    assert whole.texts[0] == whole.texts[2]
    again = model.complete(prompts, seeds, sampling)
    assert (whole.texts, whole.reasons) == (again.texts, again.reasons)
    for i, prompt in enumerate(prompts):
        alone = apart.complete([prompt], seeds[i : i + 1], sampling)
        assert (alone.texts[0], alone.reasons[0]) == (whole.texts[i], whole.reasons[i])
        assert "\n" not in alone.texts[0]
    assert model.complete([], np.empty(0, dtype=np.int64)).texts == ()
    options = [("yes", "no"), ("a long answer", "short"), ("yes", "no"), ("no", "yes")]
    found = model.choose(prompts, options)
    assert found.logprobs.shape == (4, 2)
    assert (found.logprobs <= 1e-6).all()
    for i in range(4):
        alone_ = apart.choose(prompts[i : i + 1], options[i : i + 1])
        np.testing.assert_allclose(alone_.logprobs[0], found.logprobs[i], atol=1e-4)
    assert model.choose([], []).logprobs.shape[0] == 0
    for one in (whole.usage, again.usage, found.usage):
        assert one.requests + one.cached == 4
    assert whole.usage.prompt_tokens == found.usage.prompt_tokens > 0
    with pytest.raises(ValueError, match="as many answers for each"):
        model.choose(prompts[:2], [("yes", "no"), ("yes", "no", "perhaps")])
    for bad in (("yes",), ("yes", "yes"), ("yes", "")):
        with pytest.raises(ValueError, match="two or more options that differ"):
            model.choose(prompts[:1], [bad])
