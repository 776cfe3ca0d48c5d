"""What is said of an engine that is not there or is of no use, and what a lease tells of its owner."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import docker
import pytest

from dbtools.errors import ServerError
from dbtools.server import container
from dbtools.server.lease import Lease, forget, has_living_owner

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    "host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", "nonsense://x", "ssh://127.0.0.1:1"]
)
def test_no_engine_is_a_reason_and_not_an_error(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert container.why_not() == "no engine"


def test_a_start_without_an_engine_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(ServerError) as caught:
        container.ContainerServer.start()
    assert str(caught.value) == (
        "A container cannot be started: there is no engine.\n"
        "Nothing answers at DOCKER_HOST or the default socket.\n"
        "Start Docker, or on Debian: scripts/container_engine; or use the embedded server."
    )


@pytest.mark.parametrize(
    ("host", "distant"),
    [
        ("unix:///var/run/docker.sock", ""),
        ("tcp://localhost:2375", ""),
        ("tcp://127.0.0.1:2375", ""),
        ("tcp://[::1]:2375", ""),
        ("tcp://docker:2375", "docker"),
        ("tcp://192.0.2.7:2375", "192.0.2.7"),
    ],
)
def test_an_engine_on_another_machine_is_told_from_one_on_this(host: str, distant: str) -> None:
    with closing(docker.APIClient(base_url=host, version="1.41")) as api:  # with a version given it asks nothing
        assert container._distant(type("Client", (), {"api": api})) == distant


def test_a_start_on_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def client(*, timeout: float) -> docker.DockerClient:
        return docker.DockerClient(base_url="tcp://docker:2375", version="1.41", timeout=timeout)

    monkeypatch.setattr(container, "_client", client)
    assert container.why_not() == "the engine is on another machine, docker"
    with pytest.raises(ServerError) as caught:
        container.ContainerServer.start()
    assert str(caught.value) == (
        "A container cannot be started: the engine is on another machine, docker.\n"
        "The server's port is published on that machine's loopback only, where nothing here could reach it.\n"
        "Unset DOCKER_HOST, or use the embedded server."
    )


def test_an_empty_variable_means_the_default_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBTOOLS_POSTGRES_IMAGE", "")
    assert container.image() == "postgres:16-alpine"
    monkeypatch.setenv("DBTOOLS_POSTGRES_IMAGE", "postgres:18")
    assert container.image() == "postgres:18"


def test_a_lease_ends_with_its_owner_also_by_kill_9(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert has_living_owner("one") is None
    code = "import time; from dbtools.server.lease import Lease; one = Lease('one'); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        assert has_living_owner("one") is True
        owner.kill()
    assert has_living_owner("one") is False
    forget("one")
    assert has_living_owner("one") is None


def test_a_lease_may_be_closed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lease = Lease("one")
    assert has_living_owner("one") is True
    lease.close()
    lease.close()
    assert has_living_owner("one") is False
