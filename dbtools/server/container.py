"""A throwaway PostgreSQL in a container, through testcontainers.

testcontainers cleans up after kill -9 with a second container, Ryuk, whose image needs a registry. Here a small
process does it: it reads a pipe whose other end only this process holds and removes the container at its end of file.
Should that process be killed too (a CI job is ended with all it started), the container runs on; the next start sees
that nobody holds its lease and removes it. What a power cut leaves is a stopped container with our label; it goes too.
"""

from __future__ import annotations

import secrets
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from dbtools.db.dsn import Dsn, mask
from dbtools.db.wait import wait_for_db
from dbtools.errors import DatabaseUnreachable, ServerError
from dbtools.server import engine, folders, run_as
from dbtools.server.base import EphemeralServer
from dbtools.server.cluster import DATABASE, ROLE, SETUP, SUPERUSER, set_passwords
from dbtools.server.lease import Lease, is_held
from dbtools.server.watchdog import Watchdog

if TYPE_CHECKING:
    from pathlib import Path

LABEL = "dbtools.throwaway"
START_TIMEOUT = 60.0
MEMORY = "/pgdata"
"""Where the container's tmpfs is: the official image keeps its data elsewhere since version 18, so we say where."""
COMMAND = ["postgres", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]

# argv: the container's name, and the file of its lease, which stays where the container could not be removed.
_REMOVE = """
import os, sys, docker
sys.stdin.read()
try:
    docker.from_env().containers.get(sys.argv[1]).remove(force=True, v=True)
except docker.errors.NotFound:
    pass
os.unlink(sys.argv[2])
"""


class ContainerServer(EphemeralServer):
    """A throwaway server in a container, its port on loopback only. See `dbtools.server.Server`.

    Whoever may use the engine can read a container's environment, so the password there is changed before the server
    is handed out. None is on a command line.
    """

    kind = "container"

    def __init__(self, name: str, client: Any, lease: Lease, pipe: Watchdog) -> None:
        self.name = name
        self.version = ""
        self.url = ""
        self.admin_url: str | None = None
        self._client = client
        self._lease = lease
        self._pipe = pipe

    @classmethod
    def start(cls, wanted: str | None = None) -> Self:
        """Return a running server of an image (default: `engine.image()`) whose application database is empty.

        Raises:
            ServerError: There is no engine or no such image, or the server did not come up; shows the end of its log.
        """
        client = engine.connect(timeout=engine.TIMEOUT)
        if client is None:
            raise ServerError(
                "A container cannot be started: there is no engine.",
                "Nothing answers at DOCKER_HOST or the default socket.",
                "Start Docker, or on Debian: scripts/container_engine; or use the embedded server.",
            )
        if host := engine.distant(client):
            client.close()
            raise ServerError(
                f"A container cannot be started: the engine is on another machine, {host}.",
                "The server's port is published on that machine's loopback only, where nothing here could reach it.",
                "Unset DOCKER_HOST, or use the embedded server.",
            )
        _sweep(client)
        name = f"dbtools-{secrets.token_hex(6)}"
        # Both before the container, so that there is no moment in which our death would leave it for good.
        lease = Lease(_lease(name))
        environment = run_as.clean_environment() | engine.variables()
        pipe = Watchdog([sys.executable, "-c", _REMOVE, name, str(lease.path)], environment=environment)
        server = cls(name, client, lease, pipe)
        try:
            server._run(wanted or engine.image())
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
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        password = secrets.token_urlsafe(18)
        container = (
            DockerContainer(wanted)
            .with_name(self.name)
            .with_env("POSTGRES_USER", SUPERUSER)
            .with_env("POSTGRES_PASSWORD", password)
            .with_env("POSTGRES_DB", "postgres")
            .with_env("PGDATA", f"{MEMORY}/data")
            .with_tmpfs_mount(MEMORY)
            .with_command(COMMAND)
            .with_kwargs(labels={LABEL: "true"})
        )
        # testcontainers would publish on every address of the machine.
        container.ports = {"5432/tcp": ("127.0.0.1", None)}  # type: ignore[dict-item]  # docker-py takes a pair
        others = testcontainers_config.ryuk_disabled
        testcontainers_config.ryuk_disabled = True
        try:
            container.start()
        except engine.failures() as error:
            raise ServerError(
                f"The container of image {wanted} could not be started.",
                f"{mask(' '.join(str(error).split()), password)}.",
                "Set DBTOOLS_POSTGRES_IMAGE to an image that is there; without a registry: scripts/container_image",
            ) from None
        finally:
            # Containers that this process starts by other means keep their Ryuk.
            testcontainers_config.ryuk_disabled = others
            container.get_docker_client().client.close()
        port = self._port()
        self._await(Dsn.parse(f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/postgres", source="the container"))
        application, superuser = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
        self.admin_url = f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/postgres"
        with self._admin() as connection:
            for statement in SETUP.splitlines():
                connection.execute(statement)
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
                    raise self._failed(error.why.removesuffix("."), dsn.password) from None
            else:
                return


def _lease(name: str) -> Path:
    # In the home of whoever calls, also as root: no server has to reach it.
    folder = run_as.Account("self").cache / "leases"
    folders.make(folder, folders.PRIVATE)
    return folder / name


def _sweep(client: Any) -> None:
    """Remove containers with our label whose owner is gone, and stopped ones of which we know no owner.

    What runs without a lease of ours belongs to another account or machine that uses the same engine.
    A lease stays, an empty file, where its container went with its engine.
    """
    import docker

    for container in client.containers.list(all=True, filters={"label": f"{LABEL}=true"}, ignore_removed=True):
        lease = _lease(container.name)
        held = is_held(lease)
        if held is False or (held is None and container.status in {"exited", "dead"}):
            # Somebody else's start may be removing it at this moment.
            with suppress(docker.errors.APIError):
                container.remove(force=True, v=True)
                lease.unlink(missing_ok=True)
