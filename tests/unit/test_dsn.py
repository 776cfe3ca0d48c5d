"""Connection strings: what is accepted, what is refused and in which words, and that no password gets out."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from dbtools.db import secrets
from dbtools.db.dsn import Dsn, printable
from dbtools.db.secrets import mask, remember_unreadable
from dbtools.errors import ConfigurationError


@pytest.fixture(autouse=True)
def nothing_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that another test has met would be masked without a look at its place."""
    monkeypatch.setattr(secrets, "_known", {})


HINT = "Write it like this: DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/DATABASE"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test meets the secrets of another one, of which some are random."""
    monkeypatch.setattr("dbtools.db.secrets._known", {})


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_three_schemes_name_the_same_database(scheme: str) -> None:
    dsn = Dsn.parse(f"{scheme}://ann:s3cret@db.example.com:6000/app?sslmode=disable")
    assert dsn.url == "postgresql://ann:s3cret@db.example.com:6000/app?sslmode=disable"
    assert dsn.sqlalchemy_url == "postgresql+psycopg://ann:s3cret@db.example.com:6000/app?sslmode=disable"
    assert (dsn.host, dsn.port, dsn.dbname, dsn.user) == ("db.example.com", "6000", "app", "ann")


def test_what_is_left_out_is_left_to_libpq() -> None:
    dsn = Dsn.parse("postgresql:///app?host=/run/postgresql")
    assert (dsn.host, dsn.port, dsn.user, dsn.password) == ("/run/postgresql", "5432", "", "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "mysql://u:hunter2@h/d",
            "It starts with 'mysql://'; wanted postgresql://, postgres://, postgresql+psycopg://",
        ),
        ("host=h password=hunter2", "It is not a URL; wanted postgresql://, postgres://, postgresql+psycopg://"),
        ("postgresql://u:hunter2@h:abc/d", "Its port is not a number from 1 to 65535"),
        ("postgresql://u:hunter2@h:70000/d", "Its port is not a number from 1 to 65535"),
        ("postgresql://u:hunter2@h", "It names no database"),
        ("postgresql://u:hunter2%zz@h/d", "It holds a % that is not written as %25"),
        ("postgresql://u:hun@ter2@h/d", "The password holds an @ that is not written as %40"),
        ("postgresql://u:hunter2@h/d?speed=9", "It has a parameter that libpq does not know"),
        (
            "postgresql://u:hunter2@[::1/d",
            "An address in [ ] is not closed",
        ),
        (
            "postgresql://u:hun/ter2@h/d",
            "A / in the password is not written as %2F, or an @ in the database's name as %40",
        ),
        (
            "postgresql://u:5432/hunter2@h/d",
            "A / in the password is not written as %2F, or an @ in the database's name as %40",
        ),
        ("postgresql://u:hun ter2@h/d", "It holds a space that is not written as %20"),
        ("postgresql://u:hunter2@h/d?sslmode", "A parameter does not read name=value"),
        ("postgresql://u:hunter2@h/d?sslmode=a=b", "A parameter does not read name=value"),
        ("postgresql://u:hunter2%00@h/d", "It holds %00"),
        ("postgresql://u:hunter2@[::1]x/d", "The host is followed by neither a port, a / nor a ?"),
        ("u:hunter2://h/d", "It is not a URL; wanted postgresql://, postgres://, postgresql+psycopg://"),
        ("hunter", "It is not a URL; wanted postgresql://, postgres://, postgresql+psycopg://"),
        (
            "postgresql://u:hunter2@h/d?schema=shop",
            "Libpq does not know its parameter schema; leave that out: name the schema in [tool.dbtools]",
        ),
        (
            "postgresql://u:hunter2@h/d?sslmode=disable&pgbouncer=true",
            "Libpq does not know its parameter pgbouncer; leave that out: dbtools finds a pooler by itself",
        ),
        (
            "postgresql://u:hunter2@h/d?service=prod",
            "It leaves the host to a service file (service=); set PGSERVICE, or name the host",
        ),
        (
            "postgresql://u:hunter2@h/d?replication=database",
            "It asks for replication, not for a database (replication=)",
        ),
        (
            f"postgresql://u:hunter2@h/{'d' * 64}",
            "The database's name is longer than 63 bytes, and the server would cut it",
        ),
    ],
)
def test_a_malformed_url_is_refused_without_its_password(text: str, why: str) -> None:
    if " " in text and psycopg.pq.version() < 170000:
        pytest.skip("before version 17 libpq takes a space")
    with pytest.raises(ConfigurationError) as caught:
        Dsn.parse(text)
    assert str(caught.value) == f"DATABASE_URL is not a usable PostgreSQL URL.\n{why}. Nothing was changed.\n{HINT}"
    assert not re.search(r"hun|ter2", str(caught.value))
    if "@" in text:
        assert not re.search(r"hun|ter2", mask(f"somebody else quotes {text}"))


def test_what_may_be_the_password_of_a_malformed_url_is_masked_and_nothing_else() -> None:
    for text in ("ann:before-the-scheme://h/d", "postgresql://ann:behind-the-colon@h/d", "ann:without-a-scheme@h/d"):
        remember_unreadable(text)
    assert mask("before-the-scheme, behind-the-colon, without-a-scheme") == "***, ***, ***"
    for text in ("localhost:15432", "postgresql://db.example:15433/shop", "postgresql://anneliese@db.example/shop"):
        remember_unreadable(text)
    shown = "anneliese of shop at db.example, port 15432 or 15433"
    assert mask(shown) == shown


def test_the_source_is_named() -> None:
    with pytest.raises(ConfigurationError, match="^--server is not a usable PostgreSQL URL"):
        Dsn.parse("nonsense", source="--server")


def test_repr_and_str_hide_the_password() -> None:
    dsn = Dsn.parse("postgresql://ann:s3cret@h/app?password=s3cret")
    assert str(dsn) == dsn.masked == "postgresql://ann:***@h/app"
    assert "s3cret" not in repr(dsn)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=20))
def test_no_password_survives_masking(password: str) -> None:
    from urllib.parse import quote

    text = f"failed: postgresql://ann:{quote(password, safe='')}@h/app"
    assert mask(text, password) == "failed: postgresql://ann:***@h/app"


def test_key_value_passwords_are_masked() -> None:
    assert mask("host=h password=s3cret user=u") == "host=h password=*** user=u"
    assert mask("password='with space' user=u") == "password=*** user=u"


@pytest.mark.parametrize(
    ("url", "shown", "target"),
    [
        ("postgresql://u@good/app?host=evil", "postgresql://u@evil/app", "database app on evil:5432"),
        ("postgresql://u@h/app?dbname=other", "postgresql://u@h/other", "database other on h:5432"),
        ("postgresql://u@h/app?dbname=a&dbname=b", "postgresql://u@h/b", "database b on h:5432"),
        ("postgresql://u@h/?dbname=host%3Devil", "postgresql://u@h/host%3Devil", "database host=evil on h:5432"),
        (
            "postgresql://u@good/app?hostaddr=10.0.0.1",
            "postgresql://u@good/app?hostaddr=10.0.0.1",
            "database app on 10.0.0.1:5432",
        ),
        ("postgresql://u@a:1,b:2/app", "postgresql://u@/app?host=a,b&port=1,2", "database app on a,b:1,2"),
        ("postgresql://u@[::1]:1/app?port=2", "postgresql://u@[::1]:2/app", "database app on ::1:2"),
        ("postgresql://u@h/a%0Ab", "postgresql://u@h/a%0Ab", "database 'a\\nb' on h:5432"),
        ("postgresql://u:p%3F%23@h/a%2Fb", "postgresql://u:***@h/a%2Fb", "database a/b on h:5432"),
        ("postgresql://u@h/a?sslpassword=hunter2", "postgresql://u@h/a?sslpassword=***", "database a on h:5432"),
    ],
)
def test_what_is_shown_is_what_libpq_connects_to(url: str, shown: str, target: str) -> None:
    dsn = Dsn.parse(url)
    assert (dsn.masked, dsn.target) == (shown, target)
    assert Dsn.parse(dsn.url) == dsn
    values = conninfo_to_dict(dsn.url)
    assert (values["dbname"], values.get("user")) == (dsn.dbname, "u")
    assert values == conninfo_to_dict(url)


def test_the_environment_and_the_service_file_count_as_libpq_counts_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGHOST", "")
    assert (Dsn.parse("postgresql:///app").masked, Dsn.parse("postgresql:///app").host) == (
        "postgresql:///app",
        "localhost",
    )
    monkeypatch.setenv("PGHOST", "from-pghost")
    monkeypatch.setenv("PGPORT", "6000")
    assert Dsn.parse("postgresql:///app").masked == "postgresql://from-pghost:6000/app"
    assert Dsn.parse("postgresql://h:1/app").masked == "postgresql://h:1/app"
    monkeypatch.setenv("PGHOSTADDR", "10.0.0.1")
    assert Dsn.parse("postgresql://localhost/app").target == "database app on 10.0.0.1:6000"
    monkeypatch.delenv("PGHOSTADDR")
    (tmp_path / "services").write_text("[staging]\nhost=from-service\ndbname=other\noptions=-c role=x\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGSERVICE", "staging")
    found = Dsn.parse("postgresql:///app")
    assert (found.target, found.options) == ("database app on from-service:6000", "-c role=x")


def test_another_database_and_no_password() -> None:
    dsn = Dsn.parse("postgresql://ann:s3cret@/app?host=/run/postgresql&password=s3cret")
    assert dsn.with_database('a"b/c?d').url == "postgresql://ann:s3cret@/a%22b%2Fc%3Fd?host=/run/postgresql"
    assert dsn.without_password().url == "postgresql://ann@/app?host=/run/postgresql"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:s3cr%2Fet@db.example.com:6000/app",
        "postgresql://ann:s3cr%2Fet@db.example.com/app?hostaddr=10.0.0.1&sslmode=verify-full&options=-c%20a%3Db",
        "postgresql://ann:s3cr%2Fet@/app?host=/run/postgresql",
        "postgresql://ann:s3cr%2Fet@a:1,b:2/app",
    ],
)
def test_the_same_database_through_a_proxy(url: str) -> None:
    found = Dsn.parse(url).through_proxy("127.0.0.1", 7000)
    assert found.url == "postgresql://ann:s3cr%2Fet@127.0.0.1:7000/app?sslmode=disable"
    assert (found.host, found.hostaddr, found.port, found.options) == ("127.0.0.1", "", "7000", "")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://u:pa?ss#word@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p@ss@h/d and postgresql://v:q@h/d", "postgresql://u:***@h/d and postgresql://v:***@h/d"),
        (r"host=h password='it\'s secret' user=u", "host=h password=*** user=u"),
    ],
)
def test_odd_passwords_are_masked_too(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_a_secret_that_was_met_is_masked_wherever_it_turns_up() -> None:
    Dsn.parse("postgresql://ann:Corr%C3%A9ct%20Horse@h/app")
    assert mask("it says corréct horse, CORR%C3%A9CT%20HORSE and Corr%C3%A9ct+Horse") == "it says ***, *** and ***"


def test_a_short_one_as_a_word_only_and_a_public_one_not_at_all() -> None:
    Dsn.parse("postgresql://ann:gnat@h/app")
    assert mask("the gnat, not the stagnation") == "the ***, not the stagnation"
    assert mask("Sevens1, not in Sevens12", "Sevens1") == "***, not in Sevens12"
    assert mask("it is (b$d!), and in ab$d!", "b$d!") == "it is (***), and in a***"
    assert mask("Eight8ch, and in Eight8chs", "Eight8ch") == "***, and in ***s"
    Dsn.parse("postgresql://bookkeeper:bookkeeper@h/app")
    Dsn.parse("postgresql://ann:postgres@h/app")
    assert mask("postgres://bookkeeper at work") == "postgres://bookkeeper at work"


def test_what_is_written_down_of_it_shows_no_secret() -> None:
    dsn = Dsn.parse("postgresql://ann:hunter22@h/app?options=-c%20app.key%3Dhidden")
    assert repr(dsn) == "Dsn(host='h', hostaddr='', port='5432', dbname='app', user='ann')"


def test_the_password_is_kept_for_the_program_that_needs_it() -> None:
    assert Dsn.parse("postgresql://ann:s3cret%21@h/app").password == "s3cret!"


def test_a_complaint_of_libpqs_that_is_not_known_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbtools.db.url._COMPLAINTS", {})
    with pytest.raises(ConfigurationError) as caught:
        Dsn.parse("postgresql://u:hunter22%zz@h/d")
    assert caught.value.why == "Libpq cannot read it."


@pytest.mark.parametrize(
    "name", ["password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"]
)
def test_every_secret_of_libpq_is_masked(name: str) -> None:
    if "password" not in name and psycopg.pq.version() < 180000:
        pytest.skip("libpq has this parameter from version 18 on")
    dsn = Dsn.parse(f"postgresql://u@h/d?{name}=hunter22")
    assert "hunter22" not in dsn.masked
    assert "***" in dsn.masked
    assert "hunter22" in dsn.url
    assert "hunter22" not in f"{dsn} {dsn!r}"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("PASSWORD=hunter22 user=u", "PASSWORD=*** user=u"),
        ("Password = hunter22", "Password = ***"),
        ("?sslpassword=hunter22&x=1", "?sslpassword=***&x=1"),
        ('{"url": "password=hunter22"}', '{"url": "password=***"}'),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("http://u:p@h/a@b and c:d@e", "http://u:***@b and c:d@e"),
    ],
)
def test_secrets_are_masked_however_they_are_spelled(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_a_password_is_masked_wherever_it_stands_unless_it_is_a_common_word() -> None:
    assert mask("it is abcd", "abcd") == "it is ***"
    assert mask("it is abc", "abc") == "it is abc"
    assert mask("it is a%2Fb%20c, a/b c", "a/b c") == "it is ***, ***"
    assert mask("nothing to hide") == "nothing to hide"


def test_a_common_word_hides_nothing_and_the_environments_password_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mask("POSTGRES is up", "POSTGRES") == "POSTGRES is up"
    monkeypatch.setenv("PGPASSWORD", "from-the-environment")
    assert mask("it is From-The-Environment") == "it is ***"


def test_names_that_would_break_the_line_are_escaped() -> None:
    assert [printable(name) for name in ("app", "a b", "a\nb", "\x1b[31m")] == ["app", "a b", "'a\\nb'", "'\\x1b[31m'"]


@pytest.mark.parametrize("port", ["1", "65535", "5432,6000"])
def test_ports_that_are_ports(port: str) -> None:
    hosts = ",".join("h" for _ in port.split(","))
    assert Dsn.parse(f"postgresql:///d?host={hosts}&port={port}").port == port


@pytest.mark.parametrize("port", ["0", "65536", "-1", "5432,0", "0x10", "5432,"])
def test_ports_that_are_none(port: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a number from 1 to 65535"):
        Dsn.parse(f"postgresql:///d?host=a,b&port={port}")


def test_a_name_is_measured_in_bytes() -> None:
    assert Dsn.parse(f"postgresql://h/{'d' * 63}").dbname == "d" * 63
    assert len(Dsn.parse("postgresql://h/" + "%C3%A9" * 31).dbname) == 31
    with pytest.raises(ConfigurationError, match="longer than 63 bytes"):
        Dsn.parse("postgresql://h/" + "%C3%A9" * 32)


def test_what_is_not_said_is_libpqs_default_but_a_url_that_is_written_anew_leaves_it_out() -> None:
    dsn = Dsn.parse("postgresql:///d")
    assert (dsn.host, dsn.hostaddr, dsn.port, dsn.user, dsn.password, dsn.options) == (
        "localhost",
        "",
        "5432",
        "",
        "",
        "",
    )
    assert dsn.url == "postgresql:///d"
    assert Dsn.parse("postgresql://h/d?options=-c%20work_mem%3D64MB").options == "-c work_mem=64MB"


def on(host: str, hostaddr: str, port: int) -> psycopg.Connection:
    """What a session says of the server it is on."""
    info = SimpleNamespace(host=host, hostaddr=hostaddr, port=port, user="u", password="hunter22")
    return cast("psycopg.Connection", SimpleNamespace(info=info))


def test_the_next_session_goes_to_the_address_that_the_first_one_reached() -> None:
    """A name may have several addresses, and a list several hosts."""
    several = Dsn.parse("postgresql://u:hunter22@a:1,b:2/app?sslmode=disable")
    there = several.pinned(on("b", "10.0.0.2", 2))
    assert (there.host, there.hostaddr, there.port, there.dbname) == ("b", "10.0.0.2", "2", "app")
    assert there.target == "database app on 10.0.0.2:2"
    assert conninfo_to_dict(there.url) == {
        "user": "u", "password": "hunter22", "dbname": "app", "sslmode": "disable",
        "host": "b", "hostaddr": "10.0.0.2", "port": "2",
    }  # fmt: skip
    socket = Dsn.parse("postgresql:///app").pinned(on("/run/postgresql", "", 5432))
    assert conninfo_to_dict(socket.url) == {
        "host": "/run/postgresql", "port": "5432", "dbname": "app",
        "user": "u", "password": "hunter22",  # a service file had them
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("postgresql://[fe80::1]:5/d", "postgresql://[fe80::1]:5/d"),
        ("postgresql://a,b/d?port=1,2", "postgresql:///d?host=a,b&port=1,2"),
        ("postgresql://a/d?port=1,2", "postgresql:///d?host=a&port=1,2"),
        ("postgresql:///d?host=a%20b", "postgresql:///d?host=a%20b"),
        ("postgresql:///d?host=%C3%A9", "postgresql:///d?host=%C3%A9"),
        ("postgresql://u%40x:p%3Aq%2A@h/d", "postgresql://u%40x:p%3Aq*@h/d"),
        ("postgresql://h/d?application_name=a%26b", "postgresql://h/d?application_name=a%26b"),
    ],
)
def test_a_url_is_written_anew_so_that_libpq_reads_the_same(url: str, written: str) -> None:
    assert Dsn.parse(url).url == written
    assert Dsn.parse(written).url == written


def test_a_secret_of_the_environment_and_one_that_came_encoded_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "in the environment")
    assert mask("it is in the environment") == "it is ***"
    secrets.remember("wrapped%20twice")
    assert mask("it was wrapped twice") == "it was ***"


def test_an_example_stays_readable_and_a_password_like_it_does_not() -> None:
    assert mask(f"{HINT} and so on") == f"{HINT} and so on"
    assert mask("postgresql://ada:PASSWORD@more@db/shop") == "postgresql://ada:***@db/shop"
    assert mask("postgresql://ada:PASSWORDS@db/shop") == "postgresql://ada:***@db/shop"
