"""The container engine: where it is, whether it answers, and which image to run."""

from __future__ import annotations

import gc
import os
import warnings
from typing import Any
from urllib.parse import urlsplit

from dbtools.server.requirements import DEFAULT_MAJOR

DEFAULT_IMAGE = "postgres:{major}-alpine"
PROBE_TIMEOUT_S = 5.0
TIMEOUT_S = 60.0
"""How long the engine may be silent; a whole pull may take longer."""


def image(major: int = DEFAULT_MAJOR) -> str:
    """Return the image that DBTOOLS_POSTGRES_IMAGE names, or the official one of the version."""
    return os.environ.get("DBTOOLS_POSTGRES_IMAGE") or DEFAULT_IMAGE.format(major=major)


def why_not(wanted: str | None = None) -> str:
    """Return why no container of an image can be started here ("no engine", "no image ..."), or "" if one can.

    Pulls the image if it is missing. An engine that is silent for 5 s counts as missing. Never raises.
    """
    try:
        import docker
        import testcontainers  # noqa: F401 - only to see whether it is installed
    except ModuleNotFoundError:
        return "no client for an engine: pip install 'dbtools[container]'"
    wanted = wanted or image()
    client = connect(timeout=PROBE_TIMEOUT_S)
    if client is None:
        return "no engine"
    try:
        if host := remote_host(client):
            return f"the engine is on another machine, {host}"
        try:
            client.images.get(wanted)
        except docker.errors.ImageNotFound:
            client.api.timeout = TIMEOUT_S
            client.images.pull(wanted)
    except error_types():
        return f"no image {wanted}"
    else:
        return ""
    finally:
        client.close()


def error_types() -> tuple[type[Exception], ...]:
    """Return the errors of calls to the engine; urllib3's own show when a connection breaks during an answer."""
    from docker.errors import DockerException
    from urllib3.exceptions import HTTPError

    return DockerException, HTTPError, OSError


def environment() -> dict[str, str]:
    """Return the variables that name the engine. Like testcontainers, follow the current Docker context."""
    from testcontainers.core.docker_client import get_docker_host

    kept = {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
    host = get_docker_host()
    return kept | ({"DOCKER_HOST": host} if host else {})


def connect(*, timeout: float) -> Any:
    """Return a client of the engine, or None if no engine answers within `timeout` seconds."""
    import docker

    with warnings.catch_warnings():
        # A client that fails in its constructor leaves its socket to the garbage collector, which warns about it.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return docker.from_env(timeout=timeout, environment=environment())
        except error_types():
            pass
        gc.collect()  # after the except block: until then the exception refers to the socket
    return None


def remote_host(client: Any) -> str:
    """Return the host of an engine on another machine, or "" if the engine shares our loopback."""
    url = urlsplit(client.api.base_url)
    local = url.scheme == "http+docker" and url.hostname != "ssh"  # a socket or a named pipe
    return "" if local or url.hostname in {"localhost", "127.0.0.1", "::1"} else str(url.hostname)
