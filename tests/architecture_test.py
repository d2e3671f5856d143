"""The imports go one way, and a light import stays light."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.house import MOST_LINES, PACKAGES, ROOT, circles, everything, imports, lines, modules, too_long

# lowest first: a module may import from its own layer's folder and from lower layers
LAYERS = [
    {
        "types",
        "failures",
        "files",
        "sqlite_files",
        "sqlite_damage",
        "text_files",
        "csv_files",
        "array_files",
        "run_settings",
        "shown",
        "claims",
        "bounds",
        "progress",
        "values",
    },
    {"models", "parallel"},
    {"feedback"},
    {"encoders", "quality", "diversity", "generators"},
    {
        "archives",
        "arguments",
        "history",
        "history_asides",
        "history_parts",
        "history_rows",
        "refits",
        "put_forward",
        "run_parts",
        "runs",
        "search",
        "seen_by",
        "stopping",
        "writing",
    },
    {"curves", "metrics", "reading", "tables", "text_map", "text_truth", "viz"},
    {"learning"},
    {"loop", "loop_state"},
    {"commands", "outcome", "similarity", "study"},
    {"cli", "__main__", "problem", "rescue"},
]
HEAVY = ("ribs", "pandas", "sklearn", "matplotlib", "torch", "transformers", "diffusers", "ray", "gymnasium")


def layer(name: str) -> int | None:
    part = name.split(".")[1] if name.count(".") else None
    return next((i for i, names in enumerate(LAYERS) if part in names), None)


@pytest.mark.parametrize("name", sorted(modules("qdfeedback")))
def test_imports_point_down(name: str) -> None:
    own = layer(name)
    for target in imports(modules("qdfeedback")[name]):
        assert not target.startswith(("domains", "experiments")), f"{name} imports {target}"
        if target.startswith("qdfeedback.") and own is not None:
            other = layer(target)
            same_folder = target.split(".")[1] == name.split(".")[1]
            assert other is not None
            assert other < own or other == own, f"{name} imports {target}, which lies above it"
            if other == own and not same_folder:
                assert own != 3, f"{name} imports {target}: stages of one layer do not know each other"


@pytest.mark.parametrize("name", sorted(modules("domains")))
def test_domains_know_no_experiment(name: str) -> None:
    assert not any(target.startswith("experiments") for target in imports(modules("domains")[name]))


def test_no_module_imports_itself_round_a_circle() -> None:
    assert circles(everything()) == []


def test_an_experiment_is_short() -> None:
    counts = lines()
    assert too_long(counts) == []
    assert sum(counts.values()) <= MOST_LINES


def test_every_module_is_in_a_layer() -> None:
    names = {name.split(".")[1] for name in modules("qdfeedback") if "." in name}
    assert names <= set().union(*LAYERS)


def test_private_state_of_pyribs_is_touched_in_one_file() -> None:
    allowed = ROOT / "qdfeedback/generators/pyribs_state.py"
    for package in PACKAGES:
        for path in modules(package).values():
            text = path.read_text()
            if path != allowed:
                assert "ribs.archives._" not in text, path
                assert "._store" not in text, path


def test_nothing_loads_pickle() -> None:
    for package in PACKAGES:
        for path in modules(package).values():
            assert not {"pickle", "joblib", "dill", "cloudpickle"} & imports(path), path
            assert "allow_pickle=True" not in path.read_text(), path
            assert "torch.load" not in path.read_text(), path


@pytest.mark.parametrize(
    "module", ["qdfeedback", "qdfeedback.cli", "qdfeedback.study.place", "qdfeedback.study.web.serve"]
)
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"
