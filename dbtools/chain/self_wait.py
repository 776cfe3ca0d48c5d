"""Find a migrate step that waits for the lock that its own run holds, and end that session: it would wait for ever.

The server sees no deadlock, because the run itself waits for the step's process and not for a lock. A session of the
step is known by the fence, which it holds; so only sessions of Python and `sql` steps are found.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dbtools.chain.lock import FENCE
from dbtools.db.connect import open_session
from dbtools.errors import DatabaseUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.db.dsn import Dsn

INTERVAL_S = 1.0
_WAITING = """
select pg_terminate_backend(w.pid) from pg_locks w join pg_locks f on f.pid = w.pid
where (w.locktype, f.locktype) = ('advisory', 'advisory') and not w.granted and f.granted
  and w.database = (select oid from pg_database where datname = current_database())
  and (w.classid::int8 << 32 | w.objid::int8) = %s and (f.classid::int8 << 32 | f.objid::int8) = %s
"""


@contextmanager
def end_self_waits(dsn: Dsn, key: int) -> Iterator[threading.Event]:
    """Look once a second, in a thread, for sessions behind the fence that wait for the seed lock `key`.

    Yields an event that is set once one was ended. Where the server does not let the watch in, nothing is looked for.
    """
    done, found = threading.Event(), threading.Event()

    def watch() -> None:
        import psycopg

        with suppress(DatabaseUnreachable, psycopg.Error), open_session(dsn, "migrate watch") as session:
            while not done.wait(INTERVAL_S):
                if session.execute(_WAITING, (key, FENCE | key)).fetchall():
                    found.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
