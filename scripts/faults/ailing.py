"""The server is ill: it goes down and comes back, its disk or its memory is full, or its timeouts are short."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from dbtools import chain
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.db.dsn import Dsn
from dbtools.server import run_as
from dbtools.server.embedded import EmbeddedServer
from scripts.faults import slow
from scripts.faults.apart import MOUNTS, apart, must
from scripts.faults.child import Child
from scripts.faults.figures import at_least, exactly, none, shown
from scripts.faults.stage import NEW, OLD, Stage, moments, stage
from tests.runs import PLAN
from tests.toy import ToyShop, execute, write_history

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.faults.figures import Figure

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
TABLES = 4000
"""Tables in one transaction, more than the smallest lock table takes."""
IMPATIENT = ("statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout", "lock_timeout")


def restart(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Stop the server as a crash does at random moments of a swap reset, and start it again on the same data."""
    del server
    wrong: list[str] = []
    failed: list[str] = []
    unclear: list[str] = []
    stopped, ends = 0, {OLD: 0, NEW: 0}
    with EmbeddedServer.start(settings=DURABLE) as own:
        with stage(own) as here:
            contents, length = here.contents(), here.duration()
            url = here.url
        url = own.create_database("restarted")
        with _looking(own, url) as here:
            here.reset(OLD)
        for moment in moments(50 if full else 6, length):
            with _looking(own, url) as here, here.resetting(NEW) as child:
                time.sleep(moment)
                own.restart()
                ended = child.finish()
            stopped += not ended.ok
            if not ended.clear:
                unclear.append(ended.error)
            with _looking(own, url) as here:
                found = contents.get(here.digest())
                if found is None or (ended.ok and found != NEW):
                    wrong.append(f"after {moment:.3f} s: {ended}")
                else:
                    ends[found] += 1
                with here.resetting(OLD) as child:
                    ended = child.finish()
                if not ended.ok or contents.get(here.digest()) != OLD or here.leftovers():
                    failed.append(ended.error or "wrong content, or a schema left behind")
    yield at_least("runs stopped", stopped, 3)
    yield shown("database the old one, the new one", f"{ends[OLD]}, {ends[NEW]}")
    yield none("database neither, or old after success", wrong)
    yield none("unclear errors", unclear)
    yield none("next resets failed", failed)


@contextmanager
def _looking(server: EmbeddedServer, url: str) -> Iterator[Stage]:
    """Look at a database that outlives the server's restarts."""
    admin = psycopg.connect(server.url_of(Dsn.parse(url).dbname, admin=True), autocommit=True)
    try:
        yield Stage(server, url, admin)
    finally:
        admin.close()


def disk(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Let the disk of the database run full in the middle of a reset."""
    del server
    yield from apart(partial(_disk, full=full), MOUNTS, "mount")


def _disk(*, full: bool) -> list[Figure]:
    unclear, wrong, failed, stopped, tries = list[str](), list[str](), list[str](), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        must("mount", "-t", "tmpfs", "-o", "size=256m", "none", folder)
        space = Path(folder) / "space"
        space.mkdir(mode=0o700)
        run_as.choose().give(space)
        try:
            with EmbeddedServer.start() as own, stage(own) as here:
                name = Dsn.parse(here.url).dbname
                with own.connect_admin() as admin:
                    here.admin.close()
                    admin.execute(f"create tablespace small location '{space}'")
                    admin.execute(f"alter database {name} set tablespace small")
                with _looking(own, here.url) as inside:
                    contents = inside.contents()
                    sizes = [64 * kilo for kilo in range(0, 64 if full else 32, 2 if full else 8)]
                    for in_place in (False, True):
                        for kilobytes in sizes:
                            filler = _fill(Path(folder), kilobytes)
                            with inside.resetting(NEW, in_place=in_place) as child:
                                ended = child.finish()
                            filler.unlink()
                            tries += 1
                            stopped += not ended.ok
                            if not ended.ok and not (
                                ended.foreseen and "Make room on the server's disk" in ended.error
                            ):
                                unclear.append(ended.error)
                            if contents.get(inside.digest()) != (NEW if ended.ok else OLD):
                                wrong.append(f"{kilobytes} kB left: {ended.error or 'done'}")
                            with inside.resetting(OLD) as child:
                                ended = child.finish()
                            if not ended.ok or contents.get(inside.digest()) != OLD or inside.leftovers():
                                failed.append(ended.error or "wrong content, or a schema left behind")
        finally:
            must("umount", "-l", folder)
    return [
        shown("how", "tablespace of 256 MB on tmpfs"),
        at_least("resets stopped by the full disk", stopped, tries // 2),
        none("unclear errors", unclear),
        none("database not the old one", wrong),
        none("next resets failed", failed),
    ]


def _fill(folder: Path, left: int) -> Path:
    """Take all room but so many kilobytes."""
    import os

    info = os.statvfs(folder)
    path = folder / "filler"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, info.f_bavail * info.f_frsize - left * 1024)
    return path


def memory(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Give the server no room for the locks of so many tables."""
    del server, full
    body = f"do $$ begin for i in 1..{TABLES} loop execute 'create table t' || i || ' (a int)'; end loop; end $$"
    settings = {"max_locks_per_transaction": "12", "max_connections": "20"}
    stopped, unclear, wrong, failed = 0, list[str](), list[str](), list[str]()
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer.start(settings=settings) as own,
        stage(own) as here,
        generate_in_background(ToyShop(), PLAN) as toys,
    ):
        history = write_history(Path(folder) / "migrations", execute(body))
        here.reset(OLD, in_place=True)
        before = here.digest()
        for in_place in (False, True):
            target = here.target(in_place=in_place)
            with Child(partial(chain.reset, target, history, Path(folder), toys, NullReport()), parent=True) as child:
                ended = child.finish()
            stopped += not ended.ok
            if ended.ok or not (ended.foreseen and "Raise max_locks_per_transaction" in ended.error):
                unclear.append(ended.error or "no error")
            if here.digest() != before:
                wrong.append(ended.error)
            with here.resetting(OLD, in_place=in_place) as child:
                ended = child.finish()
            if not ended.ok or here.digest() != before:
                failed.append(ended.error or "wrong content")
    yield exactly("resets stopped", stopped, 2)
    yield none("unclear errors", unclear)
    yield none("database not the old one", wrong)
    yield none("next resets failed", failed)


def impatient(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Set every timeout of the role to less than the server, the client and the wait for the lock take."""
    del full
    failed: list[str] = []
    with stage(server) as here, tempfile.TemporaryDirectory() as folder:
        for name in IMPATIENT:
            here.query(f"alter role app in database {Dsn.parse(here.url).dbname} set {name} = '300ms'")
        for title, in_place in (("swap", False), ("in place", True)):
            here.query("select pg_advisory_lock(1196576591)")
            work = partial(slow.reset, here.target(in_place=in_place), Path(folder), server=0.6, client=0.6)
            with Child(work, parent=True) as child:
                time.sleep(0.6)
                here.query("select pg_advisory_unlock(1196576591)")
                ended = child.finish()
            if not ended.ok or here.query("select count(*) from items") != [(3,)]:
                failed.append(f"{title}: {ended.error or 'wrong content'}")
        cancelled = []
        for sql in ("select pg_sleep(0.6)", "begin", "commit"):
            with psycopg.connect(here.url, autocommit=True) as plain:
                try:
                    plain.execute(sql)
                    time.sleep(0.6)
                    plain.execute("select 1")
                except psycopg.Error as error:
                    cancelled.append(error)
    yield shown("set for the role", f"4 timeouts of {0.3:.1f} s")
    yield exactly("plain sessions ended by them", len(cancelled), 3)
    yield none("resets that failed", failed)
