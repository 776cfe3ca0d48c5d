"""Children: processes forked with everything imported and computed, one for each client of the server."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dbtools.db.secrets import mask
from dbtools.errors import DbtoolsError
from dbtools.server import run_as

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_context = multiprocessing.get_context("fork")
BLAMES = ("StepFailed", "correct them", "correct either")
"""What an error says that has the project corrected."""
HUNG_S = 120.0
"""After this long a child counts as hung."""
_ESTABLISHED = "01"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Ended:
    """How a child ended. One that was killed has neither value nor error."""

    value: Any = None
    error: str = ""
    code: int = 0
    """What `invoke` would have exited with."""
    foreseen: bool = True
    """Whether the error is one of dbtools' own, with state and hint."""

    @property
    def clear(self) -> bool:
        """Whether it ended well, or with an error of dbtools' own that blames neither a step nor the rows."""
        return self.foreseen and not any(text in self.error for text in BLAMES)

    @property
    def ok(self) -> bool:
        """Whether it did what it was to do."""
        return self.code == 0


class Child:
    """`action` in a forked process. At the end of the block it is ended, if it still runs."""

    def __init__(self, action: Callable[[], object], *, parent: bool = False) -> None:
        """With `parent`, it may have children of its own."""
        self._pipe, end = _context.Pipe(duplex=False)
        self._process = _context.Process(target=_run, args=(action, end), daemon=not parent)
        self._process.start()
        end.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def kill(self) -> bool:
        """End it as kill -9 does; return whether it was still at work."""
        working = not self._pipe.poll()
        self._process.kill()
        self._process.join()
        return working and self._process.exitcode == -signal.SIGKILL

    def finish(self, timeout: float = HUNG_S) -> Ended:
        """Wait for its end and return how it ended; one that hangs is killed."""
        if not self._pipe.poll(timeout):
            self.kill()
            return Ended(error=f"hung for {timeout:.0f} s", code=-1, foreseen=False)
        try:
            ended: Ended = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            ended = Ended(error="killed", code=-signal.SIGKILL, foreseen=False)
        self._process.join()
        return ended

    @property
    def working(self) -> bool:
        """Whether it has not ended yet."""
        return not self._pipe.poll()

    @property
    def cpu(self) -> float:
        """Seconds of CPU it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def ports(self, server: int) -> list[int]:
        """Return the local ports of its connections to the server's port; none when it is gone."""
        sockets, found = set(), []
        with suppress(OSError):
            for handle in Path(f"/proc/{self.pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    sockets.add(str(handle.readlink()).removeprefix("socket:[").removesuffix("]"))
            for line in Path(f"/proc/{self.pid}/net/tcp").read_text("utf-8").splitlines()[1:]:
                _, local, remote, state, *rest = line.split()
                if state == _ESTABLISHED and rest[5] in sockets and int(remote.partition(":")[2], 16) == server:
                    found.append(int(local.partition(":")[2], 16))
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._pipe.close()


def _run(action: Callable[[], object], pipe: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its children itself
    run_as.signal_at_parent_death(signal.SIGKILL)  # or its death does
    try:
        ended = Ended(action())
    except DbtoolsError as error:
        ended = Ended(error=mask(f"{type(error).__name__}: {error}"), code=error.exit_code)
    except Exception as error:  # noqa: BLE001 - reported as unforeseen
        ended = Ended(error=mask(f"{type(error).__name__}: {error}"), code=1, foreseen=False)
    try:
        pipe.send(ended)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        pipe.send(Ended(error=f"{type(error).__name__}: {error}", code=1, foreseen=False))
