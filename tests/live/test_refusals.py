"""The guard on a live server: what it looks at is the other end of the session, and a refusal changes nothing."""

from __future__ import annotations

import datetime as dt
import os
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from dbtools import chain
from dbtools.chain.guard import check_database
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.chain.target import GuardRules, Target
from dbtools.checks.doctor import examine
from dbtools.config import LOCK_KEY, SeedPlan
from dbtools.db.dsn import Dsn
from dbtools.db.sessions import Sessions
from dbtools.errors import DatabaseUnreachable, ResetRefused
from dbtools.server import Server
from tests.support.sources import sql_source
from tests.support.toy import TABLES, ToyShop

ROOT = Path(__file__).resolve().parent.parent.parent
TODAY = dt.date(2026, 11, 23)
ALLOWED = {"ALLOW_RESET": "true"}


class Forwarder(socketserver.ThreadingTCPServer):
    """Passes connections to `address` on to a server's port on loopback: the same server, at another place."""

    daemon_threads = True

    def __init__(self, address: str, port: int) -> None:
        super().__init__((address, 0), _Handler)
        self.upstream = port
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Take no more connections; those that are there stay."""
        self.shutdown()
        self.server_close()


class SocketForwarder(socketserver.ThreadingUnixStreamServer):
    """Passes connections to a server's socket in `folder` on to its port: the server itself has none."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(str(folder / f".s.PGSQL.{port}"), _Handler)
        self.upstream = port
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self.shutdown()
        self.server_close()


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Forwarder | SocketForwarder)
        with socket.create_connection(("127.0.0.1", self.server.upstream)) as upstream:
            back = threading.Thread(target=_pump, args=(upstream, self.request), daemon=True)
            back.start()
            _pump(self.request, upstream)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def address() -> str:
    """An address of this machine that is not loopback, as any other machine's would be."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; asks for the route
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


@pytest.fixture
def remote(pg_database: str, address: str) -> Iterator[Dsn]:
    """The test's database, reached through an address that is not loopback."""
    dsn = Dsn.parse(pg_database)
    forwarder = Forwarder(address, int(dsn.port))
    yield Dsn.parse(pg_database.replace(f"@{dsn.host}:{dsn.port}/", f"@{address}:{forwarder.port}/"))
    forwarder.close()


@pytest.fixture
def precious(pg_database: str) -> Callable[[], bool]:
    """A table that a reset would drop; says whether it is still there."""
    with psycopg.connect(pg_database) as connection:
        connection.execute("create table precious (id int)")

    def there() -> bool:
        with psycopg.connect(pg_database) as connection:
            return bool(connection.execute("select from pg_tables where tablename = 'precious'").fetchall())

    return there


def reset(target: Target, folder: Path, environ: dict[str, str] | None = None) -> None:
    with generate_in_background(ToyShop(), SeedPlan("small", TODAY, environ=environ or {})) as rows:
        chain.reset(target, sql_source(folder / "project", TABLES), rows, NullReport())


def refused(target: Target, environ: dict[str, str] | None = None) -> str:
    """The guard's refusal, or "" where it lets the target pass."""
    with psycopg.connect(target.dsn.url) as connection:
        try:
            check_database(connection, target, "reset", environ=environ or {})
        except ResetRefused as error:
            return str(error)
    return ""


def comment(url: str, text: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(f'comment on database "{Dsn.parse(url).dbname}" is {psycopg.sql.quote(text)}')


def test_another_machines_database_is_refused_and_nothing_is_changed(
    remote: Dsn, precious: Callable[[], bool], tmp_path: Path
) -> None:
    target = Target(remote, LOCK_KEY)
    with pytest.raises(ResetRefused) as caught:
        reset(target, tmp_path)
    assert str(caught.value) == (
        f"Refused to reset database {remote.dbname} on {remote.host}: that is not this machine.\n"
        f"The server's address is {remote.host}, port {remote.port}. Nothing was changed.\n"
        f"If it may be destroyed, this once: --allow-host {remote.host};"
        f' for good: [tool.dbtools] allow-hosts = ["{remote.host}"]'
    )
    assert precious()
    allowed = replace(target, rules=GuardRules(allow_hosts=("db", remote.host)))
    with pytest.raises(ResetRefused, match="holds tables that this project did not make"):
        reset(allowed, tmp_path)
    assert precious()
    reset(replace(allowed, confirm=remote.dbname), tmp_path)
    assert not precious()
    reset(target, tmp_path, ALLOWED)


@pytest.fixture
def invoke(remote: Dsn) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `invoke ...` on the database that looks like another machine's."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": remote.url},
            text=True,
            capture_output=True,
        )

    return run


@pytest.mark.parametrize("task", ["reset", "seed"])
def test_the_command_line_is_guarded_and_says_how_to_go_on(
    task: str,
    remote: Dsn,
    precious: Callable[[], bool],
    invoke: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = invoke(task)
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith(f"Refused to {task} database {remote.dbname} on {remote.host}: that is not this ")
    assert len(done.stderr.splitlines()) == 3
    assert precious()
    if task == "reset":
        seen = invoke("doctor")
        assert f"✗ guard: Refused to reset database {remote.dbname} on {remote.host}: " in seen.stdout
        assert seen.returncode == 6
        assert seen.stdout.splitlines()[-1].startswith("✗ A reset will not work here: guard")
        done = invoke(task, "--allow-host", remote.host)
        assert done.returncode == 5
        assert "holds tables that this project did not make" in done.stderr
        assert invoke(task, "--allow-host", remote.host, "--confirm", remote.dbname).returncode == 0
    else:
        assert invoke("migrate", "--json").returncode == 0  # destroys nothing
        assert invoke(task, "--allow-host", "other", "--allow-host", remote.host).returncode == 0


def test_what_touches_no_database_asks_for_nothing(
    remote: Dsn, precious: Callable[[], bool], invoke: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    small = ("--rounds", "1", "--seeders", "2", "--resets", "0", "--as-of", "2026-11-23", "--no-schedules")
    done = invoke("verify-concurrency", *small)
    assert done.returncode == 0, done.stderr
    assert precious()
    done = invoke("verify-concurrency", *small, "--allow-host", remote.host, "--confirm", remote.dbname)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("--confirm and --allow-host are not needed any more: the database is not touched\n")


def test_a_name_is_allowed_by_name_and_its_address_is_said(remote: Dsn, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a compose service called db: the name resolves to an address of another machine."""
    resolve = socket.getaddrinfo

    def resolver(host: str, *arguments: object, **options: object) -> object:
        return resolve(remote.host if host.lower() == "db" else host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    target = Target(Dsn.parse(remote.url.replace(f"@{remote.host}", "@db")), LOCK_KEY)
    assert refused(target) == (
        f"Refused to reset database {remote.dbname} on db: that is not this machine.\n"
        f"The server's address is {remote.host}, port {remote.port}. Nothing was changed.\n"
        'If it may be destroyed, this once: --allow-host db; for good: [tool.dbtools] allow-hosts = ["db"]'
    )
    for host in ("db", "DB", remote.host):
        assert refused(replace(target, rules=GuardRules(allow_hosts=("other", host)))) == ""
    capital = Target(Dsn.parse(remote.url.replace(f"@{remote.host}", "@DB")), LOCK_KEY)
    assert refused(replace(capital, rules=GuardRules(allow_hosts=("db",)))) == ""
    for host in ("d*", "db:5432", ""):
        assert refused(replace(target, rules=GuardRules(allow_hosts=(host,))))


def test_what_the_url_and_the_environment_hide_is_seen(remote: Dsn, monkeypatch: pytest.MonkeyPatch) -> None:
    here = remote.url.replace(f"@{remote.host}:", "@localhost:")
    hidden = [
        f"{here}?hostaddr={remote.host}",
        f"{here}?host={remote.host}",
        here.replace("localhost:", "127.0.0.1:1,").replace(f",{remote.port}/", f",{remote.host}:{remote.port}/"),
    ]
    for url in hidden:
        target = Target(Dsn.parse(url), LOCK_KEY, rules=GuardRules(allow_hosts=("localhost",)))
        assert "that is not this machine" in refused(target), url
        assert f"The server's address is {remote.host}, port {remote.port}. " in refused(target)
        assert remote.host in target.dsn.target
        assert remote.host in target.dsn.masked
    nowhere = here.replace(f"localhost:{remote.port}", "")
    monkeypatch.setenv("PGPORT", remote.port)
    for name, url in (("PGHOST", nowhere), ("PGHOSTADDR", nowhere), ("PGHOSTADDR", here)):
        with monkeypatch.context() as patch:
            patch.setenv(name, remote.host)
            target = Target(Dsn.parse(url), LOCK_KEY)
            assert "that is not this machine" in refused(target), (name, url)
            assert target.dsn.target == f"database {remote.dbname} on {remote.host}:{remote.port}"


def test_this_machine_by_any_of_its_names_needs_no_flag(pg_database: str) -> None:
    dsn = Dsn.parse(pg_database)
    for host in ("127.0.0.1", "localhost", "0"):  # the last, 0.0.0.0, leads to loopback
        assert refused(Target(Dsn.parse(pg_database.replace(f"@{dsn.host}:", f"@{host}:")), LOCK_KEY)) == ""


def test_an_ipv4_address_in_ipv6_form_is_judged_as_what_it_is(remote: Dsn, pg_database: str) -> None:
    for url, here in ((pg_database, True), (remote.url, False)):
        host = Dsn.parse(url).host
        mapped = Dsn.parse(url.replace(f"@{host}:", f"@[::ffff:{host}]:"))
        try:
            said = refused(Target(mapped, LOCK_KEY))
        except psycopg.OperationalError:
            pytest.skip("this machine has no IPv6")
        assert (said == "") is here
        assert here or f"The server's address is {host}, port" in said


def test_a_socket_is_this_machine(pg_database: str, tmp_path: Path) -> None:
    dsn = Dsn.parse(pg_database)
    with tempfile.TemporaryDirectory() as folder:  # a socket's path must be short
        forwarder = SocketForwarder(Path(folder), int(dsn.port))
        try:
            url = pg_database.replace(f"@{dsn.host}:{dsn.port}/", "@/")
            target = Target(Dsn.parse(f"{url}?host={quote(folder, safe='')}&port={dsn.port}"), LOCK_KEY)
            assert refused(target) == ""
            reset(target, tmp_path)
            assert "on the protect list" in refused(replace(target, rules=GuardRules(protect=("localhost/*",))))
        finally:
            forwarder.close()


def test_all_sessions_of_a_run_are_on_the_server_that_the_guard_looked_at(pg_database: str) -> None:
    dsn = Dsn.parse(pg_database)
    first, second = Forwarder("127.0.0.1", int(dsn.port)), Forwarder("127.0.0.1", int(dsn.port))
    try:
        hosts = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
        sessions = Sessions(Dsn.parse(pg_database.replace(f"{dsn.host}:{dsn.port}", hosts)), 2, "test")
        with sessions.open() as one:
            assert one.info.port == first.port
            with sessions.open(autocommit=False) as two:
                assert (one.autocommit, two.autocommit) == (True, False)
                assert two.info.port == first.port
                with pytest.raises(AssertionError, match="more sessions than its pool has"), sessions.open():
                    pass
            assert (one.closed, two.closed) == (False, True)
            first.close()
            with pytest.raises(DatabaseUnreachable, match=f" on 127.0.0.1:{first.port} "), sessions.open():
                pass
    finally:
        second.close()


@pytest.mark.parametrize("pattern", ["prot*", "PROTECT?ME", "127.0.0.1/protect-me", "localhost/protect*", "*/*"])
def test_the_protect_list_takes_both_keys(pattern: str, pg_server: Server) -> None:
    url = pg_server.create_database("protect-me")
    try:
        target = Target(Dsn.parse(url), LOCK_KEY, rules=GuardRules(protect=("other", pattern)))
        message = (
            "Refused to reset database protect-me: it is on the protect list.\n"
            f"protect or DBTOOLS_PROTECT has {pattern!r}. Nothing was changed.\n"
            "If it may really be destroyed: ALLOW_RESET=true and --confirm protect-me"
        )
        assert refused(target) == message
        assert refused(target, ALLOWED) == message
        assert refused(replace(target, confirm="protect-me")) == message
        assert refused(replace(target, confirm="protect"), ALLOWED) == message
        assert refused(replace(target, rules=GuardRules(("127.0.0.1", "localhost"), (pattern,)))) == message
        assert refused(replace(target, confirm="protect-me"), ALLOWED) == ""
        assert refused(replace(target, confirm="protect-me", rules=GuardRules(("protect-me",), (pattern,)))) == message
    finally:
        pg_server.drop_database("protect-me")


def test_capital_letters_of_a_name_do_not_hide_it(pg_server: Server) -> None:
    url = pg_server.create_database("Protect-Me")
    try:
        for pattern in ("protect-me", "localhost/protect-*", "127.0.0.1/PROTECT-ME"):
            target = Target(Dsn.parse(url), LOCK_KEY, rules=GuardRules(protect=(pattern,)))
            assert "on the protect list" in refused(target)
            assert "on the protect list" in refused(replace(target, confirm="protect-me"), ALLOWED)
            assert refused(replace(target, confirm="Protect-Me"), ALLOWED) == ""
    finally:
        pg_server.drop_database("Protect-Me")


def test_on_this_machine_the_address_and_the_name_both_match_a_pattern(pg_database: str) -> None:
    dsn = Dsn.parse(pg_database)
    for host in ("127.0.0.1", "localhost"):
        there = Dsn.parse(pg_database.replace(f"@{dsn.host}:", f"@{host}:"))
        for pattern in ("127.0.0.1/*", "localhost/*"):
            assert "on the protect list" in refused(Target(there, LOCK_KEY, rules=GuardRules(protect=(pattern,))))


def test_where_the_address_is_given_the_hosts_name_is_a_label_that_counts_for_nothing(remote: Dsn) -> None:
    labelled = Dsn.parse(f"{remote.url.replace(f'@{remote.host}:', '@trusted:')}?hostaddr={remote.host}")
    target = Target(labelled, LOCK_KEY)
    assert refused(replace(target, rules=GuardRules(allow_hosts=("trusted",)))) == (
        f"Refused to reset database {remote.dbname} on {remote.host}: that is not this machine.\n"
        f"The server's address is {remote.host}, port {remote.port}. Nothing was changed.\n"
        f"If it may be destroyed, this once: --allow-host {remote.host};"
        f' for good: [tool.dbtools] allow-hosts = ["{remote.host}"]'
    )
    assert "on the protect list" in refused(replace(target, rules=GuardRules(protect=(f"{remote.host}/*",))), ALLOWED)
    assert refused(replace(target, rules=GuardRules(protect=("trusted/*",))), ALLOWED) == ""
    assert refused(replace(target, rules=GuardRules(protect=("localhost/*",))), ALLOWED) == ""


@pytest.mark.parametrize("pattern", ["prod", "other/*", "localhost/prod", "test", "[!d]*"])
def test_what_no_pattern_names_may_be_reset(pattern: str, pg_database: str) -> None:
    assert refused(Target(Dsn.parse(pg_database), LOCK_KEY, rules=GuardRules(protect=(pattern,)))) == ""


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("protected", "marked as protected"),
        ("Owner ops. Protected.", "marked as protected"),
        ("owner=ops;protected=true", "marked as protected"),
        ("protected=yes", "marked as protected"),
        ("protected=on", "marked as protected"),
        ("protected=1", "marked as protected"),
        ("environment=production", "marked as a production database"),
        ("protected environment=prod", "marked as a production database"),
        ("environment=prod, owner=ops", "marked as a production database"),
        ("ENVIRONMENT=Live", "marked as a production database"),
        ("env: prod", "marked as a production database"),
        ('environment = "production"', "marked as a production database"),
        ("PRODUCTION database, do not touch", "marked as a production database"),
        ("env=staging", "marked as a staging database"),
        ("protected: yes", "marked as protected"),
        ("Please don\u2019t reset", "marked as protected"),
    ],
)
def test_a_comment_protects(text: str, what: str, pg_database: str) -> None:
    comment(pg_database, text)
    target = Target(Dsn.parse(pg_database), LOCK_KEY)
    name = target.dsn.dbname
    message = (
        f"Refused to reset database {name}: it is {what}.\nIts comment is {text!r}. Nothing was changed.\n"
        f"If it may really be destroyed: ALLOW_RESET=true and --confirm {name}"
    )
    assert refused(target) == refused(target, ALLOWED) == refused(replace(target, confirm=name)) == message
    assert refused(replace(target, confirm=name), ALLOWED) == ""


@pytest.mark.parametrize("text", ["not production", "copy of production for tests", "production soon", "nonprod"])
def test_a_doubtful_comment_is_one_that_protects(text: str, pg_database: str) -> None:
    comment(pg_database, text)
    assert ": it may be a production database.\n" in refused(Target(Dsn.parse(pg_database), LOCK_KEY))


@pytest.mark.parametrize("text", ["environment=uat", "protected=false", "unprotected", "products of the demo shop"])
def test_other_comments_do_not(text: str, pg_database: str) -> None:
    comment(pg_database, text)
    assert refused(Target(Dsn.parse(pg_database), LOCK_KEY)) == ""


def test_a_name_that_needs_quotes_is_quoted_for_the_shell(pg_server: Server) -> None:
    url = pg_server.create_database('it\'s; "live"\n')
    try:
        comment_url = Dsn.parse(url)
        with psycopg.connect(url) as connection:
            name = psycopg.sql.Identifier(comment_url.dbname)
            connection.execute(psycopg.sql.SQL("comment on database {} is 'protected'").format(name))
        lines = refused(Target(comment_url, LOCK_KEY)).split("\n", 2)
        assert lines[0] == "Refused to reset database 'it\\'s; \"live\"\\n': it is marked as protected."
        assert lines[2] == "If it may really be destroyed: ALLOW_RESET=true and --confirm 'it'\"'\"'s; \"live\"\n'"
    finally:
        pg_server.drop_database('it\'s; "live"\n')


def test_tables_that_only_look_like_the_catalogue_do_not_blind_it(pg_database: str) -> None:
    comment(pg_database, "protected")
    name = Dsn.parse(pg_database).dbname
    with psycopg.connect(pg_database) as connection:
        connection.execute(
            "create schema fake; create view fake.pg_database as select 0::oid as oid, current_database() as datname;"
            "create function fake.shobj_description(oid, name) returns text return '';"
            f'alter database "{name}" set search_path = fake, pg_catalog'
        )
    with psycopg.connect(pg_database) as connection:
        assert connection.execute("select shobj_description(oid, 'pg_database') from pg_database").fetchone() == ("",)
    assert "marked as protected" in refused(Target(Dsn.parse(pg_database), LOCK_KEY))


def test_a_read_only_session_is_refused(pg_database: str, precious: Callable[[], bool], tmp_path: Path) -> None:
    dsn = Dsn.parse(f"{pg_database}?options=-c%20default_transaction_read_only%3Don")
    with pytest.raises(ResetRefused) as caught:
        reset(Target(dsn, LOCK_KEY), tmp_path, ALLOWED)
    assert str(caught.value) == (
        f"Refused to reset database {dsn.dbname}: it is read-only for this session.\n"
        "default_transaction_read_only is on for it. Nothing was changed.\n"
        "Connect to the primary, or take default_transaction_read_only out of the URL, the role, the database or the"
        " server's configuration."
    )
    assert precious()


@pytest.mark.parametrize("role", ["replica", "local"])
def test_a_session_that_checks_no_keys_is_refused(pg_admin: str, role: str) -> None:
    dsn = Dsn.parse(f"{pg_admin}?options=-c%20session_replication_role%3D{role}")
    message = (
        f"Refused to reset database {dsn.dbname}: its foreign keys and triggers are off for this session.\n"
        f"session_replication_role is {role}. Nothing was changed.\n"
        "Take session_replication_role out of the URL, the role, the database or the server's configuration."
    )
    assert refused(Target(dsn, LOCK_KEY)) == message
    assert refused(Target(dsn, LOCK_KEY, confirm=dsn.dbname), ALLOWED) == message


def test_doctor_says_what_the_guard_says(pg_database: str, tmp_path: Path) -> None:
    target = Target(Dsn.parse(pg_database), LOCK_KEY)

    def guard(target: Target) -> str:
        found = examine(target, sql_source(tmp_path / "project", TABLES), ToyShop(), {})
        return next(str(one) for one in found if one.name == "guard")

    assert guard(target) == "✓ guard: may be reset"
    name = target.dsn.dbname
    assert guard(replace(target, rules=GuardRules(protect=("dbtools_test_*",)))) == (
        f"✗ guard: Refused to reset database {name}: it is on the protect list.\n"
        "  protect or DBTOOLS_PROTECT has 'dbtools_test_*'.\n"
        f"  If it may really be destroyed: ALLOW_RESET=true and --confirm {name}"
    )


def test_a_service_of_the_environment_leads_where_it_is_shown_to_lead(
    pg_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = Dsn.parse(pg_database)
    secret = tmp_path / "services"
    secret.write_text(
        f"[here]\nhost={dsn.host}\nport={dsn.port}\nuser={dsn.user}\npassword={dsn.password}\ndbname=nowhere\n", "utf-8"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(secret))
    monkeypatch.setenv("PGSERVICE", "here")
    target = Target(Dsn.parse(f"postgresql:///{dsn.dbname}"), LOCK_KEY)
    assert target.dsn.target == dsn.target
    reset(target, tmp_path)
    assert refused(replace(target, rules=GuardRules(protect=(dsn.dbname,))))
