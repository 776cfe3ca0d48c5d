"""The structure of a database as pg_dump sees it, in three parts: before the rows, after them, and foreign keys."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from dbtools.build.programs import find_program
from dbtools.db.secrets import mask
from dbtools.db.sql import quote
from dbtools.errors import UNCHANGED, ChainFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dbtools.db.dsn import Dsn

_LEFT_OUT = re.compile(r"(?:SCHEMA|EXTENSION|COMMENT - (?:SCHEMA|EXTENSION)|ACL - SCHEMA|TYPE dbtools_enum_\d+) ")
"""What an install makes by itself, or leaves as it finds it."""
_LAST = re.compile(r"(?:FK CONSTRAINT|POLICY|ROW SECURITY|DEFAULT ACL) ")
_REFUSED = re.compile(
    r"(EVENT TRIGGER|PUBLICATION(?: TABLE| TABLES IN SCHEMA)?|SUBSCRIPTION|FOREIGN DATA WRAPPER|SERVER|USER MAPPING"
    r"|PROCEDURAL LANGUAGE|ACCESS METHOD|TRANSFORM|BLOB|BLOB METADATA) (?:- )?(.*?) ?\S*$"
)
"""What belongs to the database as a whole, not to a schema of it."""
_BODY = re.compile(r"^--\n-- Name: .*?(?=^--\n-- PostgreSQL database dump complete\n)", re.DOTALL | re.MULTILINE)
"""All between pg_dump's settings and its last words; it has a command for psql among them."""
# Set between two entries. Without "local" it would outlive the transaction.
_SETTINGS = re.compile(
    r"^SET (?=default_(?:tablespace|table_access_method) = [^\n]*;\n\n(?:SET |--\n-- Name: ))", re.MULTILINE
)

# The server keeps `some_varchar in ('a', 'b')` as one cast of an array, and would read that as a cast of each element:
# equal, in other words, so the structure would not be what the steps made. Without the cast it adds its own. The
# alternatives before the array are passed over: comments, bodies of functions, names, strings.
_CAST_ARRAY = re.compile(
    r"^--[^\n]*|(\$\w*\$).*?\1|\"[^\"]*\"|'[^']*'"
    r"|(?P<any>(?:ANY|ALL) \()\((?P<array>ARRAY\[(?:[^\[\]'\"]|'[^']*'|\"[^\"]*\")*\])\)::text\[\]",
    re.DOTALL | re.MULTILINE,
)


class Archive(NamedTuple):
    """The three parts of SQL, what the schemas themselves have, and whether there are triggers or rules."""

    before: str
    after: str
    keys: str
    schemas: dict[str, str]
    """The grants and the comment of each schema, as SQL."""
    triggers: bool


def read_structure(database: Dsn, major: int, folder: Path, schemas: Sequence[str], left_out: Sequence[str]) -> Archive:
    """Return the structure of `database` without its extensions and what is in the schemas `left_out`.

    `schemas` are those whose own grants and comments are wanted; `folder` is for temporary files.

    Raises:
        ChainFailed: It holds something that belongs to the database as a whole; or pg_dump failed.
        OSError: The disk of `folder` is full.
        ServerError: There is no pg_dump for this server.
    """
    excluded = [f"--exclude-schema={quote(name)}" for name in ("dbtools", *left_out)]
    dump, restore = find_program("pg_dump", major), find_program("pg_restore", major)
    file = folder / "structure.dump"
    _run(
        [
            dump,
            "--format=custom",
            "--compress=0",
            "--schema-only",
            "--no-owner",
            *excluded,
            f"--file={file}",
        ],
        database,
    )
    every = _entries(restore, file)
    _refuse(every)
    before = [entry for entry in _entries(restore, file, "pre-data") if not _LEFT_OUT.match(_kind(entry))]
    after = _entries(restore, file, "post-data")
    cut = next((number for number, entry in enumerate(after) if _LAST.match(_kind(entry))), len(after))
    own = {name: [entry for entry in every if _is_of_schema(entry, name)] for name in schemas}
    texts = {name: _sql(restore, file, folder, entries) for name, entries in own.items() if entries}
    first, second, third = (_sql(restore, file, folder, entries) for entries in (before, after[:cut], after[cut:]))
    file.unlink()
    return Archive(first, second, third, texts, any(_kind(entry).startswith(("TRIGGER ", "RULE ")) for entry in after))


def _entries(restore: Path, file: Path, section: str = "") -> list[str]:
    only = [f"--section={section}"] if section else []
    text = _run([restore, "--list", *only, str(file)])
    return [line for line in text.splitlines() if line and not line.startswith(";")]


def _kind(entry: str) -> str:
    """Return an entry of the list without its numbers: "TABLE public items app"."""
    return entry.split(maxsplit=3)[3]


def _is_of_schema(entry: str, schema: str) -> bool:
    return _kind(entry).startswith((f"ACL - SCHEMA {schema} ", f"COMMENT - SCHEMA {schema} "))


def _refuse(entries: Iterable[str]) -> None:
    found = [f"{match[1].lower()} {match[2]}" for match in map(_REFUSED.match, map(_kind, entries)) if match]
    if found:
        raise ChainFailed(
            f"The steps made something that no schema holds: {', '.join(found[:3])}.",
            "A reset puts schemas in place; this belongs to the database as a whole.",
            "Take it out of the steps, and make it once by hand where it is wanted.",
            UNCHANGED,
        )


def _sql(restore: Path, file: Path, folder: Path, entries: Sequence[str]) -> str:
    if not entries:
        return ""
    wanted = folder / "structure.list"
    wanted.write_text("\n".join(entries), "utf-8")
    text = _run([restore, "--no-owner", f"--use-list={wanted}", "--file=-", str(file)])
    wanted.unlink()
    # Settings may stand before the first entry too.
    found = _BODY.search(text)
    return _keep_arrays(_SETTINGS.sub("SET LOCAL ", found[0])) if found else ""


def _keep_arrays(sql: str) -> str:
    def keep(found: re.Match[str]) -> str:
        is_varchar = found["array"] and "::character varying" in found["array"]
        return f"{found['any']}{found['array']}" if is_varchar else found[0]

    return _CAST_ARRAY.sub(keep, sql)


def _run(command: list[object], database: Dsn | None = None) -> str:
    # The password goes through the environment: anybody on the machine can read a command line.
    environment = os.environ | {"LC_ALL": "C", "PGOPTIONS": ""}
    arguments = [str(word) for word in command]
    if database:
        environment |= {"PGPASSWORD": database.password} if database.password else {}
        arguments += ["--dbname", database.without_password().url]
    done = subprocess.run(arguments, capture_output=True, text=True, encoding="utf-8", env=environment, check=False)
    if done.returncode:
        full = os.strerror(errno.ENOSPC)
        if full in done.stderr and "ERROR:" not in done.stderr:  # ours, not the server's
            raise OSError(errno.ENOSPC, full)
        raise ChainFailed(
            f"{arguments[0].rpartition('/')[2]} could not read what the steps made.",
            f"{mask(' '.join(done.stderr.split())).rstrip('.')}.",
            "Read its answer above.",
            UNCHANGED,
        )
    return done.stdout
