"""Say of a run that the server had no room for its locks how many it takes, and which setting has room for them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dbtools.db.databases import suppress_errors
from dbtools.db.lock_room import SETTING, LockRoom, count_locks, is_full
from dbtools.errors import ChainFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from dbtools.build.manifest import Manifest


def count_needed(connection: psycopg.Connection, manifest: Manifest, *, in_place: bool) -> tuple[int, int]:
    """Return how many locks an install holds at its end: on what it makes, and on what it moves aside or drops."""
    live = count_locks(connection, manifest.schemas)
    # Snapshots of earlier versions do not say; what they replace is of about the same size.
    return manifest.locks or live.made, live.dropped if in_place else live.moved


@contextmanager
def explain_lock_room(work: psycopg.Connection, manifest: Manifest, action: str, *, in_place: bool) -> Iterator[None]:
    """Have the block's error for want of room for locks say how many there are, and what to set.

    `work` has the open transaction in which the block works; an error there is rolled back. Errors of statements that
    commit one by one stay as they are.
    """
    try:
        yield
    except ChainFailed as error:
        if is_full(error.__cause__) and not work.autocommit:
            with suppress_errors():  # else the server's answer has to do
                work.rollback()
                made, replaced = count_needed(work, manifest, in_place=in_place)
                room = LockRoom.read(work)
                error.what = f"The server's lock table is full: it has no room for all the locks of this {action}."
                error.why = (
                    f"By its commit the {action} holds about {made + replaced} locks, {made} on what it makes and"
                    f" {replaced} on what it {'drops' if in_place else 'moves aside'}; {room}."
                )
                error.hint = advice(room, made + replaced)
        raise


def advice(room: LockRoom, locks: int) -> str:
    """Return what to do where a server has no room for so many locks."""
    setting = f"{SETTING} = {room.setting_for(locks)}"
    return (
        f"As a superuser: alter system set {setting}; then restart the server. Where dbtools starts it:"
        f" settings = {{ {setting} }} in [tool.dbtools.server]."
    )
