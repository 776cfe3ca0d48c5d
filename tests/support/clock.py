"""A clock that a test gives to the code under test, so that no other clock decides."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest


class Clock:
    """Moves in pauses; by `step`, also at every look at it. Stands for the modules `time` and `random` of a module."""

    def __init__(self) -> None:
        self.began = self.now = 1000.0
        self.step = 0.0
        self.pauses: list[float] = []
        self.at_pause: dict[int, Callable[[], object]] = {}
        """What happens during the pause of that number."""

    def monotonic(self) -> float:
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)
        self.at_pause.get(len(self.pauses), lambda: None)()

    def put_into(self, module: object, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the module read this clock, and let its pauses have their mean length."""
        monkeypatch.setattr(module, "time", self)
        monkeypatch.setattr(module, "random", SimpleNamespace(uniform=lambda low, high: (low + high) / 2))
