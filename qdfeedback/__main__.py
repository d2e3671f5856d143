"""The `qdfeedback` command, which is `python -m qdfeedback` too: light, for the rest takes a moment to load."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command; who stops it, be it while modules load, sees no traceback."""
    try:
        from qdfeedback.cli import main as run

        run()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)  # noqa: T201
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
