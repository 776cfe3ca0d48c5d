"""A pooler in transaction mode stands before the server, and hands its sessions from one client to the next."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dbtools import chain
from dbtools.chain.report import NullReport
from tests.faults.child import Child
from tests.faults.environment import OLD, environment
from tests.faults.figures import Skipped, exactly, none
from tests.support.pgbouncer import PROGRAM, pooler
from tests.support.sources import sample_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbtools.server.embedded import EmbeddedServer
    from tests.faults.environment import Environment
    from tests.faults.figures import Figure

REFUSED = "A session lock cannot be held through this connection."


def behind(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Run the chain through PgBouncer: resets and seeds at once, then what it has to refuse."""
    if PROGRAM is None:
        raise Skipped("no pgbouncer (Debian: apt-get install pgbouncer)")
    failed: list[str] = []
    accepted: list[str] = []
    with environment(server) as here:
        contents = here.contents()
        # Fewer sessions than clients: they have to be shared.
        with pooler(here.url, "transaction", size=2, round_robin=True) as url:
            pooled = replace(here, url=url)
            for _ in range(20 if full else 3):
                with ExitStack() as stack:
                    actions = [partial(pooled.reset, OLD), partial(pooled.seed, OLD)] * 2
                    actions.append(partial(pooled.reset, OLD, in_place=True))
                    for child in [stack.enter_context(Child(action)) for action in actions]:
                        ended = child.finish()
                        failed += [ended.error] * (not ended.ok)
                if contents.get(here.digest()) != OLD:
                    failed.append("wrong content")
            with Child(partial(_migrate, pooled)) as child:
                ended = child.finish()
            if REFUSED not in ended.error:
                accepted.append(ended.error or "no error")
        same = int(contents.get(here.digest()) == OLD)
        yield none("resets and seeds that failed", failed)
        yield none("migrate not refused", accepted)
        yield exactly("database whole", same, 1)
        yield exactly("locks left", here.locks(), 0)


def _migrate(here: Environment) -> tuple[Sequence[str], Sequence[str]]:
    return chain.migrate(here.target(), sample_source().upgrade, NullReport())
