"""Any saved diversity model, given back by what its file says it is."""

from __future__ import annotations

from pathlib import Path

from qdfeedback import files
from qdfeedback.diversity.linear import Linear
from qdfeedback.diversity.linear import load as load_linear
from qdfeedback.diversity.similarity import Similarity
from qdfeedback.diversity.similarity import load as load_similarity
from qdfeedback.diversity.unsupervised import Autoencoder, load_autoencoder
from qdfeedback.text_files import beginning

Model = Linear | Similarity | Autoencoder


def load(path: Path) -> Model:
    """Returns the model in a file that a model's `save` wrote.

    Raises:
        ValueError: The file is damaged or holds no diversity model.
    """
    kind = files.read_packed(path, lambda _, meta: meta.get("model"))
    if kind == "linear":
        return load_linear(path)
    if kind == "similarity":
        return load_similarity(path)
    if kind == "autoencoder":
        return load_autoencoder(path)
    raise ValueError(f"{path} holds a {beginning(str(kind), 40)} model, which is no diversity model")


def columns_of(model: Model) -> int:
    """Returns how many columns a model reads."""
    return len(model.weights[0]) if isinstance(model, Autoencoder) else len(model.offset)
