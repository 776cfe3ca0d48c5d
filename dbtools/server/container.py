"""A throwaway PostgreSQL in a container, through testcontainers.

To clean up after kill -9, testcontainers starts a second container, Ryuk, whose image needs a registry. Here a watchdog
process (`dbtools.server.watchdog`) removes the container instead. If the watchdog is killed too (a CI job ends with
every process it started), the container runs on; the next start finds that its lease is free and removes it. A power
cut leaves a stopped container with our label, which the next start removes as well.
"""

from __future__ import annotations

import secrets
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from dbtools.db.dsn import Dsn
from dbtools.db.secrets import mask
from dbtools.db.wait import wait_for_db
from dbtools.errors import DatabaseUnreachable, ServerError
from dbtools.server import engine, folders, run_as
from dbtools.server.base import EphemeralServer
from dbtools.server.cluster import ROLE, SETUP, SUPERUSER, local_url, set_passwords
from dbtools.server.extensions import make_extensions
from dbtools.server.lease import Lease, is_held
from dbtools.server.requirements import NONE
from dbtools.server.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dbtools.server.requirements import Requirements

LABEL = "dbtools.throwaway"
START_TIMEOUT_S = 60.0
TMPFS = "/pgdata"
"""Where the container keeps its data, in memory. We set it, as the official image moved its folder in version 18."""
COMMAND = ["postgres", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]

# argv: the container's name, and the file of its lease, which stays if the container could not be removed.
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

    Every user of the engine can read a container's environment, so `start` changes the password given there before it
    returns the server. No password is on a command line.
    """

    kind = "container"

    def __init__(self, name: str, client: Any, lease: Lease, watchdog: Watchdog) -> None:
        self.name = name
        self.version = ""
        self.url = ""
        self.admin_url = ""
        self._client = client
        self._lease = lease
        self._watchdog = watchdog

    @classmethod
    def start(
        cls,
        wanted: str | None = None,
        requirements: Requirements = NONE,
        *,
        settings: Mapping[str, str] | None = None,
        bare: bool = False,
    ) -> Self:
        """Return a running server of the image `wanted` (default: `engine.image()`).

        Its application database is empty but for the extensions; with `bare` they are only there to be made. `settings`
        override those that are required.

        Raises:
            ServerError: There is no engine or no such image, or the server did not come up; shows the end of its log.
                Or it does not have what is required: only a running server of an image can say what it has.
        """
        client = engine.connect(timeout=engine.TIMEOUT_S)
        if client is None:
            raise ServerError(
                "A container cannot be started: there is no engine.",
                "Nothing answers at DOCKER_HOST or the default socket.",
                "Start Docker, or on Debian: scripts/container_engine; or use the embedded server.",
            )
        if host := engine.remote_host(client):
            client.close()
            raise ServerError(
                f"A container cannot be started: the engine is on another machine, {host}.",
                "The server's port is published on that machine's loopback only, where nothing here could reach it.",
                "Unset DOCKER_HOST, or use the embedded server.",
            )
        _sweep(client)
        name = f"dbtools-{secrets.token_hex(6)}"
        # Lease and watchdog come before the container: our death at any moment leaves nothing for good.
        lease = Lease(lease_path(name))
        environment = run_as.clean_environment() | engine.environment()
        watchdog = Watchdog([sys.executable, "-c", _REMOVE, name, str(lease.path)], environment=environment)
        server = cls(name, client, lease, watchdog)
        try:
            wanted = wanted or engine.image(requirements.version)
            server._run(wanted, {**requirements.settings, **(settings or {})})
            server._check(wanted, requirements)
            if not bare:
                server.extensions = requirements.extensions
                make_extensions(server.admin_url, server.extensions)
        except BaseException:
            server.stop()
            raise
        return server

    def stop(self) -> None:
        """Remove the container. A second call does nothing."""
        if not self._watchdog.closed:
            self._watchdog.close()
            self._lease.close()
            self._client.close()

    def _check(self, wanted: str, requirements: Requirements) -> None:
        major = int(self.version.partition(".")[0])
        with self.connect_admin() as connection:
            there = {str(name) for (name,) in connection.execute("select name from pg_available_extensions")}
        missing = ", ".join(name for name in requirements.extensions if name not in there)
        if missing or major != (requirements.major or major):
            raise ServerError(
                f"The image {wanted} does not have what is required.",
                f"It has PostgreSQL {major}{f', without {missing}' if missing else ''}.",
                "Name one that does in DBTOOLS_POSTGRES_IMAGE, such as pgvector/pgvector:pg16 for vector.",
            )

    def _run(self, wanted: str, settings: Mapping[str, str]) -> None:
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        password = secrets.token_urlsafe(18)
        container = (
            DockerContainer(wanted)
            .with_name(self.name)
            .with_env("POSTGRES_USER", SUPERUSER)
            .with_env("POSTGRES_PASSWORD", password)
            .with_env("POSTGRES_DB", "postgres")
            .with_env("PGDATA", f"{TMPFS}/data")
            .with_tmpfs_mount(TMPFS)
            .with_command([*COMMAND, *(word for pair in settings.items() for word in ("-c", "=".join(pair)))])
            .with_kwargs(labels={LABEL: "true"})
        )
        # testcontainers would publish on every address of the machine.
        container.ports = {"5432/tcp": ("127.0.0.1", None)}  # type: ignore[dict-item]  # docker-py takes a pair
        ryuk_disabled = testcontainers_config.ryuk_disabled
        testcontainers_config.ryuk_disabled = True
        try:
            container.start()
        except engine.error_types() as error:
            raise ServerError(
                f"The container of image {wanted} could not be started.",
                f"{mask(' '.join(str(error).split()), password)}.",
                "Set DBTOOLS_POSTGRES_IMAGE to an image that is there; without a registry: scripts/container_image",
            ) from None
        finally:
            # Other containers of this process keep their Ryuk.
            testcontainers_config.ryuk_disabled = ryuk_disabled
            container.get_docker_client().client.close()
        port = self._port()
        self.admin_url = local_url(SUPERUSER, password, port, "postgres")
        self._wait_until_ready(Dsn.parse(self.admin_url, source="the container"))
        with self.connect_admin() as connection:
            for statement in SETUP.splitlines():
                connection.execute(statement)
        application, superuser = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
        set_passwords(port, password, application, superuser)
        self.url, self.admin_url = local_url(ROLE, application, port), local_url(SUPERUSER, superuser, port)

    def _port(self) -> int:
        found = self._client.containers.get(self.name).attrs["NetworkSettings"]["Ports"].get("5432/tcp")
        if not found:
            raise self._error("Nothing listens in it", "")
        return int(found[0]["HostPort"])

    def _error(self, why: str, password: str) -> ServerError:
        container = self._client.containers.get(self.name)
        lines = container.logs(tail=5).decode(errors="replace").strip().splitlines()
        # If the container has ended, `why` only tells how we noticed.
        reason = why if container.status == "running" else f"The container is {container.status}"
        return ServerError(
            "The server in the container did not come up.",
            f"{reason}. The end of its log: {mask(' | '.join(lines), password) or 'empty'}",
            "Try the image by hand: docker run --rm -e POSTGRES_PASSWORD=... IMAGE",
        )

    def _wait_until_ready(self, dsn: Dsn) -> None:
        """Return when two queries in a row are answered: the image's first server only runs init scripts, then ends."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.version = wait_for_db(dsn, timeout=2.0).partition(" ")[0]
            except DatabaseUnreachable as error:
                running = self._client.containers.get(self.name).status == "running"
                if not running or time.monotonic() > deadline:
                    raise self._error(error.why.removesuffix("."), dsn.password) from None
            else:
                return


def lease_path(name: str) -> Path:
    """Return the lease file of the container `name`."""
    # In the home of the calling user, also as root: no server has to reach it.
    folder = run_as.Account("self").cache / "leases"
    folders.make(folder, folders.PRIVATE)
    return folder / name


def _sweep(client: Any) -> None:
    """Remove containers with our label whose owner is gone, and stopped ones whose owner is unknown.

    A running container without a lease here belongs to another account or machine that uses the same engine.
    If a container went with its engine, its lease stays behind, an empty file.
    """
    import docker

    for container in client.containers.list(all=True, filters={"label": f"{LABEL}=true"}, ignore_removed=True):
        lease = lease_path(container.name)
        held = is_held(lease)
        if held is False or (held is None and container.status in {"exited", "dead"}):
            with suppress(docker.errors.APIError):  # another start may be removing it at this moment
                container.remove(force=True, v=True)
                lease.unlink(missing_ok=True)
