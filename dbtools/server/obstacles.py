"""What keeps a server from being carried over: asked before anything is made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.db.sql import quote
from dbtools.errors import UNCHANGED, ConfigurationError, ServerError
from dbtools.server.cluster import SUPERUSER, local_url
from dbtools.server.inventory import DATABASES
from dbtools.server.project import folder_of
from dbtools.server.requirements import MAJORS

if TYPE_CHECKING:
    from dbtools.server.binaries import Binaries
    from dbtools.server.private import PrivateServer
    from dbtools.server.project_data import State
    from dbtools.server.run_as import Account

_SESSIONS = """
select format('pid %s (%s)', pid, concat_ws(', ', nullif(application_name, ''), usename, 'in ' || datname, state))
from pg_stat_activity where backend_type in ('client backend', 'walsender') and pid <> pg_backend_pid() order by pid
"""
_NOT_CARRIED = {
    "tablespaces": (
        "select spcname from pg_tablespace where spcname not in ('pg_default', 'pg_global') order by 1",
        "They are folders outside of the server's own.",
        "Move what is in them: alter table ... set tablespace pg_default; and drop them",
    ),
    "prepared transactions": (
        "select format('%s in database %s', gid, database) from pg_prepared_xacts order by 1",
        "A dump does not see what they have done.",
        "End each, with commit prepared or rollback prepared",
    ),
    # A connection limit of -2 is the server's mark of a database whose DROP was cut off.
    "databases that let nobody in": (
        "select datname from pg_database where datname <> 'template0' and not (datallowconn and datconnlimit <> -2)",
        "What they hold cannot be read.",
        "Open each: alter database ... allow_connections true; or drop it",
    ),
}
"""What a dump leaves out: what finds it, why that is, and what to do."""
_EXTENSIONS = "select extname from pg_extension order by 1"


def find_source(root: Path, account: Account, wanted: int, named: int | None) -> int:
    """Return the major version of the data to bring to `wanted`: the one that is named, or the only older one.

    Raises:
        ConfigurationError: There are none, or those of several versions, or `wanted` is the older one.
    """
    there = [m for m in range(MAJORS[0], MAJORS[1] + 1) if (folder_of(root, account, m) / "data").exists()]
    choices = [major for major in there if named in (None, major)]
    older = [major for major in choices if major < wanted]
    if len(older) == 1:
        return older[0]
    if older:
        versions = " and ".join(map(str, older))
        raise ConfigurationError(
            f"There are data of PostgreSQL {versions}.",
            f"An upgrade to PostgreSQL {wanted} takes those of one.",
            f"Name it: invoke server.upgrade --from {older[-1]}",
            UNCHANGED,
        )
    if newer := [major for major in choices if major > wanted]:
        raise ConfigurationError(
            f"The data of PostgreSQL {newer[-1]} cannot be brought to PostgreSQL {wanted}.",
            "A dump is for the version that it was made from, and for later ones.",
            f"To go on with them: major = {newer[-1]} in [tool.dbtools.server]",
            UNCHANGED,
        )
    of = f"of PostgreSQL {named}" if named else f"of a version before {wanted}"
    raise ConfigurationError(
        "There is nothing to upgrade.",
        f"The project's own server has no data {of}.",
        "Set the version to upgrade to: major = ... in [tool.dbtools.server]",
        UNCHANGED,
    )


def check_disk(old: Path) -> None:
    """Refuse an upgrade for which there is no room beside the folder `old`.

    Raises:
        ServerError: Says how much is missing.
    """
    wanted = sum(os.lstat(Path(folder) / name).st_size for folder, _, names in os.walk(old) for name in names)
    free = shutil.disk_usage(old).free
    if free < wanted:
        raise ServerError(
            "There is not enough room on the disk for an upgrade.",
            f"{old} has {wanted / 2**20:.0f} MB, the new server needs about as much, and {free / 2**20:.0f} MB are"
            " free.",
            "Free some disk space, and run this again.",
            UNCHANGED,
        )


def check_sessions(state: State, port: int) -> None:
    """Refuse to end a server that somebody uses. It listens on `port`.

    Raises:
        ServerError: Names the sessions; or the server does not let its superuser in.
    """
    import psycopg

    try:
        with psycopg.connect(local_url(SUPERUSER, state.admin_password, port), autocommit=True) as connection:
            found = [str(session) for (session,) in connection.execute(_SESSIONS)]
    except psycopg.OperationalError as error:
        raise ServerError(
            "The project's own server could not be asked who uses it.",
            f"{' '.join(str(error).split()).rstrip('.')}.",
            "If nobody does, end it, its data kept: invoke server.stop; then run this again.",
            UNCHANGED,
        ) from error
    if found:
        raise ServerError(
            "The project's own server is in use.",
            f"What these sessions write while it is copied would be lost: {'; '.join(found)}.",
            "End them; or, to end them with the server: invoke server.stop; then run this again.",
            UNCHANGED,
        )


def check_source(old: PrivateServer, target: Binaries) -> None:
    """Refuse what a dump does not carry, and what the programs of the target do not have.

    Raises:
        ServerError: Names it.
    """
    with old.connect() as connection:
        names = [str(name) for (name,) in connection.execute(DATABASES)]
        for what, (query, why, hint) in _NOT_CARRIED.items():
            if found := [str(name) for (name,) in connection.execute(query)]:
                raise ServerError(
                    f"The server of PostgreSQL {old.major} has {what}: {', '.join(found)}.",
                    why,
                    f"{hint}; then run this again.",
                )
    for name in names:
        with old.connect(name) as connection:
            made = {str(extension) for (extension,) in connection.execute(_EXTENSIONS)}
        if missing := sorted(made - target.extensions):
            listed = ", ".join(f'"{extension}"' for extension in missing)
            raise ServerError(
                f"PostgreSQL {target.major} has no extension {', '.join(missing)}, and database {name} uses it.",
                f"Its programs are those in {target.where}.",
                f"To have others looked for: extensions = [{listed}] in [tool.dbtools.server]; or, where it is not"
                f" needed, in that database: drop extension {quote(missing[0])};",
            )
