"""Isolation specs on a real server: output equal byte for byte, and an end to every wait that cannot end by itself.

The expected outputs in tests/data/isolation are also what PostgreSQL's isolation tester prints (see
test_isolation_tester.py). DBTOOLS_ISOLATION may name PostgreSQL's own folder of specs (src/test/isolation of a source
tree); then those are run too. No clock decides a test: time stands still until a step is stuck.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from dbtools.errors import ConfigurationError, VerificationFailed
from dbtools.isolation import parse, run, suite

ROOT = Path(__file__).resolve().parent.parent.parent
OWN = ROOT / "tests" / "data" / "isolation"
THEIRS = os.environ.get("DBTOOLS_ISOLATION", "")
STEP_TIMEOUT_S = 10
pytestmark = pytest.mark.timeout(300)

Stuck = Callable[[str], bool]
"""Whether a run is stuck that has this output so far."""
Run = Callable[..., str]
Abort = Callable[..., tuple[str, str]]


class Clock:
    """Time stands still, but while the run is stuck, it takes a leap at each look."""

    def __init__(self, pieces: list[bytes], stuck: Stuck) -> None:
        self._pieces = pieces
        self._stuck = stuck
        self._now = 0.0

    def __call__(self) -> float:
        if self._stuck(b"".join(self._pieces).decode()):
            self._now += STEP_TIMEOUT_S / 2
        return self._now


def never(output: str) -> bool:
    return False


def reported_as_waiting(output: str) -> bool:
    return output.endswith("<waiting ...>\n")


@pytest.fixture
def in_wait_event(pg_admin: str) -> Iterator[Callable[[str], Stuck]]:
    """Return the condition that a session of the spec is in a wait event of that name, as the server says."""
    sql = "select from pg_stat_activity where application_name like 'isolation/inline/%%' and wait_event = %s"
    with psycopg.connect(pg_admin, autocommit=True) as connection:
        yield lambda event: lambda _output: connection.execute(sql, (event,)).fetchone() is not None


def untimed(text: str) -> str:
    return re.sub(r"after \d+ seconds", "after N seconds", text)


@pytest.fixture
def play(pg_admin: str) -> Run:
    """Run the text of a spec and return its output."""

    def play(text: str, stuck: Stuck = never) -> str:
        pieces: list[bytes] = []
        clock = Clock(pieces, stuck)
        run(parse(text, "inline"), pg_admin, pieces.append, step_timeout=STEP_TIMEOUT_S, clock=clock)
        return untimed(b"".join(pieces).decode())

    return play


@pytest.fixture
def abort(pg_admin: str) -> Abort:
    """Run the text of a spec that cannot be run to its end; return the output and the error's reason."""

    def abort(text: str, stuck: Stuck = never) -> tuple[str, str]:
        pieces: list[bytes] = []
        clock = Clock(pieces, stuck)
        with pytest.raises(VerificationFailed) as caught:
            run(parse(text, "inline"), pg_admin, pieces.append, step_timeout=STEP_TIMEOUT_S, clock=clock)
        error = caught.value
        assert error.what == "The spec inline could not be run to its end."
        assert error.state == "The output up to there was written."
        assert error.hint == "Correct what the reason names; the output ends with it too."
        return untimed(b"".join(pieces).decode()), untimed(error.why.removesuffix("."))

    return abort


def invoke(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
    )


@pytest.mark.parametrize("path", sorted(OWN.glob("*.spec")), ids=lambda path: path.stem)
def test_our_specs(path: Path) -> None:
    (result,) = suite.run_all([path], OWN, lambda _: None, step_timeout=60)
    assert result.detail == ""
    assert result.output == path.with_suffix(".out").read_bytes()


@pytest.mark.skipif(not THEIRS, reason="DBTOOLS_ISOLATION names no src/test/isolation folder of PostgreSQL 16")
def test_postgresqls_specs() -> None:
    folder = Path(THEIRS)
    paths = suite.find_specs(["specs"], folder)
    results = suite.run_all(paths, folder / "expected", lambda _: None, step_timeout=360)
    assert [(result.name, result.result, result.detail) for result in results if result.result != "ok"] == []


def test_a_set_up_that_fails_ends_the_file_with_the_servers_words(abort: Abort) -> None:
    begin = "Parsed test spec with 1 sessions\n\nstarting permutation: a\n"
    error = 'ERROR:  relation "nothing" does not exist\nLINE 1: select 1; table nothing\n                        ^\n'
    words = 'ERROR: relation "nothing" does not exist LINE 1: select 1; table nothing ^'
    output, why = abort("setup { select 1; table nothing } session s step a {}")
    assert output == f"{begin}setup failed: {error}"
    assert why == f"setup failed: {words}"
    output, why = abort("session s setup { select 1; table nothing } step a {}")
    assert output == f"{begin}setup of session s failed: {error}"
    assert why == f"setup of session s failed: {words}"
    output, _ = abort("session s setup { } step a {}")
    assert output == f"{begin}setup of session s failed: "  # an empty query is no command


def test_steps_whose_blockers_are_each_other_end_the_file(abort: Abort) -> None:
    output, why = abort("session s step a { select } session t step b { select } permutation a(b notices 1) b(a)")
    assert output.endswith(
        "step a: select <waiting ...>\nstep b: select <waiting ...>\n"
        "failed to complete permutation due to mutually-blocking steps\n"
    )
    assert why == "failed to complete permutation due to mutually-blocking steps"


def test_a_step_that_never_ends_is_cancelled_and_the_file_goes_on(play: Run) -> None:
    output = play(
        "session s step lock { begin; lock table pg_language; } step end { rollback; }"
        " session t step wait { begin; lock table pg_language; } step next { select 1; } step over { rollback; }"
        " permutation lock wait next over end",
        reported_as_waiting,
    )
    assert output == (
        "Parsed test spec with 2 sessions\n\n"
        "starting permutation: lock wait next over end\n"
        "step lock: begin; lock table pg_language;\n"
        "step wait: begin; lock table pg_language; <waiting ...>\n"
        "isolationtester: canceling step wait after N seconds\n"
        "step wait: <... completed>\n"
        "ERROR:  canceling statement due to user request\n"
        "step next: select 1;\n"
        "ERROR:  current transaction is aborted, commands ignored until end of transaction block\n"
        "step over: rollback;\n"
        "step end: rollback;\n"
    )


STUBBORN = "do $$ begin loop begin perform pg_sleep(60); exception when query_canceled then null; end; end loop; end $$"


def test_a_step_that_cannot_be_cancelled_ends_the_file(abort: Abort, in_wait_event: Callable[[str], Stuck]) -> None:
    output, why = abort(f"session s step a {{ {STUBBORN} }}", in_wait_event("PgSleep"))
    assert output == (
        "Parsed test spec with 1 sessions\n\nstarting permutation: a\n"
        "isolationtester: canceling step a after N seconds\nstep a timed out after N seconds\n"
    )
    assert why == "step a timed out after N seconds"


def test_so_does_one_that_has_sent_its_first_result(abort: Abort, in_wait_event: Callable[[str], Stuck]) -> None:
    """libpq would wait for the other results for ever. A notice makes the server send what it has."""
    text = f"select 1; do $$ begin raise notice 'sent'; end $$; {STUBBORN}"
    output, why = abort(f"session s step a {{ {text} }}", in_wait_event("PgSleep"))
    assert output.endswith(
        f"step a: {text}\n?column?\n--------\n       1\n(1 row)\n\n"
        "isolationtester: canceling step a after N seconds\nstep a timed out after N seconds\n"
    )
    assert why == "step a timed out after N seconds"


def test_a_set_up_that_never_ends_ends_the_file(abort: Abort, in_wait_event: Callable[[str], Stuck]) -> None:
    output, _ = abort(
        "session s setup { begin; lock table pg_language; } step a {}"
        " session t setup { begin; lock table pg_language; } step b {}",
        in_wait_event("relation"),
    )
    assert output.endswith(
        "isolationtester: canceling setup of session t after N seconds\n"
        "setup of session t failed: ERROR:  canceling statement due to user request\n"
    )


def test_a_session_kept_busy_only_by_a_blocker_ends_the_file(abort: Abort) -> None:
    output, _ = abort(
        "session s step a { select } step b { select } session t step c { select } permutation a(c notices 1) b c",
        reported_as_waiting,
    )
    assert output.endswith(
        "step a: select <waiting ...>\nstep a timed out after N seconds\nactive steps are: a\n",
    )


def test_a_lost_connection_ends_the_file_when_it_is_needed_again(abort: Abort) -> None:
    output, why = abort("session s step die { select pg_terminate_backend(pg_backend_pid()); } step more { select 1; }")
    lost = (
        "server closed the connection unexpectedly\n"
        "\tThis probably means the server terminated abnormally\n"
        "\tbefore or while processing the request.\n"
    )
    assert output == (
        "Parsed test spec with 1 sessions\n\nstarting permutation: die more\n"
        "step die: select pg_terminate_backend(pg_backend_pid());\n"
        f"FATAL:  terminating connection due to administrator command\n{lost}\n"
        "failed to send query for step more: no connection to the server\n\n"
    )
    assert why == "failed to send query for step more: no connection to the server"


def test_a_tear_down_on_a_lost_connection_is_reported_and_the_next_goes_on(play: Run) -> None:
    output = play(
        "teardown { select 'the end' as global; }"
        " session s step die { select pg_terminate_backend(pg_backend_pid()); } teardown { select 1; }"
    )
    assert output.endswith(
        "teardown of session s failed: no connection to the server\nglobal \n-------\nthe end\n(1 row)\n\n"
    )


def test_a_session_ended_by_another_says_so_in_its_next_step(play: Run) -> None:
    output = play(
        "setup { create table if not exists victim (pid int); }"
        " session s setup { insert into victim values (pg_backend_pid()); } step next { select 1; }"
        " session t step kill { select pg_terminate_backend(pid, 10000) from victim; }"
        " permutation kill next"
    )
    assert "step next: select 1;\nFATAL:  terminating connection due to administrator command\n" in output


@pytest.mark.parametrize("sql", ["copy pg_language to stdout", "copy pg_language from stdin"])
def test_copy_is_refused_and_not_waited_for(abort: Abort, sql: str) -> None:
    output, why = abort(f"session s step a {{ {sql} }}")
    status = "PGRES_COPY_OUT" if "stdout" in sql else "PGRES_COPY_IN"
    assert f"step a: {sql}\nunexpected result status: {status}\n" in output
    assert why == "step a: COPY with data of the client is not possible in a spec"
    _, why = abort(f"session s setup {{ {sql} }} step a {{ }}")
    assert why == "setup of session s failed: COPY with data of the client is not possible in a spec"


def test_a_sender_outside_the_test_is_named_by_its_pid(play: Run) -> None:
    output = play(
        "setup { notify news; }"
        " session s step listen { listen news; } step look { select; } permutation listen permutation look"
    )
    assert re.search(r'\nstep look: select;\ns: NOTIFY "news" with payload "" from PID \d+\n$', output)


def test_a_step_that_waits_for_an_outsider_is_not_reported_as_waiting(play: Run, pg_admin: str) -> None:
    with psycopg.connect(pg_admin) as outsider:
        outsider.execute("lock table pg_language")
        output = play(
            "session s step a { set lock_timeout = '200ms'; lock table pg_language; }",
        )
    assert "<waiting ...>" not in output
    assert output.endswith("ERROR:  canceling statement due to lock timeout\n")


def test_settings_do_not_leak_in_from_the_environment(play: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PGTZ", "Asia/Tokyo"), ("PGDATESTYLE", "ISO"), ("PGOPTIONS", "-c search_path=x")):
        monkeypatch.setenv(name, value)
    output = play("session s step a { select current_setting('timezone') a, current_setting('datestyle') b; }")
    assert "\nPST8PDT|Postgres, MDY\n" in output
    assert os.environ["PGTZ"] == "Asia/Tokyo"


def test_one_file_is_printed_as_it_is() -> None:
    done = invoke("race.spec", "tests/data/isolation/tables.spec", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == ((OWN / "tables.out").read_bytes(), b"")


def test_several_files_make_a_table_and_differences_are_shown(tmp_path: Path) -> None:
    for name in ("queue", "terminate"):
        (tmp_path / f"{name}.out").write_bytes((OWN / f"{name}.out").read_bytes())
    (tmp_path / "deadlock.out").write_bytes(b"something else\n")
    right = (OWN / "deadlock.out").read_text("utf-8")
    (tmp_path / "deadlock_1.out").write_text(right.replace("deadlock detected", "no deadlock"), "utf-8")
    (tmp_path / "terminate_2.out").write_bytes((OWN / "terminate.out").read_bytes())
    (tmp_path / "terminate.out").write_bytes(b"")
    files = [f"tests/data/isolation/{name}.spec" for name in ("deadlock", "queue", "terminate")]
    done = invoke("race.spec", files[0], "--expected", str(tmp_path), *files[1:], "--results", str(tmp_path / "got"))
    assert done.returncode == 6
    lines = done.stdout.decode().splitlines()
    assert lines[:3] == ["deadlock:", f"--- {tmp_path}/deadlock_1.out", "+++ this run"]
    assert [line for line in lines if line.startswith(("-E", "+E"))] == [
        "-ERROR:  no deadlock",
        "+ERROR:  deadlock detected",
    ]
    assert [line.split()[:3] for line in lines[-5:-2]] == [
        ["deadlock", "differs", "2"],
        ["queue", "ok", "3"],
        ["terminate", "ok", "2"],
    ]
    assert lines[-1] == "2 of 3 specs as expected."
    assert done.stderr.decode().splitlines() == [
        "deadlock: differs",
        "queue: ok",
        "terminate: ok",
        "1 of 3 specs failed or differ from what is expected.",
        "deadlock.",
        "To see the whole output of a spec: invoke race.spec FILE",
    ]
    assert (tmp_path / "got" / "deadlock.out").read_text("utf-8") == right


def test_a_file_that_is_aborted_fails_and_the_others_are_run(tmp_path: Path) -> None:
    (tmp_path / "bad.spec").write_text("setup { create role left_behind; select no_such; } session s step a {}")
    (tmp_path / "good.spec").write_text("setup { create role left_behind; } session s step a {}")
    done = invoke("race.spec", str(tmp_path), "--json")
    assert done.returncode == 6
    bad, good = json.loads(done.stdout)["specs"]
    assert (bad["name"], bad["result"], good["name"], good["result"]) == ("bad", "failed", "good", "ran")
    assert "no_such" in bad["detail"]
    alone = invoke("race.spec", str(tmp_path / "bad.spec"))
    assert alone.returncode == 6
    assert alone.stdout.startswith(b"Parsed test spec with 1 sessions\n\nstarting permutation: a\nsetup failed: ERROR:")
    assert alone.stderr.startswith(b"The spec bad could not be run to its end.\nsetup failed: ERROR: ")


def test_a_file_that_is_wrong_or_has_nothing_to_compare_with_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "bad.spec").write_text("step")
    queue = tmp_path / "queue.spec"
    queue.write_bytes(b"\xef\xbb\xbf" + (OWN / "queue.spec").read_bytes())
    (tmp_path / "expected").mkdir()
    (tmp_path / "expected" / "queue.out").write_bytes((OWN / "queue.out").read_bytes())
    other = tmp_path / "other.spec"
    other.write_bytes(queue.read_bytes())
    paths = [tmp_path / "bad.spec", other, queue]
    bad, other_result, good = suite.run_all(paths, tmp_path / "expected", lambda _: None, step_timeout=60)
    assert (bad.name, bad.result, bad.detail.splitlines()[0]) == (
        "bad",
        "failed",
        f"{tmp_path}/bad.spec is not an isolation spec.",
    )
    assert (other_result.result, other_result.detail) == (
        "failed",
        "There is no expected output of the spec other.\n"
        f"No other.out in {tmp_path}/expected. Nothing was run.\n"
        "To see its output: invoke race.spec other.spec",
    )
    assert (good.name, good.result) == ("queue", "ok")


def test_an_expected_output_that_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "queue.out").mkdir()
    (result,) = suite.run_all([OWN / "queue.spec"], tmp_path, lambda _: None, step_timeout=60)
    assert (result.result, result.detail) == (
        "failed",
        "The expected output of the spec queue cannot be read.\n"
        f"Is a directory: {tmp_path}/queue.out. Nothing was run.\n"
        "Make that file readable.",
    )


def test_a_spec_on_another_server_with_other_settings(tmp_path: Path) -> None:
    (tmp_path / "slots.spec").write_text(
        "session s step a { select current_setting('server_version_num')::int / 10000 as major,"
        " current_setting('wal_level') as wal, current_setting('max_prepared_transactions') as two,"
        " current_setting('autovacuum') as vacuum; }"
    )
    options = ["--server", "18", "--setting", "wal_level=logical", "--setting=max_prepared_transactions=0"]
    done = invoke("race.spec", str(tmp_path / "slots.spec"), *options)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.endswith(
        b"\nmajor|wal    |two|vacuum\n-----+-------+---+------\n   18|logical|  0|off   \n(1 row)\n\n"
    )


def test_a_server_that_does_not_take_the_setting_is_no_result_of_a_spec() -> None:
    done = invoke("race.spec", str(OWN / "queue.spec"), "--setting", "nosuch=1", "--setting=work_mem=1MB")
    assert (done.returncode, done.stdout) == (1, b"")
    what, why, hint = done.stderr.decode().splitlines()
    assert what == "The embedded PostgreSQL server did not start."
    assert why.startswith("It ended with exit code 1. The end of its log: ")
    assert why.endswith('FATAL:  unrecognized configuration parameter "nosuch"')
    assert hint == "Nothing was left behind. Correct the setting, if the log names one."


def test_results_that_cannot_be_written_are_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = invoke("race.spec", str(OWN / "queue.spec"), "--results", str(tmp_path / "file"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == (
        f"The results cannot be written to {tmp_path}/file.\n"
        "File exists. Nothing was run.\n"
        "Name a folder that can be written to: --results FOLDER\n"
    )
    (tmp_path / "queue.out").mkdir()
    with pytest.raises(ConfigurationError) as caught:
        suite.prepare_results(tmp_path, [OWN / "queue.spec"])
    assert str(caught.value) == (
        f"The results cannot be written to {tmp_path}.\n"
        f"Is a directory: {tmp_path}/queue.out. Nothing was run.\n"
        "Name a folder that can be written to: --results FOLDER"
    )
    with pytest.raises(ConfigurationError) as caught:
        suite.prepare_results(tmp_path / "out", [Path("a/x.spec"), Path("b/x.spec"), Path("y.spec")])
    assert str(caught.value) == (
        "The results of a/x.spec and b/x.spec would have one name.\n"
        "Each output is written to NAME.out, where NAME is that of the spec without its folder. Nothing was run.\n"
        "Run them one at a time, each with --results of its own."
    )
    assert not (tmp_path / "out").exists()


def test_there_must_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        suite.find_specs(["."], tmp_path)
    assert str(caught.value) == (
        "There is no spec to run.\n"
        "No file was named, or only folders without a *.spec file. Nothing was run.\n"
        "For example: invoke race.spec specs/my-race.spec"
    )
