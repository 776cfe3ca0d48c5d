"""What is said of an engine that is not there or is of no use."""

from __future__ import annotations

from contextlib import closing

import docker
import pytest

from dbtools.errors import ServerError
from dbtools.server import engine
from dbtools.server.container import ContainerServer


@pytest.mark.parametrize(
    "host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", "nonsense://x", "ssh://127.0.0.1:1"]
)
def test_no_engine_is_a_reason_and_not_an_error(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert engine.why_not() == "no engine"


def test_a_start_without_an_engine_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(ServerError) as caught:
        ContainerServer.start()
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
        assert engine.remote_host(type("Client", (), {"api": api})) == distant


def test_a_start_on_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def client(*, timeout: float) -> docker.DockerClient:
        return docker.DockerClient(base_url="tcp://docker:2375", version="1.41", timeout=timeout)

    monkeypatch.setattr(engine, "connect", client)
    assert engine.why_not() == "the engine is on another machine, docker"
    with pytest.raises(ServerError) as caught:
        ContainerServer.start()
    assert str(caught.value) == (
        "A container cannot be started: the engine is on another machine, docker.\n"
        "The server's port is published on that machine's loopback only, where nothing here could reach it.\n"
        "Unset DOCKER_HOST, or use the embedded server."
    )


def test_an_empty_variable_means_the_default_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBTOOLS_POSTGRES_IMAGE", "")
    assert engine.image() == "postgres:16-alpine"
    monkeypatch.setenv("DBTOOLS_POSTGRES_IMAGE", "postgres:18")
    assert engine.image() == "postgres:18"
