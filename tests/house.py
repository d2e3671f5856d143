"""The house in figures: which module imports which, circles among them, how long the experiments are.

python -m tests.house
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("qdfeedback", "domains", "experiments")
MOST_LINES = 3500  # of all experiments
MOST_OF_A_FILE = 200  # but of benchmarks


def modules(package: str) -> dict[str, Path]:
    """Returns name → file of a package's modules."""
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path
    return found


def everything() -> dict[str, Path]:
    """Returns name → file of all modules."""
    return {name: path for package in PACKAGES for name, path in modules(package).items()}


def imports(path: Path) -> set[str]:
    """Returns what a file imports anywhere, for types alone too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def circles(of: dict[str, Path]) -> list[tuple[str, ...]]:
    """Returns chains of modules that import each other round in a circle, as far as they are found first."""
    edges = {name: {target for target in imports(path) if target in of and target != name} for name, path in of.items()}
    done: set[str] = set()
    found: list[tuple[str, ...]] = []

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            found.append((*trail[trail.index(name) :], name))
        elif name not in done:
            for target in sorted(edges[name]):
                visit(target, (*trail, name))
            done.add(name)

    for name in edges:
        visit(name, ())
    return found


def lines() -> dict[str, int]:
    """Returns the number of lines of each file of the experiments."""
    files = sorted((ROOT / "experiments").rglob("*.py"))
    return {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}


def too_long(counts: dict[str, int]) -> list[str]:
    """Returns the files above the limit, benchmarks apart."""
    return [name for name, n in counts.items() if n > MOST_OF_A_FILE and "/benchmarks/" not in name]


def main() -> None:
    """Prints them."""
    counts = lines()
    for name, n in counts.items():
        sys.stdout.write(f"{n:>5}  {name}\n")
    sys.stdout.write(f"{sum(counts.values()):>5}  lines in experiments/, at most {MOST_LINES}\n")
    sys.stdout.write(f"{len(too_long(counts)):>5}  files above {MOST_OF_A_FILE} lines, benchmarks apart\n")
    of = everything()
    found = circles(of)
    sys.stdout.write(f"{len(found):>5}  circles among {len(of)} modules, imports for types among them\n")
    sys.stdout.write("".join(f"       {' → '.join(circle)}\n" for circle in found))


if __name__ == "__main__":
    main()
