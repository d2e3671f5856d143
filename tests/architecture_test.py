"""The imports go one way, and a light import stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
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
        "values",
    },
    {"models", "parallel"},
    {"feedback"},
    {"encoders", "quality", "diversity", "generators"},
    {"archives", "history", "history_asides", "history_parts", "history_rows", "refits", "runs", "search"},
    {"metrics", "viz", "study", "explore"},
    {"cli", "__main__", "rescue"},
]
HEAVY = ("ribs", "pandas", "sklearn", "matplotlib", "torch", "transformers", "diffusers", "ray", "gymnasium")


def modules(package: str) -> dict[str, Path]:
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path
    return found


def imports(path: Path, *, for_types: bool = True) -> set[str]:
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    if not for_types:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                skipped |= set(ast.walk(node))
    found = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


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


def test_no_cycles() -> None:
    everything = modules("qdfeedback") | modules("domains") | modules("experiments")
    edges = {
        name: {t for t in imports(path, for_types=False) if t in everything and t != name}
        for name, path in everything.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"cycle: {' → '.join((*trail, name))}"
        if name not in done:
            for target in edges[name]:
                visit(target, (*trail, name))
            done.add(name)

    for name in edges:
        visit(name, ())


def test_every_module_is_in_a_layer() -> None:
    names = {name.split(".")[1] for name in modules("qdfeedback") if "." in name}
    assert names <= set().union(*LAYERS)


def test_private_state_of_pyribs_is_touched_in_one_file() -> None:
    allowed = ROOT / "qdfeedback/generators/pyribs_state.py"
    for package in ("qdfeedback", "domains", "experiments"):
        for path in modules(package).values():
            text = path.read_text()
            if path != allowed:
                assert "ribs.archives._" not in text, path
                assert "._store" not in text, path


def test_nothing_loads_pickle() -> None:
    for package in ("qdfeedback", "domains", "experiments"):
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
