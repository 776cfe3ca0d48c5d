"""The whole process of `invoke reset` and `dbtools reset`, beside the floor.

The floor is `psql -1` replaying a pg_dump of the same result.
"""

from __future__ import annotations

import datetime as dt
import statistics
import sys
from functools import partial

from dbtools.console import table
from scripts.bench.measure import AS_OF, clean_environment, run, seconds


def bench_reset(rounds: int) -> None:
    """Measure a reset beside psql replaying a dump of its result, in turn on one server."""
    from dbtools.db.dsn import Dsn
    from dbtools.server.embedded import EmbeddedServer
    from dbtools.server.sources import find_binaries

    programs = find_binaries().bin
    rows = []
    with EmbeddedServer.start() as server:
        for profile in ("dev", "uat"):
            environ = clean_environment()
            environ |= {"DATABASE_URL": server.url}
            reset = [sys.executable, "-m", "invoke", "reset", "--profile", profile, "--as-of", AS_OF]
            run(reset, environ)
            dsn = Dsn.parse(server.url)
            address = dsn.without_password().url
            environ |= {"PGPASSWORD": dsn.password}
            dump = server.directory / "data" / f"bench-{profile}.sql"  # removed with the server, also after kill -9
            run([str(programs / "pg_dump"), "--clean", "--if-exists", "-f", str(dump), address], environ)
            replay = [str(programs / "psql"), "-1", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(dump), address]
            times: dict[str, list[float]] = {"invoke": [], "dbtools": [], "new day": [], "floor": []}
            dbtools = [sys.executable, "-m", "dbtools", *reset[3:]]
            for number in range(1, rounds + 1):
                times["invoke"].append(seconds(partial(run, reset, environ)))
                times["floor"].append(seconds(partial(run, replay, environ)))
                times["dbtools"].append(seconds(partial(run, dbtools, environ)))
                another = [*reset[:-1], str(dt.date.fromisoformat(AS_OF) + dt.timedelta(number))]
                times["new day"].append(seconds(partial(run, another, environ)))
                run(reset, environ)
            medians = {name: statistics.median(taken) for name, taken in times.items()}
            figures = [f"{median:.3f} s" for median in medians.values()]
            ratios = [f"{medians[name] / medians['floor']:.1f}" for name in ("invoke", "dbtools")]
            rows.append((profile, *figures, *ratios))
    whole = ("invoke reset", "dbtools reset", "invoke, a new day", "psql -1 of a dump")
    print(table(("profile", *whole, "invoke / floor", "dbtools / floor"), rows))
