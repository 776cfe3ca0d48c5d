"""The pipe that tells a watchdog of our end."""

from __future__ import annotations

import os

from dbtools.server.watchdog import Watchdog


def test_closing_one_again_leaves_a_later_one_alone() -> None:
    first = Watchdog(["cat"], environment=dict(os.environ))
    first.close()
    second = Watchdog(["cat"], environment=dict(os.environ))  # gets the descriptor that the first had
    assert second.write_end == first.write_end
    assert first.closed
    first.close()
    assert not second.closed
    second.close()
    assert second.closed
