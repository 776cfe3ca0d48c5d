#!/usr/bin/env python3
"""Run the whole chain and the race on throwaway servers, through the same commands a person types.

    nox -s e2e                               embedded and container; "no engine, skipped" where there is none
    nox -s e2e -- --server embedded
    nox -s e2e -- --server container         DBTOOLS_POSTGRES_IMAGE chooses the image
    nox -s e2e -- --server 16 --server 18    major versions, or folders of programs
    nox -s e2e -- --server postgresql://...  a database that may be destroyed; ALLOW_RESET=true on another machine

Prints one table: a row per step, a column per server. Exits with 1 if a step failed, if two servers hold different
content after the same reset, and where CI is set also if the container was skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dbtools.console import table  # noqa: E402 - found through the line above

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.server import Server

AS_OF = "2026-11-23"
RECORD = (ROOT / "tests" / "data" / "reset-dev.txt").read_text("utf-8")


class StepFailed(Exception):
    """A step failed, or its result is wrong."""


@dataclass
class Run:
    """The steps on one server, in order; each step relies on the previous ones."""

    server: Server
    digest: str = ""
    cells: dict[str, str] = field(default_factory=dict)

    def invoke(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `invoke ...` on the server's database."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("SEED_", "PG"))}
        environ |= {"DATABASE_URL": self.server.url, "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=ROOT,
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def finish(self, process: subprocess.Popen[str], timeout: float = 120.0) -> str:
        """Return the standard output of a process, or fail with its errors."""
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise StepFailed(f"{process.args!r} hung for {timeout:.0f} s") from None
        if process.returncode:
            raise StepFailed(f"exit {process.returncode}: {errors.strip() or output.strip()}")
        return output

    def check(self, *arguments: str) -> str:
        """Run `invoke ...` to its end and return its standard output."""
        return self.finish(self.invoke(*arguments))

    def content(self) -> str:
        """Return the content's digest."""
        return str(json.loads(self.check("digest", "--json"))["sha256"])

    def same_content(self) -> None:
        """Fail unless the content equals that of the first reset."""
        if self.content() != self.digest:
            raise StepFailed("the content differs from the first reset's")

    def reset_empty(self) -> None:
        """Reset an empty database: the record equals the reference's, tick for tick."""
        if self.check("reset", "--in-place", "--as-of", AS_OF) != RECORD:
            raise StepFailed("the record differs from the reference")
        self.digest = self.content()

    def reset_seeded(self) -> None:
        """Reset a seeded database."""
        self.check("reset", "--in-place", "--as-of", AS_OF)
        self.same_content()

    def seed(self) -> None:
        """Seed a seeded database."""
        self.check("seed", "--as-of", AS_OF)
        self.same_content()

    def build(self) -> None:
        """Run the migrations again on a scratch database, and reset from what they made."""
        self.check("build", "--rebuild")
        self.reset_seeded()

    def among_seeders(self) -> None:
        """Start one reset and three seeders simultaneously: all succeed."""
        started = [self.invoke(action, "--as-of", AS_OF) for action in ("seed", "reset", "seed", "seed")]
        for process in started:
            self.finish(process)
        self.same_content()

    def race(self) -> None:
        """Prove that processes collide without the lock, and never with it."""
        # The schedules would run on another server; the session `races` covers them.
        options = ("--rounds", "2", "--no-schedules", "--as-of", AS_OF, "--json")
        found = json.loads(self.check("verify-concurrency", *options))
        if not found["proved"]:
            raise StepFailed("; ".join(found["complaints"]))

    def uat(self) -> None:
        """Reset to the larger profile, and check every rule of its data."""
        self.check("reset", "--profile", "uat", "--as-of", AS_OF)
        self.check("doctor")

    def lock_is_free(self) -> None:
        """Check that no session holds the lock, and that none of ours is left."""
        import psycopg

        with psycopg.connect(self.server.url) as connection:
            left = connection.execute(
                "select application_name from pg_stat_activity where application_name like 'dbtools%' and datname ="
                " current_database() union all select 'lock held by ' || pid from pg_locks where locktype = 'advisory'"
            ).fetchall()
        if left:
            raise StepFailed(f"left behind: {left}")


STEPS: dict[str, Callable[[Run], None]] = {
    "reset on an empty database": Run.reset_empty,
    "reset over a seeded one": Run.reset_seeded,
    "and once more": Run.reset_seeded,
    "built again, and reset": Run.build,
    "seed over a seeded one": Run.seed,
    "a reset among three seeders": Run.among_seeders,
    "collision without the lock, none with it": Run.race,
    "uat, and the rules of its data": Run.uat,
    "lock free, no session left": Run.lock_is_free,
}


CONTENT = "digest of the content"


def play(name: str, run: Run) -> bool:
    """Run all steps on one server; return whether all passed."""
    for step, action in STEPS.items():
        started = time.monotonic()
        try:
            action(run)
        except StepFailed as error:
            run.cells[step] = "FAILED"
            print(f"{name}: {step}: {error}", file=sys.stderr, flush=True)
            return False
        run.cells[step] = f"ok {time.monotonic() - started:.1f} s"
        print(f"{name}: {step}: {run.cells[step]}", file=sys.stderr, flush=True)
    return True


def start(kind: str) -> Server | str:
    """Return a running server of `kind`, or the reason why it cannot run."""
    if kind == "embedded":
        from dbtools.server.embedded import EmbeddedServer

        return EmbeddedServer.start()
    if kind.isdecimal() or kind.startswith(("/", ".")):
        from dbtools.server.embedded import EmbeddedServer
        from dbtools.server.requirements import NONE
        from dbtools.server.sources import narrowed

        return EmbeddedServer.start(narrowed(NONE, kind))
    if kind == "container":
        from dbtools.server.container import ContainerServer
        from dbtools.server.engine import why_not

        reason = why_not()
        return f"{reason}, skipped" if reason else ContainerServer.start()
    from dbtools.server.external import ExternalServer

    return ExternalServer(kind, source="--server")


def main() -> int:
    """Run the steps on each chosen server, print one table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="nox -s e2e --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--server",
        action="append",
        help="embedded, a major version, a folder of programs, container or a URL (default: embedded and container)",
    )
    chosen = parser.parse_args().server
    kinds = chosen or ["embedded", "container"]
    passed, columns = True, list[tuple[str, dict[str, str]]]()
    for kind in kinds:
        label = "existing" if "://" in kind else kind
        server = start(kind)
        if isinstance(server, str):
            print(f"{label}: {server}", file=sys.stderr, flush=True)
            columns.append((f"{label}: {server}", {}))
            passed = passed and not (os.environ.get("CI") or chosen)
            continue
        with server:
            run = Run(server)
            passed = play(label, run) and passed
            run.cells[CONTENT] = run.digest[:12] or "-"
            columns.append((f"{server.kind} {server.version}", run.cells))
    contents = {cells[CONTENT] for _, cells in columns if CONTENT in cells}
    if len(contents) > 1:
        print("the servers hold different content after the same reset", file=sys.stderr, flush=True)
        passed = False
    rows = [(step, *(cells.get(step, "-") for _, cells in columns)) for step in (*STEPS, CONTENT)]
    print(table(("step", *(name for name, _ in columns)), rows))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
