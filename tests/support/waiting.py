"""Wait for a condition, not for a time. The limit only ends a hang: it is far above what a busy machine needs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_S = 200.0
_PAUSE_S = 0.005


def until(condition: Callable[[], object], otherwise: str = "the condition did not become true in time") -> None:
    """Return once the condition is true; fail with the words `otherwise` when it does not become true in time."""
    assert seconds_until(condition) < float("inf"), otherwise


def seconds_until(condition: Callable[[], object], limit_s: float = LIMIT_S) -> float:
    """Wait until the condition is true; return how long that took, or infinity where it did not become true in time."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() > started + limit_s:
            return float("inf")
        time.sleep(_PAUSE_S)
    return time.monotonic() - started
