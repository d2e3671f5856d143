"""What every experiment does when it is called from a shell."""

from __future__ import annotations

import sys
from collections.abc import Callable


def run_main(main: Callable[[], None]) -> None:
    """Calls main; what a person can mend (a wrong folder, a full disk) is one line, not a traceback."""
    try:
        main()
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped")
