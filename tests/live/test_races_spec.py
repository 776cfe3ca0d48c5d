"""Isolation specs on a real server: byte for byte what is expected, and an end to whatever cannot end by itself.

The expected outputs in tests/data/isolation are also what PostgreSQL's isolation tester prints (see
test_races_spec_tester.py). DBTOOLS_ISOLATION names its own folder of specs (src/test/isolation of a source tree), to
run those too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from dbtools.errors import ConfigurationError, VerificationFailed
from dbtools.isolation import parser as specfile
from dbtools.isolation import suite as conformance
from dbtools.isolation.runner import run

ROOT = Path(__file__).resolve().parent.parent.parent
OWN = ROOT / "tests" / "data" / "isolation"
THEIRS = os.environ.get("DBTOOLS_ISOLATION", "")
Run = Callable[..., str]


def untimed(text: str) -> str:
    return re.sub(r"after \d+ seconds", "after N seconds", text)


@pytest.fixture
def play(pg_admin: str) -> Run:
    """Run the text of a spec and return its output."""

    def play(text: str, **options: float) -> str:
        pieces: list[bytes] = []
        run(specfile.parse(text, "inline"), pg_admin, pieces.append, **options)
        return untimed(b"".join(pieces).decode())

    return play


@pytest.fixture
def broken(pg_admin: str) -> Callable[..., tuple[str, str]]:
    """Run the text of a spec that cannot be run to its end; return the output and the error's second line."""

    def broken(text: str, **options: float) -> tuple[str, str]:
        pieces: list[bytes] = []
        with pytest.raises(VerificationFailed) as caught:
            run(specfile.parse(text, "inline"), pg_admin, pieces.append, **options)
        what, why, hint = str(caught.value).split("\n")
        assert what == "The spec inline could not be run to its end."
        assert hint == "Correct the spec; the line above is in its output too."
        assert why.endswith(". What came before was printed.")
        return untimed(b"".join(pieces).decode()), untimed(why.removesuffix(". What came before was printed."))

    return broken


def invoke(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
    )


@pytest.mark.parametrize("path", sorted(OWN.glob("*.spec")), ids=lambda path: path.stem)
def test_our_specs(path: Path) -> None:
    (outcome,) = conformance.run_all([path], OWN, lambda _: None, step_timeout=60)
    assert outcome.detail == ""
    assert outcome.output == path.with_suffix(".out").read_bytes()


@pytest.mark.skipif(not THEIRS, reason="DBTOOLS_ISOLATION names no src/test/isolation folder of PostgreSQL 16")
def test_postgresqls_specs() -> None:
    folder = Path(THEIRS)
    paths = conformance.find(["specs"], folder)
    outcomes = conformance.run_all(paths, folder / "expected", lambda _: None, step_timeout=360)
    assert [(one.name, one.result, one.detail) for one in outcomes if one.result != "ok"] == []


def test_a_set_up_that_fails_ends_the_file_with_the_servers_words(broken: Callable[..., tuple[str, str]]) -> None:
    begin = "Parsed test spec with 1 sessions\n\nstarting permutation: a\n"
    error = 'ERROR:  relation "nothing" does not exist\nLINE 1: select 1; table nothing\n                        ^\n'
    words = 'ERROR: relation "nothing" does not exist LINE 1: select 1; table nothing ^'
    output, why = broken("setup { select 1; table nothing } session s step a {}")
    assert output == f"{begin}setup failed: {error}"
    assert why == f"setup failed: {words}"
    output, why = broken("session s setup { select 1; table nothing } step a {}")
    assert output == f"{begin}setup of session s failed: {error}"
    assert why == f"setup of session s failed: {words}"
    output, _ = broken("session s setup { } step a {}")
    assert output == f"{begin}setup of session s failed: "  # an empty query is no command


def test_steps_that_hold_each_other_back_are_found_out(broken: Callable[..., tuple[str, str]]) -> None:
    output, why = broken(
        "session s step a { select } session t step b { select } permutation a(b notices 1) b(a)", step_timeout=1
    )
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
        step_timeout=1,
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


def test_a_step_that_cannot_be_cancelled_ends_the_file(broken: Callable[..., tuple[str, str]]) -> None:
    output, why = broken(f"session s step a {{ {STUBBORN} }}", step_timeout=1)
    assert output == (
        "Parsed test spec with 1 sessions\n\nstarting permutation: a\n"
        "isolationtester: canceling step a after N seconds\nstep a timed out after N seconds\n"
    )
    assert why == "step a timed out after N seconds"


def test_so_does_one_whose_first_result_is_there(broken: Callable[..., tuple[str, str]]) -> None:
    """libpq would wait for the other results for ever. A notice makes the server send what it has."""
    text = f"select 1; do $$ begin raise notice 'sent'; end $$; {STUBBORN}"
    output, why = broken(f"session s step a {{ {text} }}", step_timeout=1)
    assert output.endswith(
        f"step a: {text}\n?column?\n--------\n       1\n(1 row)\n\n"
        "isolationtester: canceling step a after N seconds\nstep a timed out after N seconds\n"
    )
    assert why == "step a timed out after N seconds"


def test_a_set_up_that_never_ends_ends_the_file(broken: Callable[..., tuple[str, str]]) -> None:
    output, _ = broken(
        "session s setup { begin; lock table pg_language; } step a {}"
        " session t setup { begin; lock table pg_language; } step b {}",
        step_timeout=1,
    )
    assert output.endswith(
        "isolationtester: canceling setup of session t after N seconds\n"
        "setup of session t failed: ERROR:  canceling statement due to user request\n"
    )


def test_a_busy_session_held_only_by_a_marker_ends_the_file(broken: Callable[..., tuple[str, str]]) -> None:
    output, _ = broken(
        "session s step a { select } step b { select } session t step c { select } permutation a(c notices 1) b c",
        step_timeout=0.2,
    )
    assert output.endswith(
        "step a: select <waiting ...>\nstep a timed out after N seconds\nactive steps are: a\n",
    )


def test_a_lost_connection_ends_the_file_when_it_is_needed_again(broken: Callable[..., tuple[str, str]]) -> None:
    output, why = broken(
        "session s step die { select pg_terminate_backend(pg_backend_pid()); } step more { select 1; }"
    )
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
def test_copy_is_refused_and_not_waited_for(broken: Callable[..., tuple[str, str]], sql: str) -> None:
    output, why = broken(f"session s step a {{ {sql} }}")
    status = "PGRES_COPY_OUT" if "stdout" in sql else "PGRES_COPY_IN"
    assert f"step a: {sql}\nunexpected result status: {status}\n" in output
    assert why == "step a: COPY with data of the client is not possible in a spec"
    _, why = broken(f"session s setup {{ {sql} }} step a {{ }}")
    assert why == "setup of session s failed: COPY with data of the client is not possible in a spec"


def test_who_is_no_session_of_the_test_is_named_by_number(play: Run) -> None:
    output = play(
        "setup { notify news; }"
        " session s step listen { listen news; } step look { select; } permutation listen permutation look"
    )
    assert re.search(r'\nstep look: select;\ns: NOTIFY "news" with payload "" from PID \d+\n$', output)


def test_a_lock_of_somebody_outside_is_no_block_of_the_test(play: Run, pg_admin: str) -> None:
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


def test_several_files_make_a_table_and_what_differs_is_shown(tmp_path: Path) -> None:
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
        "To see the whole output of one: invoke race.spec FILE",
    ]
    assert (tmp_path / "got" / "deadlock.out").read_text("utf-8") == right


def test_a_file_that_breaks_off_fails_and_the_others_are_run(tmp_path: Path) -> None:
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


def test_nothing_is_run_where_a_file_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.spec").write_text("step")
    done = invoke("race.spec", str(OWN / "queue.spec"), str(tmp_path / "bad.spec"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"{tmp_path}/bad.spec is not an isolation spec.\nLine 1: ")


def test_there_must_be_a_file_and_something_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        conformance.find(["."], tmp_path)
    assert str(caught.value) == (
        "There is no spec to run.\n"
        "No file was named, or a folder that has no *.spec. Nothing was run.\n"
        "For example: invoke race.spec tests/data/isolation/write-skew.spec"
    )
    with pytest.raises(ConfigurationError) as caught:
        conformance.run_all([OWN / "queue.spec"], tmp_path, lambda _: None, step_timeout=1)
    assert str(caught.value) == (
        "There is no expected output of the spec queue.\n"
        f"No queue.out in {tmp_path}. Nothing was run.\n"
        "To see its output: invoke race.spec queue.spec"
    )
