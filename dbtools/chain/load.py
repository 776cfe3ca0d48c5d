"""Add the rows of a load, in blocks, by several sessions and beside other processes that add their shares of it.

A load empties nothing. It holds the seed lock in shared mode: loads run side by side, and exclude resets, seeds and
migrations as these exclude each other. The lock is that of one session, in a transaction that does nothing else; the
others do the work, and commit only after all of them have counted their rows and the lock was seen to be held. Nothing
keeps two processes from loading the same block but the primary keys of its rows: the second one fails, as a whole.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from dbtools.chain import guard
from dbtools.chain.blocks import Job, Share
from dbtools.chain.copy import analyze, insert_missing
from dbtools.chain.lock import TransactionLock
from dbtools.chain.locked_transaction import open_guarded_session
from dbtools.chain.phase import Outcome, phase, server_time, was_refused
from dbtools.chain.report import lock_released, lock_taken, waiting_for_lock
from dbtools.db.blockers import is_held_by
from dbtools.db.connect import disable_timeouts, open_session
from dbtools.db.settings import fix_text_settings
from dbtools.db.sql import quote, scalar, search_path
from dbtools.errors import UNCHANGED, ChainFailed, ConfigurationError
from dbtools.words import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import psycopg

    from dbtools.application import Load
    from dbtools.chain.report import Report
    from dbtools.chain.target import Target
    from dbtools.config import SeedPlan
    from dbtools.dataset import TableText

NOT_ADDED = "No row of a block was added; the rows that all blocks refer to may have been."
ADDED = "The rows were committed before."
PROGRESS_S = 0.2


def load(
    target: Target,
    content: Load,
    share: Share,
    workers: int,
    plan: SeedPlan,
    report: Report,
    progress: Callable[[Job], None],
) -> tuple[Outcome, Job]:
    """Add the blocks of a share with so many sessions, beside that of the lock; return what was done and added.

    Rows that all blocks refer to are inserted before, where they are missing, and committed. All blocks of the share
    are committed at the end: each session's at once, one session after the other. `progress` is told now and then.

    Raises:
        ConfigurationError: The share has no block, or the pool is too small.
        ResetRefused: The guard said no. Nothing was changed.
        DatabaseUnreachable: The server did not let us in. Nothing was changed.
        LockTimeout: A reset, seed or migration kept the lock. Nothing was changed.
        ChainFailed: A phase failed; the message says what state the database is in.
    """
    job = Job(content, share.blocks(content.blocks))
    workers = min(workers, job.size)
    if workers + 1 > target.pool_size:
        raise ConfigurationError(
            f"A pool of {target.pool_size} is too small for {workers} workers.",
            "Each has a connection, and one more holds the lock.",
            f"Set --pool-size, DBTOOLS_POOL_SIZE or [tool.dbtools] pool-size to {workers + 1} or more.",
            UNCHANGED,
        )
    guard.check_environment("load", plan.environ)
    outcome = Outcome("load")
    with open_guarded_session(target, "load", plan) as keeper, _shared_lock(keeper, target, report, outcome) as pid:
        with ExitStack() as stack:
            with phase("load", NOT_ADDED, outcome):
                here = target.dsn.pinned(keeper)
                sessions = [stack.enter_context(open_session(here, "load", autocommit=False)) for _ in range(workers)]
                _prepare(sessions[0], target)
                report.doing("Loading rows...")
                outcome.rows = insert_missing(sessions[0], content.base)
                sessions[0].commit()
                for session in sessions:
                    _prepare(session, target)
                _work(job, sessions, progress)
                if not is_held_by(sessions[0], target.lock_key, pid):
                    raise ChainFailed(
                        "The seed advisory lock was lost during the load.",
                        "Its session is gone, so another run may have changed the tables meanwhile.",
                        "Run: invoke reset; then load again.",
                    )
            _commit(sessions, outcome)
        outcome.rows += job.rows.total()
        for table, count in job.rows.items():
            report.done(f"Loaded {number_of(count, 'row')} into {table}")
        with phase("analyze", ADDED, outcome), open_session(here, "load") as session:
            analyze(session, target.schema)
    return outcome, job


@contextmanager
def _shared_lock(keeper: psycopg.Connection, target: Target, report: Report, outcome: Outcome) -> Iterator[int]:
    """Hold the seed lock in shared mode in a transaction of `keeper`, and yield the server process that has it."""
    with phase("lock", UNCHANGED, outcome):
        keeper.autocommit = False
        lock = TransactionLock(keeper, target.lock_key, shared=True)
        outcome.waited = lock.acquire(target.waits, waiting_for_lock(report, target.lock_key))
        outcome.acquired_at = server_time(keeper)
        pid = int(scalar(keeper, "select pg_backend_pid()"))
    lock_taken(report, target.lock_key, pid, outcome.waited)
    yield pid
    with phase("unlock", ADDED, outcome):
        outcome.released_at = server_time(keeper)
        keeper.commit()
    lock_released(report, target.lock_key, outcome.rows)


def _prepare(session: psycopg.Connection, target: Target) -> None:
    """Begin a transaction in which text is read as it was written."""
    disable_timeouts(session, local=True)
    fix_text_settings(session, local=True)
    lock_timeout = f"set local lock_timeout = '{target.waits.statement:.3f}s'"
    session.execute(f"set local search_path to {search_path([target.schema])}; {lock_timeout}")


def _work(job: Job, sessions: Sequence[psycopg.Connection], progress: Callable[[Job], None]) -> None:
    """Have the sessions add the blocks side by side. Where one fails, or a signal arrives, all of them end."""
    with ThreadPoolExecutor(len(sessions), "dbtools load") as pool:
        futures = [pool.submit(_fill, session, job) for session in sessions]
        try:
            _wait(futures, job, progress)
        except BaseException:
            job.over.set()
            while wait(futures, PROGRESS_S).not_done:
                for session in sessions:  # one may wait for another program's lock
                    with suppress(Exception):
                        session.cancel()
            raise


def _wait(futures: Sequence[Future[None]], job: Job, progress: Callable[[Job], None]) -> None:
    running: set[Future[None]] = set(futures)
    while running:
        done, running = wait(running, PROGRESS_S, FIRST_EXCEPTION)
        progress(job)
        for future in done:
            future.result()


def _blocks(job: Job) -> Iterator[Sequence[TableText]]:
    """Yield blocks of the job, each computed while the server takes the one before it."""
    numbers = job.deal()
    with ThreadPoolExecutor(1, "dbtools block") as pool:

        def begin() -> Future[Sequence[TableText]] | None:
            number = next(numbers, None)
            return None if number is None else pool.submit(job.content.block, number)

        ahead = begin()
        while ahead:
            tables = ahead.result()
            ahead = begin()  # not before: others shall get theirs
            yield tables


def _fill(session: psycopg.Connection, job: Job) -> None:
    """Add blocks as long as there are some; then ask the server how many rows this transaction has added."""
    added: Counter[str] = Counter()
    for tables in _blocks(job):
        rows: Counter[str] = Counter()
        size = 0
        for table in tables:
            columns = ", ".join(map(quote, table.columns))
            with session.cursor() as cursor, cursor.copy(f"copy {quote(table.table)} ({columns}) from stdin") as copy:
                copy.write(table.data)
            rows[table.table] += table.count
            size += len(table.data)
        added += rows
        job.add(rows, size)
    if job.over.is_set():
        return
    for name, count in added.items():
        found = scalar(session, f"select count(*) from {quote(name)} where xmin = pg_current_xact_id()::xid")
        if found != count:
            raise ChainFailed(
                f"The load did not arrive: {number_of(found, 'row')} of {count} came into {name}.",
                "A trigger of the table may have kept them out, or removed them.",
                "Drop it for the load, or take the table out of the load.",
            )


def _commit(sessions: Sequence[psycopg.Connection], outcome: Outcome) -> None:
    """Commit, one session after the other. Where one fails, the error says how many had committed before."""
    for number, session in enumerate(sessions):
        before = f"{number} of {len(sessions)} workers had committed their blocks" if len(sessions) > 1 else ""
        unknown = "Whether the blocks were committed is not known: all of them are there, or none."
        try:
            with phase("commit", f"{before}; of the next it is not known." if before else unknown, outcome):
                session.commit()
        except ChainFailed as error:
            if was_refused(error):
                error.state = f"{before}; no other did." if number else NOT_ADDED
            if number or not was_refused(error):
                error.hint = "Run: invoke reset; then load again."
            raise
