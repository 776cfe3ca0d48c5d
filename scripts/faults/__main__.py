"""Break what can break while the chain runs, and show in figures what that did.

    nox -s faults                       the short form
    nox -s faults -- --full             many more rounds
    nox -s faults -- client network     some rows
    nox -s faults -- --json FILE        the figures as JSON (default: .dbtools/cache/faults.json)

Prints one table: a line a figure, with what is required of it. Exits with 1 when one is off. A row that this machine
cannot show says why; where CI is set, that is a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.config import Project
from dbtools.console import table
from dbtools.errors import DbtoolsError
from dbtools.server.embedded import EmbeddedServer
from scripts.faults import ailing, crowded, killed, network, pooled, reading, strangers
from scripts.faults.child import Child
from scripts.faults.figures import Figure, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Row = Callable[..., Iterator[Figure]]

ROWS: dict[str, tuple[str, Row]] = {
    "client": ("client killed (-9)", killed.client),
    "backend-swap": ("sessions ended, swap", killed.backend_swap),
    "backend-in-place": ("sessions ended, in place", killed.backend_in_place),
    "lock": ("lock's session ended, in place", killed.lock_lost),
    "network": ("network cut", network.cut),
    "restart": ("server restarted (immediate)", ailing.restart),
    "disk": ("disk full", ailing.disk),
    "memory": ("out of shared memory", ailing.memory),
    "timeouts": ("timeouts set for the role", ailing.impatient),
    "readers": ("readers under reset", reading.under_reset),
    "pooler": ("pooler, transaction mode", pooled.behind),
    "contention": ("contention", crowded.contention),
    "concurrently": ("index built while others wait", crowded.concurrently),
    "psql": ("two programs, one key", strangers.psql),
}
AHEAD = {"network"}
"""Rows that only wait, and are played while the others are."""
HEADINGS = ("fault", "figure", "measured", "required", "")


def play(row: Row, server: EmbeddedServer, *, full: bool) -> list[Figure]:
    """Return the figures of a row, also of one that broke off."""
    found: list[Figure] = []
    try:
        found.extend(row(server, full=full))
    except Skipped as reason:
        found.append(Figure("skipped", str(reason), "", "", not os.environ.get("CI")))
    except Exception as error:  # noqa: BLE001 - the other rows are wanted all the same
        words = " ".join(str(error).split()) if isinstance(error, DbtoolsError) else f"{error!r}"
        found.append(Figure("broke off", words, "", "0", holds=False))
    return found


def collect(child: Child) -> list[Figure]:
    """Return the figures of a row that was played ahead."""
    ended = child.finish(300)
    return ended.value if ended.ok else [Figure("broke off", ended.error, "", "0", holds=False)]


def main() -> int:
    """Run the rows asked for and print one table."""
    parser = argparse.ArgumentParser(prog="nox -s faults --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="default: all")
    parser.add_argument("--full", action="store_true", help="many more rounds")
    parser.add_argument("--json", type=Path, default=Project.find().cache / "faults.json", help="the figures' file")
    chosen = parser.parse_args()
    lines: list[tuple[str, ...]] = []
    document: list[dict[str, object]] = []
    off: list[str] = []
    names = chosen.rows or list(ROWS)
    with EmbeddedServer.start() as server, ExitStack() as stack:
        ahead = {
            name: stack.enter_context(Child(partial(play, ROWS[name][1], server, full=chosen.full), parent=True))
            for name in names
            if name in AHEAD
        }
        for name in names:
            title, row = ROWS[name]
            started = time.monotonic()
            figures = collect(ahead[name]) if name in ahead else play(row, server, full=chosen.full)
            took = time.monotonic() - started
            print(f"{title}: {took:.1f} s", file=sys.stderr, flush=True)
            document.append({"fault": name, "seconds": round(took, 1), "figures": [asdict(one) for one in figures]})
            for number, one in enumerate(figures):
                mark = "" if one.holds else "OFF"
                lines.append(("" if number else title, one.name, one.cell, one.required or "-", mark))
                if not one.holds:
                    off.append(f"{title}: {one.name}: {one.text} (required: {one.required or 'not skipped'})")
    print(table(HEADINGS, lines), flush=True)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps({"full": chosen.full, "off": off, "rows": document}, indent=2), "utf-8")
    for line in off:
        print(f"OFF: {line}", file=sys.stderr)
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
