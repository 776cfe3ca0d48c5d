"""The engine that containers run on: where it is, whether it answers, and which image is wanted of it."""

from __future__ import annotations

import gc
import os
import warnings
from typing import Any
from urllib.parse import urlsplit

DEFAULT_IMAGE = "postgres:16-alpine"
PROBE_TIMEOUT = 5.0
TIMEOUT = 60.0
"""Seconds of silence, not of a whole pull."""


def image() -> str:
    """Return the image that DBTOOLS_POSTGRES_IMAGE names, or the default."""
    return os.environ.get("DBTOOLS_POSTGRES_IMAGE") or DEFAULT_IMAGE


def why_not() -> str:
    """Return why no container can be started here ("no engine", "no image ..."), or "" where one can.

    An engine that is silent for 5 s is none. An image that is not there is pulled. Never raises.
    """
    try:
        import docker
        import testcontainers  # noqa: F401 - its presence is the question
    except ModuleNotFoundError:
        return "no client for an engine: pip install 'dbtools[container]'"
    client = connect(timeout=PROBE_TIMEOUT)
    if client is None:
        return "no engine"
    try:
        if host := distant(client):
            return f"the engine is on another machine, {host}"
        try:
            client.images.get(image())
        except docker.errors.ImageNotFound:
            client.api.timeout = TIMEOUT
            client.images.pull(image())
    except failures():
        return f"no image {image()}"
    else:
        return ""
    finally:
        client.close()


def failures() -> tuple[type[Exception], ...]:
    """Return what a call to the engine may raise; a connection that breaks in mid-answer comes as urllib3 has it."""
    from docker.errors import DockerException
    from urllib3.exceptions import HTTPError

    return DockerException, HTTPError, OSError


def variables() -> dict[str, str]:
    """Return the variables that name the engine, as testcontainers finds it: also by the current Docker context."""
    from testcontainers.core.docker_client import get_docker_host

    kept = {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
    host = get_docker_host()
    return kept | ({"DOCKER_HOST": host} if host else {})


def connect(*, timeout: float) -> Any:
    """Return a client of the engine, or None where none answers within `timeout` seconds."""
    import docker

    with warnings.catch_warnings():
        # A client that could not be made leaves its socket to the garbage collector, which would complain later.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return docker.from_env(timeout=timeout, environment=variables())
        except failures():
            pass
        gc.collect()  # out here, because the exception holds on to the socket
    return None


def distant(client: Any) -> str:
    """Return the host of an engine on another machine, whose loopback is not ours, or "" for one on this machine."""
    url = urlsplit(client.api.base_url)
    local = url.scheme == "http+docker" and url.hostname != "ssh"  # a socket or a named pipe
    return "" if local or url.hostname in {"localhost", "127.0.0.1", "::1"} else str(url.hostname)
