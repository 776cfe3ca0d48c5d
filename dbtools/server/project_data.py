"""The data of the project's own server: made once, locked while a server runs on them, and never removed here.

Beside the data lies the state file, of mode 0600: port and passwords, which are nowhere else.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from dbtools.errors import ServerError
from dbtools.server import postmaster
from dbtools.server.cluster import copy, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dbtools.server.binaries import Binaries
    from dbtools.server.run_as import Account

UNSEEN_TIMEOUT_S = 5.0
"""For the last processes of a server that crashed."""


@dataclass(frozen=True)
class State:
    """The state file."""

    version: str
    port: int
    password: str
    admin_password: str
    prepared: str = ""
    """The superuser's password so far, until the first start has set both passwords."""
    programs: str = ""
    """The folder of those that run, or ran last."""
    extensions: tuple[str, ...] = ()
    """Those that were made in the application's database."""


def load_state(directory: Path) -> State | None:
    """Return the state, or None if there is no state file.

    Raises:
        ServerError: The file is damaged.
    """
    file = directory / "state.json"
    try:
        state = State(**json.loads(file.read_text("utf-8")))
        return replace(state, extensions=tuple(state.extensions))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ServerError(
            f"The state file {file} is damaged.",
            "It holds the passwords of the project's own server, and they are nowhere else.",
            f"To begin again with an empty server, end it if it runs and remove {directory}",
        ) from error


def known_state(directory: Path) -> State:
    """Return the state of a server that has data.

    Raises:
        ServerError: The file is damaged, or lost.
    """
    state = load_state(directory)
    if state is None:
        raise ServerError(
            f"The state file {directory / 'state.json'} is lost.",
            f"It held the passwords of the project's own server. The data in {directory / 'data'} were left alone.",
            f"Put the file back; or, to begin again with an empty server: invoke server.stop, and remove {directory}",
        )
    return state


def store_state(directory: Path, state: State) -> None:
    """Write the state file at one moment, and through to the disk."""
    draft = directory / "state.json.draft"
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    with draft.open("w", encoding="utf-8") as file:
        json.dump(asdict(state), file)
        file.flush()
        os.fsync(file.fileno())  # or a power cut may leave the new name on an empty file
    draft.replace(directory / "state.json")


def make_data(directory: Path, account: Account, binaries: Binaries, *, flush: bool = True) -> State:
    """Make the data of a new server, and store the state that belongs to them.

    The data get their name last. So data without a state file were in use, and are never removed. Without `flush` they
    are not on disk yet, and the caller has to `sync` them.
    """
    cluster = prepare(binaries, account, lean=False)
    draft = directory / "data.draft"
    shutil.rmtree(draft, ignore_errors=True)  # of a start that was cut off
    copy(cluster.data, draft)
    if flush:
        sync(binaries, account, draft)
    passwords = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
    state = State(cluster.version, postmaster.free_port(), *passwords, prepared=cluster.password)
    store_state(directory, state)
    draft.rename(directory / "data")
    return state


@contextmanager
def data_lock(directory: Path) -> Iterator[int]:
    """Lock the data and yield the lock's file descriptor, for the server to inherit.

    The kernel frees the lock when the last process of the server has ended. So it excludes a second server from another
    container or process namespace too, where the first one's processes cannot be seen.

    Raises:
        ServerError: A server that cannot be seen from here runs on the data.
    """
    handle = os.open(directory / "data.lock", os.O_CREAT | os.O_RDWR, 0o600)
    deadline = time.monotonic() + UNSEEN_TIMEOUT_S
    try:
        while not _try_lock(handle):
            if time.monotonic() > deadline:
                raise ServerError(
                    f"A server that cannot be seen from here runs on {directory / 'data'}.",
                    "It is in another container or process namespace, or is just starting, ending or being upgraded. "
                    "Two servers would destroy the data.",
                    "Run this again; if that does not help, end it where it was started: invoke server.stop; "
                    "or set DATABASE_URL to its URL.",
                )
            time.sleep(0.01)
        yield handle
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync(binaries: Binaries, account: Account, data: Path) -> None:
    """Flush data to disk that a server has not: its own fsync covers only later changes.

    Raises:
        ServerError: They could not be written.
    """
    done = account.run([str(binaries.bin / "initdb"), "--sync-only", "-D", str(data)])
    if done.returncode:
        raise ServerError(
            f"The data directory {data} could not be written to disk.",
            done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"initdb ended with {done.returncode}.",
            "Free some disk space if it is full, and run this again.",
        )
