"""When to repaint: at once after quiet, seldom under load."""

from __future__ import annotations


class Pace:
    """At most one repaint every ``every_s`` seconds, but at once where nothing came for ``quiet_s`` seconds."""

    def __init__(self, every_s: float, quiet_s: float) -> None:
        self.every_s = every_s
        self.quiet_s = quiet_s
        self._painted = float("-inf")
        self._came = float("-inf")

    def came(self, now: float) -> float:
        """Something changed: seconds to wait before painting it."""
        quiet = now - self._came >= self.quiet_s
        self._came = now
        if quiet:
            return 0.0
        return max(0.0, self._painted + self.every_s - now)

    def painted(self, now: float) -> None:
        """It was painted."""
        self._painted = now
