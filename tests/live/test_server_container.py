"""PostgreSQL in a container, on a real Docker engine; skipped where there is none, a failure in CI."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dbtools.db.dsn import Dsn
from dbtools.errors import ServerError
from dbtools.server import sources
from dbtools.server.container import LABEL, ContainerServer, lease_path
from dbtools.server.engine import image, why_not
from dbtools.server.lease import is_held
from dbtools.server.requirements import Requirements
from dbtools.server.throwaway import start_throwaway
from tests.support.waiting import LIMIT_S, until

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.container

PARENT = """
import time
from dbtools.server.container import ContainerServer
server = ContainerServer.start()
print(server.name, server._watchdog.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module", autouse=True)
def can_start() -> None:
    # Asked by the first test, not by the collection: the answer may take a pull of the image.
    if reason := why_not():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"container: {reason}")


@pytest.fixture(scope="module")
def server() -> Iterator[ContainerServer]:
    with ContainerServer.start() as server:
        yield server


@pytest.fixture
def engine() -> Iterator[Any]:
    import docker

    client = docker.from_env()
    yield client
    client.close()


def scalar(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def names(engine: Any) -> set[str]:
    """The containers of the harness, of everybody who uses this engine."""
    label = {"label": f"{LABEL}=true"}
    return {container.name for container in engine.containers.list(all=True, filters=label, ignore_removed=True)}


@contextmanager
def parent() -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Another process with a server of its own: the process, the container's name, the watchdog's process id."""
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        name, watchdog = process.stdout.readline().split()
        try:
            yield process, name, int(watchdog)
        finally:
            process.kill()


def wait_until_gone(engine: Any, name: str) -> None:
    until(lambda: name not in names(engine), f"container {name} was left behind")


def test_it_is_postgresql_16_and_the_role_is_no_superuser(server: ContainerServer) -> None:
    assert server.version.startswith("16.")
    assert scalar(server.url, "select rolsuper from pg_roles where rolname = current_user") is False
    owner = "select pg_get_userbyid(datdba) = current_user from pg_database where datname = current_database()"
    assert scalar(server.url, owner) is True


def test_its_port_is_on_loopback_only(server: ContainerServer, engine: Any) -> None:
    ports = engine.containers.get(server.name).attrs["NetworkSettings"]["Ports"]["5432/tcp"]
    assert {port["HostIp"] for port in ports} == {"127.0.0.1"}


def test_another_address_of_this_machine_is_refused(server: ContainerServer) -> None:
    port = int(Dsn.parse(server.url).port)
    socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S).close()
    with pytest.raises(ConnectionRefusedError):  # 127.0.0.2 is this machine as well
        socket.create_connection(("127.0.0.2", port), timeout=LIMIT_S)


def test_its_data_is_in_memory(server: ContainerServer, engine: Any) -> None:
    path = scalar(server.admin_url, "select current_setting('data_directory')")
    found = engine.containers.get(server.name).exec_run(["stat", "-f", "-c", "%T", str(path)])
    assert found.output.decode().strip() == "tmpfs"


def test_other_containers_of_this_process_keep_their_ryuk(server: ContainerServer) -> None:
    from testcontainers.core.config import testcontainers_config

    assert testcontainers_config.ryuk_disabled is bool(os.environ.get("TESTCONTAINERS_RYUK_DISABLED"))


def test_a_wrong_password_is_refused(server: ContainerServer) -> None:
    secret = Dsn.parse(server.url).password
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url.replace(secret, "wrong"))


def test_databases_come_and_go(server: ContainerServer) -> None:
    url = server.create_database("extra")
    assert scalar(url, "select current_database()") == "extra"
    server.drop_database("extra")
    assert scalar(server.url, "select count(*) from pg_database where datname = 'extra'") == 0


def test_no_password_in_its_log(server: ContainerServer, engine: Any) -> None:
    log = engine.containers.get(server.name).logs().decode()
    for url in (server.url, server.admin_url):
        assert Dsn.parse(url).password not in log


def test_the_password_in_its_environment_is_of_no_use(server: ContainerServer, engine: Any) -> None:
    environment = engine.containers.get(server.name).attrs["Config"]["Env"]
    (secret,) = (entry.partition("=")[2] for entry in environment if entry.startswith("POSTGRES_PASSWORD="))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.admin_url, password=secret)


def test_stop_removes_it_and_may_be_called_twice(engine: Any) -> None:
    server = ContainerServer.start()
    assert server.name in names(engine)
    server.stop()
    server.stop()
    assert server.name not in names(engine)


def test_kill_9_of_the_parent_removes_it(engine: Any) -> None:
    with parent() as (process, name, _):
        assert name in names(engine)
        process.kill()
        process.wait()
        wait_until_gone(engine, name)


def test_a_running_leftover_is_removed_by_the_next_start_and_what_is_in_use_is_not(
    server: ContainerServer, engine: Any
) -> None:
    with parent() as (process, name, watchdog):
        os.kill(watchdog, signal.SIGKILL)
        ContainerServer.start().stop()
        assert name in names(engine)
        process.kill()
        process.wait()
        assert is_held(lease_path(name)) is False
        ContainerServer.start().stop()
    assert name not in names(engine)
    assert is_held(lease_path(name)) is None
    assert server.name in names(engine)


def test_a_stopped_leftover_is_removed_by_the_next_start(engine: Any) -> None:
    left = engine.containers.run(image(), ["postgres"], detach=True, labels={LABEL: "true"})
    left.stop(timeout=0)
    assert left.name in names(engine)
    ContainerServer.start().stop()
    assert left.name not in names(engine)


def test_it_has_the_extensions_and_the_settings_that_are_required() -> None:
    requirements = Requirements(extensions=("vector",), settings={"work_mem": "7MB"})
    with ContainerServer.start(requirements=requirements, settings={"jit": "off"}) as server:
        for url in (server.url, server.create_database("another")):
            assert scalar(url, "select current_user || vector_dims('[1,2,3]'::vector)") == "app3"
        assert [scalar(server.url, f"show {name}") for name in ("work_mem", "jit")] == ["7MB", "off"]


def test_an_image_without_what_is_required_is_refused_and_nothing_is_left(engine: Any) -> None:
    before = names(engine)
    with pytest.raises(ServerError) as caught:
        ContainerServer.start(requirements=Requirements(18, ("vector", "no_such")))
    assert names(engine) <= before
    assert str(caught.value) == (
        f"The image {image()} does not have what is required.\n"
        "It has PostgreSQL 16, without no_such.\n"
        "Name one that does in DBTOOLS_POSTGRES_IMAGE, such as pgvector/pgvector:pg16 for vector."
    )


def test_it_is_taken_where_no_programs_on_this_machine_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "sources", lambda: iter(()))
    with start_throwaway(Requirements(extensions=("vector",)), bare=True) as server:
        assert server.kind == "container"
        assert scalar(server.url, "select count(*) from pg_extension where extname = 'vector'") == 0
        assert scalar(server.url, "select count(*) from pg_available_extensions where name = 'vector'") == 1
    with pytest.raises(ServerError) as caught:
        start_throwaway(Requirements(17))
    assert f". A container: The image {image()} does not have what is required. It has PostgreSQL 16." in str(
        caught.value
    )


def test_an_image_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(ServerError) as caught:
        ContainerServer.start("localhost:1/no/such/image:1")
    assert caught.value.what == "The container of image localhost:1/no/such/image:1 could not be started."
    assert caught.value.hint == (
        "Set DBTOOLS_POSTGRES_IMAGE to an image that is there; without a registry: scripts/container_image"
    )


def test_a_container_that_ends_shows_the_end_of_its_log(engine: Any) -> None:
    engine.images.get(image()).tag("dbtools/broken", "test")
    broken = engine.containers.create(
        "dbtools/broken:test", ["postgres"], entrypoint=["/bin/sh", "-c", "echo no room; exit 3"]
    )
    try:
        broken.commit("dbtools/broken", "test", changes='ENTRYPOINT ["/bin/sh", "-c", "echo no room; exit 3"]')
        with pytest.raises(ServerError) as caught:
            ContainerServer.start("dbtools/broken:test")
        left = engine.containers.list(all=True, filters={"ancestor": "dbtools/broken:test", "label": LABEL})
        assert left == []
    finally:
        broken.remove(force=True)
        engine.images.remove("dbtools/broken:test", force=True)
    assert caught.value.what == "The server in the container did not come up."
    assert caught.value.reason == "The container is exited. The end of its log: no room"
