"""Output for machines: every line of a run is an object, and so is its failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import psycopg
import pytest

from dbtools.config import LOCK_KEY
from tests.support.projects import NAMESPACES, ROOT, may_make_namespaces, start_task


def run(url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url} | variables,
        text=True,
        capture_output=True,
    )


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_of_a_run_is_an_object(pg_database: str) -> None:
    done = run(pg_database, "reset", "--as-of", "2026-11-23", "--json", DBTOOLS_LOG="json")
    assert (done.returncode, done.stderr) == (0, "")
    logged = lines(done.stdout)
    (taken,) = [line for line in logged if line["message"].startswith("Acquired")]
    assert (taken["event"], taken["key"], taken["waited"]) == ("done", LOCK_KEY, 0.0)
    assert taken["backend"] not in (0, taken["pid"])
    (released,) = [line for line in logged if line["message"].startswith("Released")]
    with psycopg.connect(pg_database) as connection:
        row = connection.execute("select count(*) from invoices").fetchone()
    assert row is not None
    assert released["rows"] > row[0] > 0
    assert logged[-1]["event"] == "result"
    assert logged[-1]["result"]["rows"] == released["rows"]
    assert {line["level"] for line in logged} == {"info"}


def test_a_failure_is_an_object_as_well(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
        for variables in ({"DBTOOLS_LOG": "json"}, {}):
            done = run(pg_database, "reset", "--lock-timeout", "0", "--json", **variables)
            assert done.returncode == 4
            if variables:
                assert done.stderr == ""
                failure = lines(done.stdout)[-1]
                assert (failure["level"], failure["event"]) == ("error", "error")
            else:
                failure = json.loads(done.stdout)["error"]
                assert done.stderr.endswith(f"{failure['hint']}\n")
            assert (failure["type"], failure["exit_code"]) == ("LockTimeout", 4)
            assert failure["state"] == "Nothing was changed."


@pytest.mark.skipif(not may_make_namespaces(), reason="may not make process namespaces")
def test_process_one_ends_at_once_when_it_is_told_to(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
        with start_task(pg_database, "reset", wrapped=NAMESPACES) as outer:
            errors = outer.stderr
            assert errors is not None
            assert any("Waiting for the seed advisory lock" in line for line in errors)
            (child,) = subprocess.check_output(["pgrep", "-P", str(outer.pid)], text=True).split()
            os.kill(int(child), signal.SIGTERM)
            _, rest = outer.communicate()
    assert outer.returncode == 143
    assert rest.endswith(
        "Interrupted by SIGTERM.\nIn the lock phase. Nothing was changed.\n"
        "Run this again; invoke doctor looks at the database.\n"
    )
