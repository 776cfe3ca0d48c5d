"""The PostgreSQL of a compose file: the URL by which this machine reaches it, without its password."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from dbtools.init.files import folder_of, join

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtools.init.files import Files

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml", "docker-compose.*.y*ml")
PORT = "5432"
_IMAGE = re.compile(r"postgres|postgis|pgvector|timescale", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\{(\w+)(?::?([-?+])([^}]*))?\}|\$(\w+)")
_LINE = re.compile(r"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=[ \t]*[\"']?([^\"'\n]*)", re.MULTILINE)


@dataclass(frozen=True)
class ComposeDatabase:
    """A service that is a PostgreSQL server."""

    path: str
    service: str
    port: str
    """Where it listens on this machine; "" where it does not."""
    user: str
    database: str
    trusted: bool
    """Whether it asks for no password."""

    @property
    def url(self) -> str:
        """What DATABASE_URL has to be; the password is left for the reader to fill in."""
        secret = "" if self.trusted else ":PASSWORD"
        return f"postgresql://{self.user}{secret}@localhost:{self.port}/{self.database}"


def find_compose(files: Files) -> ComposeDatabase | None:
    """Return the PostgreSQL of the compose file nearest to the root, None where there is none that can be read.

    Its port may stand in another compose file of the folder, as in docker-compose.override.yml.
    """
    from invoke import util  # Invoke reads its own settings with the YAML that it brings along

    yaml = cast("Any", util).yaml

    documents: dict[str, dict[str, Any]] = {}
    for path in files.find(*NAMES):
        with suppress(yaml.YAMLError):
            document = yaml.safe_load(files.text(path))
            services = document.get("services") if isinstance(document, dict) else None
            documents[path] = services if isinstance(services, dict) else {}
    for path, services in documents.items():
        for name, service in services.items():
            if isinstance(service, dict) and _IMAGE.search(str(service.get("image", ""))) and "test" not in str(name):
                beside = [other.get(name) for at, other in documents.items() if folder_of(at) == folder_of(path)]
                ports = [more["ports"] for more in beside if isinstance(more, dict) and more.get("ports")]
                return _read(files, path, str(name), service | ({"ports": ports[0]} if ports else {}))
    return None


def _read(files: Files, path: str, name: str, service: Mapping[str, Any]) -> ComposeDatabase:
    dotenv = dict(_LINE.findall(files.text(join(folder_of(path), ".env"))))
    environment: dict[str, str] = {}
    named = service.get("env_file", [])
    for file in [named] if isinstance(named, str) else named if isinstance(named, list) else []:
        environment |= _LINE.findall(files.text(join(folder_of(path), str(file).removeprefix("./"))))
    given = service.get("environment", {})
    pairs = given.items() if isinstance(given, dict) else (str(line).partition("=")[::2] for line in given or ())
    environment |= {str(key): _fill(str(value), dotenv) for key, value in pairs if value is not None}
    user = environment.get("POSTGRES_USER") or "postgres"
    return ComposeDatabase(
        path,
        name,
        _port(service.get("ports"), dotenv),
        user,
        environment.get("POSTGRES_DB") or user,
        environment.get("POSTGRES_HOST_AUTH_METHOD") == "trust",
    )


def _fill(text: str, dotenv: Mapping[str, str]) -> str:
    """Return a text with what compose would put in place of ${NAME}, ${NAME:-default} and $NAME."""
    return _REFERENCE.sub(
        lambda found: dotenv.get(found[1] or found[4]) or (found[3] if found[2] == "-" else "") or "", text
    )


def _port(ports: object, dotenv: Mapping[str, str]) -> str:
    for port in ports if isinstance(ports, list) else []:
        if isinstance(port, dict) and str(port.get("target")) == PORT:
            return _fill(str(port.get("published", "")), dotenv)
        host, _, target = _fill(str(port), dotenv).rpartition(":")
        if target.removesuffix("/tcp") == PORT and host:
            return host.rpartition(":")[2]
    return ""
