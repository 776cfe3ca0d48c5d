"""Programs that are no Python: whatever their arguments or settings name, psql and Node work on the step's database."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dbtools.build.child import run_step
from dbtools.build.programs import find_program
from dbtools.build.record import Record
from dbtools.config import Project
from dbtools.config.steps import Step
from dbtools.db.dsn import Dsn
from dbtools.errors import StepFailed
from dbtools.server import Server

TABLES = "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1"
PSQL = """
set -e
export PGPASSWORD=$P PGSERVICE=nowhere PGOPTIONS='-c search_path=public,pg_temp'
createdb -h $H -p $PORT -U $U trap_of_clients
psql -h $H -p $PORT -U $U -d postgres -c 'DROP DATABASE IF EXISTS trap_of_clients;'
psql -XqAt -v n=1 -h$H -p$PORT -U$U -d trap_of_clients -c 'create table a ()' -c 'show search_path' -F ''
psql --no-psqlrc -q --host $H --port=$PORT --user=$U trap_of_clients < b.sql
psql -X1q "postgresql://$U:$P@$H:$PORT/trap_of_clients" -f c.sql
psql -Xqc 'create table d ()' "host=$H port=$PORT user=$U password='$P' dbname = trap_of_clients options='-c role=none'"
psql -Xqc 'create table e ()' trap_of_clients $U
pg_restore --create --clean --if-exists -h $H -p $PORT -U $U -d postgres f.dump
pg_restore f.dump -f - | grep -q 'CREATE TABLE public.f'
"""
# A client of the protocol without a driver: it says where it goes, and proves its password by SCRAM.
NODE = """
const net = require("net"), crypto = require("crypto");
const { H: host, PORT: port, U: user, P: password } = process.env;
const packet = (type, body) => {
  const bytes = Buffer.alloc(type.length + 4 + body.length);
  bytes.write(type); bytes.writeInt32BE(4 + body.length, type.length); body.copy(bytes, type.length + 4);
  return bytes;
};
const hmac = (key, text) => crypto.createHmac("sha256", key).update(text).digest();
const version = Buffer.from([0, 3, 0, 0]);
const socket = FORM;
const startup = Buffer.from(`user\\0${user}\\0database\\0trap_of_clients\\0\\0`);
let first = "n=,r=abcdefgh", waiting = Buffer.alloc(0);
socket.on("connect", () => socket.write(packet("", Buffer.concat([version, startup]))));
socket.on("error", (error) => { console.log(error.message); process.exitCode = 3; });
socket.on("data", (data) => {
  waiting = Buffer.concat([waiting, data]);
  while (waiting.length > 4 && waiting.length > waiting.readInt32BE(1)) {
    const size = waiting.readInt32BE(1) + 1, type = String.fromCharCode(waiting[0]), body = waiting.subarray(5, size);
    waiting = waiting.subarray(size);
    if (type === "E") { console.log(body.toString()); socket.end(); }
    if (type === "Z" && first) { first = ""; socket.write(packet("Q", Buffer.from("create table node ()\\0"))); }
    else if (type === "Z") socket.end();
    if (type !== "R") continue;
    if (body.readInt32BE(0) === 10) {
      const head = Buffer.from("SCRAM-SHA-256\\0\\0\\0\\0\\0");
      head.writeInt32BE(3 + first.length, 14);
      socket.write(packet("p", Buffer.concat([head, Buffer.from("n,," + first)])));
    } else if (body.readInt32BE(0) === 11) {
      const server = body.toString("utf8", 4), [, nonce, salt, count] = /r=(.*),s=(.*),i=(.*)/.exec(server);
      const salted = crypto.pbkdf2Sync(password, Buffer.from(salt, "base64"), Number(count), 32, "sha256");
      const key = hmac(salted, "Client Key"), last = `c=biws,r=${nonce}`;
      const proof = hmac(crypto.createHash("sha256").update(key).digest(), `${first},${server},${last}`);
      const mixed = key.map((byte, at) => byte ^ proof[at]);
      socket.write(packet("p", Buffer.from(`${last},p=${Buffer.from(mixed).toString("base64")}`)));
    }
  }
});
"""


@pytest.fixture
def trap(pg_server: Server) -> Iterator[str]:
    """The database that the programs name."""
    yield pg_server.create_database("trap_of_clients")
    pg_server.drop_database("trap_of_clients")


@pytest.fixture(autouse=True)
def _psql_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{find_program('psql', 16).parent}:{os.environ['PATH']}")


def run(folder: Path, url: str, trap: str, *words: str, **parts: str) -> None:
    """Run a step on the database at `url`; its variables H, PORT, U and P name `trap`."""
    given = Dsn.parse(trap)
    env = {"H": given.host, "PORT": given.port, "U": given.user, "P": given.password, **parts}
    step = Step("command", words, folder, env)
    run_step(step, Dsn.parse(url), Project(folder), workspace=folder, record=folder / "record", label="seed 1 of 1")


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [str(name) for (name,) in connection.execute(TABLES)]


def test_clients_of_a_script_are_led(tmp_path: Path, pg_database: str, trap: str) -> None:
    (tmp_path / "run.sh").write_text(PSQL)
    (tmp_path / "b.sql").write_text("create table b ();")
    (tmp_path / "c.sql").write_text("create table c ();")
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("create table f ()")
    dump = [str(find_program("pg_dump", 16)), "-Fc", "-f", "f.dump", pg_database]
    run(tmp_path, pg_database, trap, *dump)
    run(tmp_path, pg_database, trap, "sh", "run.sh")
    assert tables(pg_database) == ["a", "b", "c", "d", "e", "f"]
    assert tables(trap) == []
    record = Record.read(tmp_path / "record")
    place = Dsn.parse(trap)
    assert f"psql {place.user}@{place.host}:{place.port}/trap_of_clients" in record.led
    assert not record.is_complete


def test_a_python_program_leads_its_psql_in_any_environment(tmp_path: Path, pg_database: str, trap: str) -> None:
    (tmp_path / "seed.py").write_text(
        "import os, subprocess\n"
        "words = ['psql', '-Xq', '-h', os.environ['H'], '-p', os.environ['PORT'], '-U', os.environ['U'], '-c']\n"
        "path = os.environ['PATH'].partition(':')[2]\n"
        "for name, more in ('a', {}), ('b', {'PATH': path}):\n"
        "    given = {'PGPASSWORD': os.environ['P'], 'PATH': os.environ['PATH'], **more}\n"
        "    subprocess.run([*words, f'create table {name} ()', 'trap_of_clients'], check=True, env=given)\n"
    )
    run(tmp_path, pg_database, trap, "python", "seed.py")
    assert (tables(pg_database), tables(trap)) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("psql", "-f", "x.sql"), "x.sql:2 connects to another one: \\connect shop"),
        (("psql", "--shiny"), "option --shiny not recognized"),
    ],
)
def test_a_client_that_cannot_be_led_is_refused(
    tmp_path: Path, pg_database: str, trap: str, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "x.sql").write_text("create table x ();\n\\connect shop\n")
    with pytest.raises(StepFailed) as caught:
        run(tmp_path, pg_database, trap, *words)
    assert caught.value.why == (
        f"Its last lines:\n    dbtools: cannot lead psql to the database of the step: {said}\n"
        "It ended with exit code 2."
    )
    assert tables(pg_database) == []


needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no Node")


@needs_node
@pytest.mark.parametrize("form", ["net.connect(port, host)", "net.connect({ host, port }).setNoDelay()"])
def test_node_is_led_on_the_server_of_the_step(tmp_path: Path, pg_database: str, trap: str, form: str) -> None:
    (tmp_path / "seed.js").write_text(NODE.replace("FORM", form))
    run(tmp_path, pg_database, trap, "node", "seed.js")
    assert (tables(pg_database), tables(trap)) == (["node"], [])
    record, place = Record.read(tmp_path / "record"), Dsn.parse(trap)
    assert record.led == {f"node {place.user}@{place.host}:{place.port}/trap_of_clients"}
    assert not record.is_complete


@needs_node
def test_node_is_refused_a_connection_to_another_server(tmp_path: Path, pg_database: str, trap: str) -> None:
    (tmp_path / "seed.js").write_text(NODE.replace("FORM", "net.connect(port, host)"))
    other, place = Dsn.parse(pg_database).url.replace("127.0.0.1", "10.9.8.7"), Dsn.parse(trap)
    assert "10.9.8.7" in other
    with pytest.raises(StepFailed) as caught:
        run(tmp_path, other, trap, "node", "seed.js")
    assert caught.value.why == (
        f"Its last lines:\n    dbtools refused a connection to {place.user}@{place.host}:{place.port}/trap_of_clients:"
        " a step works on the database of DATABASE_URL\nIt ended with exit code 3."
    )
    assert caught.value.hint == (
        "Have it take its database from DATABASE_URL, which no .env file may override, or map its variables:"
        ' [tool.dbtools] env = { DB_NAME = "{dbname}", DB_HOST = "{host}", DB_PORT = "{port}" }'
    )
