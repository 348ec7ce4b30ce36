"""How the tour looks: a title per step, each command as a person would type it, what it said, and a check or a cross."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import Final

#: Of a title's line: as wide as the terminal, up to this.
WIDTH: Final = 100
#: Of an address that nobody types: where it leads is worth a line, what it carries is not.
_ADDRESS: Final = re.compile(r"(https?://[^\s?]+\?)\S{40,}")
_SHORT: Final = r"\1…"


class Screen:
    """Prints the tour and remembers what differed. Colours only on a terminal."""

    def __init__(self) -> None:
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.width = min(WIDTH, shutil.get_terminal_size((WIDTH, 30)).columns)
        self.held = 0
        self.failures: list[str] = []

    def title(self, number: int | str, text: str) -> None:
        """Begin a step."""
        print(f"\n{self._paint('1;36', f'── {number}. {text} '.ljust(self.width, '─'))}", flush=True)

    def typed(self, who: str, line: str) -> None:
        """Show a command as it is typed."""
        print(f"{self._paint('2', f'{who}@laptop')} {self._paint('1', '$ ' + line)}", flush=True)

    def said(self, text: str, limit: int = 30) -> None:
        """Show what a command printed, shortened in the middle where it is long, and long addresses at their ``?``."""
        lines = text.rstrip("\n").splitlines()
        if len(lines) > limit:
            lines = [*lines[: limit - 3], f"… {len(lines) - limit + 1} more lines …", *lines[-2:]]
        for line in lines:
            print(f"  {_ADDRESS.sub(_SHORT, line)}", flush=True)

    def note(self, text: str) -> None:
        """Say something between the steps."""
        print(self._paint("2", text), flush=True)

    def check(self, holds: bool, promise: str, seen: object = "") -> None:
        """State what this step promises, and whether it held; ``seen`` is printed where it did not."""
        if holds:
            self.held += 1
            print(f"  {self._paint('32', '✓')} {promise}", flush=True)
            return
        self.failures.append(promise)
        print(f"  {self._paint('1;31', '✗')} {promise}", flush=True)
        if seen:
            self.said(f"saw: {seen}")

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text
