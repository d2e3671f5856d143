"""How far a run is, and what it is doing, on the terminal."""

from __future__ import annotations

from dataclasses import dataclass

from tqdm import tqdm


@dataclass
class Bar:
    """A progress bar of candidates; figures of the run stand behind it.

    Attributes:
        unit: what a candidate is called.
        quiet: show nothing.
    """

    unit: str = "candidate"
    quiet: bool = False

    def __post_init__(self) -> None:
        """Shows nothing yet."""
        self._bar: tqdm | None = None  # type: ignore[type-arg]

    def begin(self, total: int) -> None:
        """Shows a bar of so many candidates."""
        self.end()
        self._bar = tqdm(total=total, unit=self.unit, disable=self.quiet, mininterval=0.5)

    def at(self, done: int, figures: str = "") -> None:
        """Shows how many there are, and figures behind it; the ones before stay where there are none."""
        if self._bar is not None:
            if figures:
                self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update(done - self._bar.n)

    def say(self, what: str) -> None:
        """Shows what is being done, before the bar; "" shows nothing."""
        if self._bar is not None:
            self._bar.set_description_str(f"{what}: " if what else "", refresh=bool(what))

    def end(self) -> None:
        """Leaves the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
