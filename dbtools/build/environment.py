"""The environment of a step: the caller's, but every way to name a database leads to the given one.

- DATABASE_URL, and each variable that holds a PostgreSQL URL, in the caller's environment or in a .env file of the
  project: replaced by the database's URL, with the scheme that the project uses (postgresql+asyncpg:// ...). A program
  that reads .env by itself does not override what is set.
- libpq's variables: set, or taken out where they would lead elsewhere.
- PYTHONPATH: first the folder that leads the engines and drivers of Python programs.
- NODE_OPTIONS: the script that leads the connections of Node programs to the server, or refuses them.
- PATH: first the folder whose psql, pg_restore, createdb and dropdb are led, whatever their arguments name.
- `env` of the project and of the step, and the words of a command, with the database's parts in place of the
  placeholders.
"""

from __future__ import annotations

import getpass
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from dbtools.build.interpreter import environment_of
from dbtools.config.entry import PLACEHOLDER, PLACEHOLDERS
from dbtools.db.secrets import remember

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbtools.config import Project
    from dbtools.config.steps import Step
    from dbtools.db.dsn import Dsn

LEAD = Path(__file__).parent / "lead"
"""The folder that comes first on the PYTHONPATH of steps."""
MARK = "DBTOOLS_STEP"
"""Distinguishes the processes of a step, wherever they went."""
SSL = {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}
ELSEWHERE = ("PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR", "PGOPTIONS", "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS")
"""Variables of libpq that could lead to another server, or to another schema of it."""
DEMANDS = ("PGREQUIREAUTH", "PGCHANNELBINDING", "PGGSSENCMODE")
"""What the caller asks of a server, and one on this machine need not offer."""
NOT_READ = (".example", ".sample", ".template", ".dist")
# Not a shell's ${user}, nor a template's {{host}}.
_IN_WORDS = re.compile(rf"(?<![${{]){{({'|'.join(PLACEHOLDERS)})}}(?!}})")
_URL = re.compile(r"(postgres(?:ql)?(?:\+\w+)?)://.*", re.DOTALL)
_DOTENV = re.compile(r"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=[ \t]*[\"']?(postgres(?:ql)?(?:\+\w+)?)://", re.MULTILINE)


def step_environment(
    step: Step,
    database: Dsn,
    project: Project,
    interpreter: Path,
    environ: Mapping[str, str],
    *,
    mark: str,
    record: Path | None = None,
    fence: int | None = None,
) -> dict[str, str]:
    """Return the variables that `step` runs with. `mark` is the value of `MARK`."""
    parts = _parts(database, environ)
    ours = database_variables(database, project, environ, (step.cwd,), step.env)
    ours |= _paths(step, project, interpreter, {**environ, **ours})
    ours |= {MARK: mark, "DBTOOLS_LEAD_URL": _compose(parts, "postgresql", _ssl(database)), "PYTHONUNBUFFERED": "1"}
    ours |= {"DBTOOLS_LEAD_PYTHON": sys.executable, "NODE_OPTIONS": _node_options(environ.get("NODE_OPTIONS", ""))}
    if record is not None:
        ours["DBTOOLS_RECORD"] = str(record)
    if fence is not None:
        ours["DBTOOLS_LEAD_FENCE"] = str(fence)
    kept = {name: value for name, value in environ.items() if not _is_out(name, database, parts)}
    return kept | ours


def database_variables(
    database: Dsn,
    project: Project,
    environ: Mapping[str, str],
    folders: Iterable[Path] = (),
    env: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the variables that name `database`, in every way in which the project may read one.

    URLs have the scheme that the project uses in `environ` or in a .env file of `folders` and its root. `env` are
    variables beside those of the project.
    """
    parts = _parts(database, environ)
    schemes = url_variables(environ, dict.fromkeys((*folders, project.root)))
    ours = _leading(environ, parts, _ssl(database))
    ours |= {name: _compose(parts, scheme, _ssl(database)) for name, scheme in schemes.items()}
    default = schemes.get("DATABASE_URL", "postgresql")
    ours["DATABASE_URL"] = _compose(parts, default, _ssl(database))
    for name, value in {**project.env, **(env or {})}.items():
        url = _compose(parts, schemes.get(name, default), _ssl(database))
        values = {**parts, "url": url}
        ours[name] = PLACEHOLDER.sub(lambda found, values=values: values[found[1]], value)  # type: ignore[misc]
    return ours


def fill_words(
    words: Iterable[str], database: Dsn, environ: Mapping[str, str], folders: Iterable[Path]
) -> tuple[str, ...]:
    """Return the words of a command with the database's parts in place of the placeholders.

    {url} has no password here: every account can read a program's arguments, and its driver finds PGPASSWORD.
    """
    parts = _parts(database, environ)
    scheme = url_variables(environ, folders).get("DATABASE_URL", "postgresql")
    values = {**parts, "url": _compose({**parts, "password": ""}, scheme, _ssl(database))}
    return tuple(_IN_WORDS.sub(lambda found: values[found[1]], word) for word in words)


def url_variables(environ: Mapping[str, str], folders: Iterable[Path]) -> dict[str, str]:
    """Return the variables that hold the URL of a PostgreSQL database, and the scheme of each.

    They are those of `environ`, then those of the .env files in `folders`.
    """
    found = {name: match[1] for name, value in environ.items() if (match := _URL.fullmatch(value))}
    for folder in folders:
        for path in sorted(folder.glob(".env*"), key=lambda path: (path.name != ".env", path.name)):
            if path.is_file() and not path.name.endswith(NOT_READ):
                with suppress(PermissionError):  # then the step cannot read it either
                    for match in _DOTENV.finditer(path.read_text("utf-8", "replace")):
                        found.setdefault(match[1], match[2])
    return found


def _parts(database: Dsn, environ: Mapping[str, str]) -> dict[str, str]:
    user = database.user or environ.get("PGUSER", "") or getpass.getuser()
    password = database.password or environ.get("PGPASSWORD", "")
    remember(password, public=(user, database.dbname, database.host))
    return {
        "host": database.host,
        "port": database.port,
        "user": user,
        "password": password,
        "dbname": database.dbname,
    }


def _compose(parts: Mapping[str, str], scheme: str, ssl: Mapping[str, str]) -> str:
    """Return the URL. Only libpq knows its ssl parameters, and a host that is a socket's folder stands behind the ?."""
    host, port = parts["host"], parts["port"]
    who = quote(parts["user"], safe="") + (f":{quote(parts['password'], safe='')}" if parts["password"] else "")
    more = dict(ssl) if scheme.partition("+")[2] in ("", "psycopg", "psycopg2") else {}
    if host.startswith(("/", "@")) or "," in host:
        more, place = {"host": host, "port": port, **more}, ""
    else:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    query = "&".join(f"{name}={quote(value, safe='/:,')}" for name, value in more.items())
    return f"{scheme}://{who}@{place}/{quote(parts['dbname'], safe='')}{'?' + query if query else ''}"


def _ssl(database: Dsn) -> dict[str, str]:
    from psycopg.conninfo import conninfo_to_dict

    return {name: str(value) for name, value in conninfo_to_dict(database.url).items() if name in SSL and value}


def _leading(environ: Mapping[str, str], parts: Mapping[str, str], ssl: Mapping[str, str]) -> dict[str, str]:
    """Return libpq's variables for the database."""
    found = {
        "PGHOST": parts["host"],
        "PGPORT": parts["port"],
        "PGUSER": parts["user"],
        "PGDATABASE": parts["dbname"],
        **{SSL[name]: value for name, value in ssl.items()},
    }
    if parts["password"]:
        found["PGPASSWORD"] = parts["password"]
    if _is_local(parts["host"]) and "sslmode" not in ssl and "PGSSLMODE" in environ:
        found["PGSSLMODE"] = "prefer"
    return found


def _node_options(given: str) -> str:
    path = str(LEAD / "lead.cjs")
    if " " in path:  # programs that take the options apart know no quotes
        path = '"{}"'.format(path.replace("\\", "\\\\").replace('"', '\\"'))
    return f"{given} --require={path}".lstrip()


def _is_local(host: str) -> bool:
    return host.startswith(("/", "@", "127.")) or host in ("localhost", "::1")


def _is_out(name: str, database: Dsn, parts: Mapping[str, str]) -> bool:
    """Return whether a variable of the caller is kept from the step."""
    return (
        name in (*ELSEWHERE, "PSQLRC", "PYTHONHOME", "DBTOOLS_RECORD", "DBTOOLS_LEAD_FENCE")
        or (name in DEMANDS and _is_local(database.host))
        or (name == "PGPASSFILE" and bool(parts["password"]))  # else the password may stand there, and nowhere else
    )


def _paths(step: Step, project: Project, interpreter: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return PATH, PYTHONPATH and VIRTUAL_ENV: the project's own programs and packages come first."""
    found = {"PYTHONPATH": os.pathsep.join(filter(None, (str(LEAD), environ.get("PYTHONPATH"))))}
    first = [LEAD / "bin"]
    environment = environment_of(interpreter)
    if environment is not None:
        found["VIRTUAL_ENV"] = str(environment)
    if environment is not None or str(interpreter) != sys.executable:
        first.append(interpreter.parent)
    for folder in (step.cwd, project.root):
        modules = folder / "node_modules" / ".bin"
        if modules.is_dir() and modules not in first:
            first.append(modules)
    found["PATH"] = os.pathsep.join((*map(str, first), environ.get("PATH") or os.defpath))
    return found
