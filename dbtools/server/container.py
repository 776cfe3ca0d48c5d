"""A throwaway PostgreSQL in a container, through testcontainers.

testcontainers cleans up after kill -9 with a second container, Ryuk, whose image needs a registry. Here a small
process does it: it reads a pipe whose other end only this process holds and removes the container at its end of file.
Should that process be killed too (a CI job is ended with all it started), the container runs on; the next start sees
that nobody holds its lease and removes it. What a power cut leaves is a stopped container with our label; it goes too.
"""

from __future__ import annotations

import gc
import os
import secrets
import sys
import time
import warnings
from contextlib import suppress
from typing import Any, Self

from dbtools.dsn import Dsn, mask
from dbtools.errors import DatabaseUnreachable, ServerError
from dbtools.server import account as accounts
from dbtools.server.cluster import DATABASE, ROLE, SUPERUSER, set_passwords
from dbtools.server.lease import Lease, forget, has_living_owner
from dbtools.server.throwaway import Throwaway
from dbtools.server.watchdog import Pipe
from dbtools.wait import wait_for_db

DEFAULT_IMAGE = "postgres:16-alpine"
LABEL = "dbtools.throwaway"
START_TIMEOUT = 60.0
COMMAND = ["postgres", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]

# The container's name and the file of its lease, which stays where the container could not be removed.
_REMOVE = """
import os, sys, docker
sys.stdin.read()
try:
    docker.from_env().containers.get(sys.argv[1]).remove(force=True, v=True)
except docker.errors.NotFound:
    pass
os.unlink(sys.argv[2])
"""


def image() -> str:
    """Return the image that DBTOOLS_POSTGRES_IMAGE names, or the default."""
    return os.environ.get("DBTOOLS_POSTGRES_IMAGE") or DEFAULT_IMAGE


def why_not() -> str:
    """Return why no container can be started here ("no engine", "no image ..."), or "" where one can.

    An image that is not there is pulled. Never raises.
    """
    try:
        import docker
    except ModuleNotFoundError:
        return "no client for an engine: pip install 'dbtools[container]'"
    client = _client()
    if client is None:
        return "no engine"
    try:
        client.ping()
        try:
            client.images.get(image())
        except docker.errors.ImageNotFound:
            client.images.pull(*image().rpartition(":")[::2])
    except docker.errors.APIError:
        return f"no image {image()}"
    except (docker.errors.DockerException, OSError):
        return "no engine"
    else:
        return ""
    finally:
        client.close()


def _client() -> Any:
    """Return a client of the engine, or None where none answers."""
    import docker

    with warnings.catch_warnings():
        # A client that could not be made leaves its socket to the garbage collector, which would complain later.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return docker.from_env(timeout=60)
        except docker.errors.DockerException:
            pass
        gc.collect()  # out here, because the exception holds on to the socket
    return None


class ContainerServer(Throwaway):
    """A throwaway server in a container, its port on loopback only. See `dbtools.server.Server`.

    The passwords are in the container's environment, which whoever may use the engine can read, and on no command line.
    """

    kind = "container"

    def __init__(self, name: str, client: Any, lease: Lease, pipe: Pipe) -> None:
        self.name = name
        self.version = ""
        self.url = ""
        self.admin_url: str | None = None
        self._client = client
        self._lease = lease
        self._pipe = pipe

    @classmethod
    def start(cls, wanted: str | None = None) -> Self:
        """Return a running server of the image `wanted` (default: `image()`) whose application database is empty.

        Raises:
            ServerError: There is no engine or no such image, or the server did not come up; shows the end of its log.
        """
        client = _client()
        if client is None:
            raise ServerError(
                "A container cannot be started: there is no engine.",
                "Nothing answers at DOCKER_HOST or the default socket.",
                "Start Docker, or on Debian: scripts/container_engine; or use the embedded server.",
            )
        _sweep(client)
        name = f"dbtools-{secrets.token_hex(6)}"
        # Both before the container, so that there is no moment in which our death would leave it for good.
        lease = Lease(name)
        pipe = Pipe([sys.executable, "-c", _REMOVE, name, str(lease.path)], environment=_engine_environment())
        server = cls(name, client, lease, pipe)
        try:
            server._run(wanted or image())
        except BaseException:
            server.stop()
            raise
        return server

    def stop(self) -> None:
        """Remove the container. Calling it twice is allowed."""
        if not self._pipe.closed:
            self._pipe.close()
            self._lease.close()
            self._client.close()

    def _run(self, wanted: str) -> None:
        import docker
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        testcontainers_config.ryuk_disabled = True
        password = secrets.token_urlsafe(18)
        container = (
            DockerContainer(wanted)
            .with_name(self.name)
            .with_env("POSTGRES_USER", SUPERUSER)
            .with_env("POSTGRES_PASSWORD", password)
            .with_env("POSTGRES_DB", "postgres")
            .with_command(COMMAND)
            .with_kwargs(labels={LABEL: "true"})
        )
        # testcontainers would publish on every address of the machine.
        container.ports = {"5432/tcp": ("127.0.0.1", None)}  # type: ignore[dict-item]  # docker-py takes a pair
        try:
            container.start()
        except docker.errors.DockerException as error:
            raise ServerError(
                f"The container of image {wanted} could not be started.",
                f"{mask(' '.join(str(error).split()), password)}.",
                "Set DBTOOLS_POSTGRES_IMAGE to an image that is there; without a registry: scripts/container_image",
            ) from None
        finally:
            container.get_docker_client().client.close()
        port = self._port()
        self._await(Dsn.parse(f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/postgres", source="the container"))
        application, superuser = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
        self.admin_url = f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/postgres"
        with self._admin() as connection:
            connection.execute(f"create role {ROLE} login nosuperuser nocreatedb nocreaterole")
            connection.execute(f"create database {DATABASE} owner {ROLE}")
            connection.execute(f"comment on database {DATABASE} is 'environment=development'")
        set_passwords(port, password, application, superuser)
        self.admin_url = f"postgresql://{SUPERUSER}:{superuser}@127.0.0.1:{port}/{DATABASE}"
        self.url = f"postgresql://{ROLE}:{application}@127.0.0.1:{port}/{DATABASE}"

    def _port(self) -> int:
        found = self._client.containers.get(self.name).attrs["NetworkSettings"]["Ports"].get("5432/tcp")
        if not found:
            raise self._failed("Nothing listens in it", "")
        return int(found[0]["HostPort"])

    def _failed(self, why: str, password: str) -> ServerError:
        container = self._client.containers.get(self.name)
        lines = container.logs(tail=5).decode(errors="replace").strip().splitlines()
        # Once it has ended, how we noticed says nothing; its log does.
        reason = why if container.status == "running" else f"The container is {container.status}"
        return ServerError(
            "The server in the container did not come up.",
            f"{reason}. The end of its log: {mask(' | '.join(lines), password) or 'empty'}",
            "Try the image by hand: docker run --rm -e POSTGRES_PASSWORD=... IMAGE",
        )

    def _await(self, dsn: Dsn) -> None:
        """Return when a query answers twice: the image's first server only runs its init scripts, then restarts."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self.version = wait_for_db(dsn, timeout=2.0).partition(" ")[0]
            except DatabaseUnreachable as error:
                running = self._client.containers.get(self.name).status == "running"
                if not running or time.monotonic() > deadline:
                    raise self._failed(error.why.removesuffix(". Nothing was changed."), dsn.password) from None
            else:
                return


def _engine_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
    return accounts.clean_environment() | kept


def _sweep(client: Any) -> None:
    """Remove containers with our label whose owner is gone, and stopped ones of which we know no owner.

    What runs without a lease of ours belongs to another account or machine that uses the same engine.
    """
    import docker

    for container in client.containers.list(all=True, filters={"label": f"{LABEL}=true"}, ignore_removed=True):
        lives = has_living_owner(container.name)
        if lives is False or (lives is None and container.status in {"exited", "dead"}):
            # Somebody else's start may be removing it at this moment.
            with suppress(docker.errors.APIError):
                container.remove(force=True, v=True)
                forget(container.name)
