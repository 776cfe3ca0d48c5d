"""Run a client program of PostgreSQL on the database of the step, whatever its arguments name.

    python run_client.py psql -h localhost -U app shop -f seed.sql

The programs in `bin`, first on the PATH of a step, come here: a shell script says in arguments where its psql goes, and
those beat libpq's variables. What names a database is taken out, and the step's put in; all else stays as it is.
createdb, dropdb and a `psql -c` that does the same are left out: the database is there, and the step's alone, while one
of that name may be somebody's. Runs in dbtools' own Python.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from getopt import GetoptError, gnu_getopt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .record import Record
    from .target import Target, describe, parse
else:
    from record import Record
    from target import Target, describe, parse

BIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin")
_SHORT = {
    "psql": "ac:Abd:eEf:F:h:HlL:no:p:P:qR:sStT:U:v:VwWxXz?01",
    "pg_restore": "acCd:ef:F:h:I:j:lL:n:N:Op:P:RsS:t:T:U:vVwWx1?",
}
_LONG = {
    "psql": (
        "command= dbname= file= list set= variable= version no-psqlrc single-transaction help echo-all echo-errors"
        " echo-queries echo-hidden log-file= no-readline output= quiet single-step single-line no-align csv"
        " field-separator= html pset= record-separator= tuples-only table-attr= expanded field-separator-zero"
        " record-separator-zero host= port= username= no-password password"
    ),
    "pg_restore": (
        "dbname= file= format= list verbose version help data-only schema-only clean create exit-on-error index= jobs="
        " use-list= schema= exclude-schema= no-owner function= superuser= table= trigger= no-privileges no-acl"
        " single-transaction disable-triggers enable-row-security if-exists no-comments no-data no-policies no-schema"
        " no-data-for-failed-tables no-publications no-security-labels no-statistics no-subscriptions"
        " no-table-access-method no-tablespaces restrict-key= section= statistics statistics-only strict-names"
        " transaction-size= use-set-session-authorization filter= host= port= username= no-password password role="
    ),
}
_SAME = {"--dbname": "-d", "--password": "-W", "--command": "-c", "--file": "-f", "--create": "-C"}
_PLACE = {"-h": "host", "--host": "host", "-p": "port", "--port": "port", "-U": "user", "--username": "user"}
_MAKES = re.compile(r"\s*(?:create|drop)\s+database\s[^;]*;?\s*", re.IGNORECASE)
_CONNECT = re.compile(r"\s*\\c(onnect)?(\s|$)")
_PAIR = re.compile(r"(\w+)\s*=\s*(?:'((?:\\.|[^'\\])*)'|((?:\\.|[^\s'\\])+))")


class _NotLed(Exception):
    """A program that cannot be led."""


def main(name: str, arguments: list[str]) -> None:
    """Become the program, or end where nothing is left to do, or where it cannot be led."""
    if name in ("createdb", "dropdb"):
        _leave_out(name)
        return
    path = os.pathsep.join(folder for folder in os.get_exec_path() if os.path.abspath(folder) != BIN)
    program = shutil.which(name, path=path)
    if program is None:
        sys.stderr.write(f"{name} was not found on PATH.\n")
        sys.exit(127)
    try:
        led = _psql(arguments) if name == "psql" else _pg_restore(arguments)
    except (GetoptError, _NotLed) as error:
        sys.stderr.write(f"dbtools: cannot lead {name} to the database of the step: {error}\n")
        sys.exit(2)
    if led is not None:
        os.execv(program, [program, *led])  # noqa: S606 - in place of this process: signals and exit code are its own


def _psql(arguments: list[str]) -> list[str] | None:
    """Return the arguments of psql on the step's database, None where it has nothing to do there."""
    options, rest = gnu_getopt(arguments, _SHORT["psql"], _LONG["psql"].split())
    words: list[str] = []
    given: dict[str, str] = {}
    left_out = works = False
    for option, value in options:
        short = _SAME.get(option, option)
        if short == "-c" and _MAKES.fullmatch(value):
            _leave_out(value.strip())
            left_out = True
        elif not _names(short, value, given) and short != "-W":  # nobody types a password
            works = works or short in ("-c", "-f")
            if short == "-f":
                _refuse_connecting(value)
            words += _word("psql", option, value)
    if rest and "dbname" not in given:
        given.update(_place(rest.pop(0)))
    if rest:
        given["user"] = rest[0]
    return None if left_out and not works else ["-d", _led("psql", given), *words]


def _pg_restore(arguments: list[str]) -> list[str]:
    """Return the arguments of pg_restore. Without -d it connects to nothing, and writes SQL."""
    options, rest = gnu_getopt(arguments, _SHORT["pg_restore"], _LONG["pg_restore"].split())
    words: list[str] = []
    given: dict[str, str] = {}
    for option, value in options:
        short = _SAME.get(option, option)
        if not _names(short, value, given) and short not in ("-W", "-C"):  # -C: the database is there
            words += _word("pg_restore", option, value)
    return [*(["-d", _led("pg_restore", given)] if "dbname" in given else []), *words, *rest]


def _names(short: str, value: str, given: dict[str, str]) -> bool:
    """Return whether an option names a database, and add what it says to `given`."""
    if short == "-d":
        given.update({"dbname": "", **_place(value)})
    elif short in _PLACE:
        given[_PLACE[short]] = value
    else:
        return False
    return True


def _word(name: str, option: str, value: str) -> list[str]:
    takes_one = f"{option[2:]}=" in _LONG[name].split() if option.startswith("--") else f"{option[1]}:" in _SHORT[name]
    return [option, value] if takes_one else [option]


def _place(text: str) -> dict[str, str]:
    """Return what a name, a URL or pairs of name=value say about a connection."""
    if text.startswith(("postgresql://", "postgres://")):
        return parse(text)
    if "=" not in text:
        return {"dbname": text}
    return {name: re.sub(r"\\(.)", r"\1", quoted or plain) for name, quoted, plain in _PAIR.findall(text)}


def _led(name: str, given: dict[str, str]) -> str:
    """Return the step's database as libpq's pairs. Its password goes into the environment: arguments are public."""
    if record := os.environ.get("DBTOOLS_RECORD"):
        Record(record).write("program", name)  # what it reads is not known
        Record(record).write("led", describe(name, given))
    options = os.environ.pop("PGOPTIONS", "")
    os.environ.pop("PGSERVICE", None)
    values = Target(os.environ["DBTOOLS_LEAD_URL"]).libpq({"options": options, **given})
    if "password" in values:
        os.environ["PGPASSWORD"] = values.pop("password")
    quoted = {key: str(value).replace("\\", "\\\\").replace("'", "\\'") for key, value in values.items()}
    return " ".join(f"{key}='{value}'" for key, value in quoted.items())


def _refuse_connecting(file: str) -> None:
    """Refuse a file that has psql go to another database, as a dump made with --create does."""
    if os.path.isfile(file):
        with open(file, encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if _CONNECT.match(line):
                    raise _NotLed(f"{file}:{number} connects to another one: {line.strip()}")


def _leave_out(what: str) -> None:
    sys.stderr.write(f"dbtools: {what} was left out: a step works on the database that it is given\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
