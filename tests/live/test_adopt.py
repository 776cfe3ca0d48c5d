"""The harness that drives public packages: what it is there to find, it finds."""

from __future__ import annotations

from pathlib import Path

import psycopg

from dbtools.build.programs import find_program
from dbtools.server import Server
from scripts.adopt.drive import Driver
from scripts.adopt.readers import READERS, Readers
from scripts.adopt.result import Result
from scripts.adopt.setups import ABOUT, Setup, read

SCHEMA = "create table ledger as select 1 as revision; create table things as select generate_series(1, 5) as id;"


def set_up(folder: Path, script: str) -> Setup:
    """A project whose own command and whose step is `sh make.sh`."""
    folder.mkdir()
    (folder / ABOUT).write_text('own = [["sh", "make.sh"]]\nledger = "select revision from ledger"\n', "utf-8")
    (folder / "make.sh").write_text(script, "utf-8")
    (folder / "pyproject.toml").write_text('[tool.dbtools]\nmigrate = ["sh", "make.sh"]\n', "utf-8")
    return read(folder / ABOUT)


def driven(tmp_path: Path, server: Server, script: str) -> Result:
    result = Result(set_up(tmp_path / "made", script.replace("PSQL", str(find_program("psql", 16)))))
    (tmp_path / "copies").mkdir()
    Driver(result, server, tmp_path / "copies", tmp_path, 1).drive()
    return result


def drop_databases(server: Server) -> None:
    for what in ("hand", "target", "trap"):
        server.drop_database(f"made_{what}")


def test_a_program_that_is_not_led_is_found_in_the_database_of_its_settings(tmp_path: Path, pg_server: Server) -> None:
    try:
        result = driven(tmp_path, pg_server, f"PSQL -c '{SCHEMA}' postgresql://@address@\n")
    finally:
        drop_databases(pg_server)
    assert list(result.failures) == ["reset", "trap"]
    assert "changed nothing in the database that it was given" in result.failures["reset"]
    assert result.failures["trap"].startswith("in the database that the project's settings name: 2 objects, ")
    assert result.row[-1] == "reset, trap"
    assert len(result.seconds["own"]) == 1
    assert not result.seconds["cold"]


def test_a_schema_that_differs_is_found_and_so_is_a_step_that_cannot_run_again(
    tmp_path: Path, pg_server: Server
) -> None:
    # Led by DATABASE_URL, it makes something else than by hand.
    script = (
        'PSQL -c "$SCHEMA; create table ${DATABASE_URL:+not_}by_hand (id int)" ${DATABASE_URL:-postgresql://@address@}'
    )
    try:
        result = driven(tmp_path, pg_server, f"set -e\nSCHEMA='{SCHEMA}'\n{script} -v ON_ERROR_STOP=1\n")
    finally:
        drop_databases(pg_server)
    assert list(result.failures) == ["schema", "rows", "migrate"]
    assert "CREATE TABLE public.not_by_hand (" in result.failures["schema"]
    assert result.failures["rows"] == (
        "the number of rows differs: public.by_hand: None, by hand 0; public.not_by_hand: 0, by hand None"
    )
    assert result.failures["migrate"].startswith("invoke migrate: exit 1\n")
    assert (result.revisions, result.tables, result.rows) == (1, 3, 6)
    assert result.reads_failed == 0 < result.reads
    assert result.bare_drop_failed >= READERS


def test_readers_count_refused_reads_and_states_between(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(f"{SCHEMA} analyze;")  # the larger table comes first
        with Readers(pg_database) as readers:
            assert readers.failed == 0
            connection.execute("delete from things where id = 1")
            readers.wait_for_reads()
            between = readers.failed
            connection.execute("drop table things")
            readers.wait_for_reads()
        assert READERS <= between <= readers.failed - READERS
        assert readers.first_failure() == "counts (4, 1) instead of (5, 1)"
