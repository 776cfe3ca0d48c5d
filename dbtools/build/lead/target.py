"""The database that connections are led to, in the words of each driver."""

from __future__ import annotations

import os
import re
from typing import Any, Mapping
from urllib.parse import parse_qsl, quote, unquote

_KEPT = ("application_name", "fallback_application_name", "client_encoding", "connect_timeout")
"""Of what the project says about a connection, the parameters that say nothing about where it goes. And `options`."""
_ASYNCPG_TLS = ("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword")
_WHERE = re.compile(
    r"host|hostaddr|port|user|password|database|dbname|service|servicefile|passfile|target_session_attrs|"
    r"load_balance_hosts|require.*|ssl.*|gss.*|krb.*|channel_binding|keepalives.*|connect_timeout|direct_tls"
)
"""Parameters of a URL that asyncpg takes for itself, or libpq; it sends all others to the server as settings."""


class Target:
    """The database at `url`, a libpq URL: postgresql://user:password@host:port/dbname?parameter=value.

    Raises:
        ValueError: The URL names no host or no database. The message does not quote it.
    """

    def __init__(self, url: str) -> None:
        self._values = parse(url)
        if not self._values.get("host") or not self._values.get("dbname"):
            raise ValueError("DBTOOLS_LEAD_URL names no host, or no database")

    def libpq(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return libpq's parameters for a connection for which the project gave `given`.

        None of those that name a server is left to the environment or to a service file.
        """
        own = self._values
        kept = {name: given[name] for name in _KEPT if given.get(name) is not None}
        pinned = {"hostaddr": "", "port": "5432", "sslmode": "prefer"}
        options = _join(own.get("options"), session_settings(given.get("options")))
        return {**pinned, **own, **kept, **({"options": options} if options else {})}

    def asyncpg(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of asyncpg's connect for a connection for which the project gave `given`."""
        own = self._values
        url = parse(given["dsn"]) if given.get("dsn") else {}
        settings = {name: value for name, value in url.items() if not _WHERE.fullmatch(name)}
        settings.update(given.get("server_settings") or {})
        options = _join(own.get("options"), session_settings(settings.pop("options", None)))
        if options:
            settings["options"] = options
        tls = {"sslmode": "prefer", **{name: own[name] for name in _ASYNCPG_TLS if name in own}}
        ports = [int(port) for port in own.get("port", "5432").split(",")]
        hosts = (own.get("hostaddr") or own["host"]).split(",")
        arguments = {
            "dsn": "postgresql:///?" + "&".join(f"{name}={quote(value)}" for name, value in tls.items()),
            "host": hosts,
            "port": ports if len(ports) > 1 else ports * len(hosts),
            "user": own.get("user"),
            "password": own.get("password"),
            "database": own["dbname"],
            "server_settings": settings or None,
            **dict.fromkeys(("passfile", "service", "servicefile", "ssl", "direct_tls")),
            "target_session_attrs": "any",
        }
        # An older asyncpg has fewer of them.
        return {**given, **{name: value for name, value in arguments.items() if name in given}}

    def pg8000(self, given: Mapping[str, Any], no_tls: Any) -> dict[str, Any]:
        """Return the arguments of pg8000's connection for one for which the project gave `given`.

        `given` holds every parameter that this version of pg8000 has, `no_tls` what it takes for "without TLS".
        """
        own = self._values
        host, port = own["host"].split(",")[0], int(own.get("port", "5432").split(",")[0])
        by_socket = host.startswith("/")
        arguments = {
            "host": None if by_socket else own.get("hostaddr") or host,
            "port": port,
            "unix_sock": f"{host}/.s.PGSQL.{port}" if by_socket else None,
            "user": own.get("user") or os.environ.get("PGUSER") or _login(),
            "password": own.get("password") or os.environ.get("PGPASSWORD"),
            "database": own["dbname"],
            "sock": None,
            "source_address": None,
            "ssl_context": no_tls if by_socket else self._ssl_context(no_tls),
        }
        return {**given, **{name: value for name, value in arguments.items() if name in given}}

    def _ssl_context(self, no_tls: Any) -> Any:
        """Return pg8000's `ssl_context` for our sslmode: None is its default, TLS where it can fall back from it."""
        mode = self._values.get("sslmode", "prefer")
        if mode in ("disable", "allow"):
            return no_tls
        if mode == "prefer":
            return None
        import ssl

        root = self._values.get("sslrootcert")
        context = ssl.create_default_context(cafile=None if root == "system" else root)
        context.check_hostname = mode == "verify-full"
        if mode == "require" and not root:
            context.verify_mode = ssl.CERT_NONE
        if self._values.get("sslcert"):
            context.load_cert_chain(
                self._values["sslcert"], self._values.get("sslkey"), self._values.get("sslpassword")
            )
        return context


def parse(url: str) -> dict[str, str]:
    """Return the parameters of a libpq URL. What is in its query wins, as it does with libpq."""
    rest, _, query = url.partition("://")[2].partition("?")
    place, _, database = rest.partition("/")
    login, _, hosts = place.rpartition("@")
    user, _, password = login.partition(":")
    pairs = [_host_and_port(host) for host in hosts.split(",")] if hosts else []
    values = {"user": user, "password": password, "dbname": database, "host": ",".join(host for host, _ in pairs)}
    values = {name: unquote(value) for name, value in values.items() if value}
    if any(port for _, port in pairs):
        values["port"] = ",".join(port or "5432" for _, port in pairs)
    # Not + for a space: libpq leaves it a plus.
    values.update((name, value) for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))
    if "database" in values:
        values["dbname"] = values.pop("database")
    return values


def describe(driver: str, given: Mapping[str, Any]) -> str:
    """Return what a connection would have been: "psycopg app@db.example.com:5432/prod". Without a password."""
    host = given.get("host") or given.get("hostaddr") or given.get("unix_sock") or ""
    host = ",".join(map(str, host)) if isinstance(host, (list, tuple)) else str(host)
    user, port = given.get("user"), given.get("port")
    place = (f"{user}@" if user else "") + host + (f":{port}" if port else "")
    service = f" service={given['service']}" if given.get("service") else ""
    return f"{driver} {place}/{given.get('dbname') or given.get('database') or ''}{service}"


def session_settings(options: str | None) -> str:
    """Return the -c name=value of libpq's `options`, and nothing else: some services read a server's name there."""
    found = re.findall(r"(?:^|\s)(?:-c\s*|--)([A-Za-z_][\w.-]*=(?:\\.|\S)*)", options or "")
    return " ".join(f"-c {setting}" for setting in found)


def _join(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)


def _host_and_port(text: str) -> tuple[str, str]:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, ""
    return host.strip("[]"), port


def _login() -> str:
    import getpass

    return getpass.getuser()
