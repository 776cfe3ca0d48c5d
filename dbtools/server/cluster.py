"""A prepared cluster: dbtools runs initdb once and copies the result for every server.

Of the time that a fresh server needs, `initdb` takes the most; a copy is far quicker. The prepared cluster holds one
superuser, one application role without a password, and that role's database. It has no trust line: every connection,
over TCP or the socket, needs a password. The superuser's password is random, stored with mode 0600 beside the cluster,
and changed in every copy.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.errors import ServerError
from dbtools.server import folders
from dbtools.server.seal import is_whole, seal

if TYPE_CHECKING:
    from dbtools.server.binaries import Binaries
    from dbtools.server.run_as import Account

FORMAT = 3
"""Part of the cache key: raise it when the prepared cluster changes."""
DRAFT = ".draft"
SUPERUSER = "postgres"
ROLE = "app"
DATABASE = "app"

SETUP = (
    f"create role {ROLE} login nosuperuser createdb nocreaterole;\n"
    f"create database {DATABASE} owner {ROLE};\n"
    f"comment on database {DATABASE} is 'environment=development';\n"
)
"""The application's role and database, one statement a line. The role may make scratch databases for builds."""
# A copy spends its time on files, and each database consists of 300 of them.
_TRIM = (
    "drop database postgres;\n"
    "alter database template0 is_template false;\n"
    "alter database template0 allow_connections false;\n"
    "drop database template0;\n"
)


@dataclass(frozen=True)
class Cluster:
    """A cleanly stopped data directory to copy, and its superuser's password."""

    data: Path
    password: str
    version: str


def prepare(binaries: Binaries, account: Account, *, lean: bool) -> Cluster:
    """Return the prepared cluster for these binaries; the first call makes it, and one that finds it damaged again.

    A `lean` cluster lacks the databases postgres and template0, which halves the files to copy.

    Raises:
        ServerError: initdb failed, or the folder of the cache cannot be made, or others may write to it.
    """
    key = f"{binaries.key}-{platform.machine()}-{account.mode}-{'lean' if lean else 'whole'}-{FORMAT}"
    cache = account.cache
    if cache.exists():
        folders.check_own(cache)
        if not os.access(cache, os.W_OK) and not is_whole(cache / f"cluster-{key}"):
            cache = account.spare_cache
    home = cache / f"cluster-{key}"
    if not is_whole(home):
        folders.make(cache, account.folder_mode)
        with folders.locked(cache / f"{home.name}.lock"):
            if not is_whole(home):
                shutil.rmtree(home, ignore_errors=True)  # damaged
                for draft in cache.glob(f"{home.name}.*{DRAFT}"):
                    shutil.rmtree(draft, ignore_errors=True)  # its maker was killed
                _build(binaries, account, home, SETUP + _TRIM * lean)
    return Cluster(home / "data", (home / "password").read_text("utf-8"), (home / "version").read_text("utf-8"))


def local_url(role: str, password: str, port: int, database: str = DATABASE) -> str:
    """Return the URL of `database` on the server that listens on `port` of loopback."""
    return f"postgresql://{role}:{password}@127.0.0.1:{port}/{database}"


def copy(data: Path, destination: Path) -> None:
    """Copy the data directory of a server that does not run, with owners and modes."""
    if sys.platform == "linux":
        owner = data.stat()
        _copy_folder(str(data), str(destination), owner.st_uid, owner.st_gid)
    else:  # only Linux can sendfile to a file
        subprocess.run(["cp", "-a", str(data), str(destination)], check=True, capture_output=True)


_DEFAULT_ITERATIONS = """
select set_config(name, boot_val, false) from pg_catalog.pg_settings where name = 'scram_iterations'
"""


def set_passwords(port: int, prepared: str, application: str, superuser: str) -> None:
    """Set the passwords of both roles; `prepared` is the superuser's so far.

    The server gets SCRAM verifiers only, so no password can reach its log.
    """
    import psycopg

    with psycopg.connect(local_url(SUPERUSER, prepared, port), autocommit=True) as connection:
        for role, password in ((SUPERUSER, superuser), (ROLE, application)):
            if role == ROLE:  # pg8000 refuses fewer iterations than the default, whatever the server is set to
                connection.execute(_DEFAULT_ITERATIONS)
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
            connection.execute(f"alter role {role} password '{verifier.decode()}'")


def _copy_folder(source: str, target: str, uid: int, gid: int) -> None:
    # In this process: half the time of cp, and the copy ends with us. The modes are those of initdb: 0700 and 0600.
    Path(target).mkdir(0o700)
    os.chown(target, uid, gid)
    with os.scandir(source) as entries:
        for entry in entries:
            path = f"{target}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                _copy_folder(entry.path, path, uid, gid)
            else:
                _copy_file(entry.path, path, uid, gid)


def _copy_file(source: str, target: str, uid: int, gid: int) -> None:
    read = os.open(source, os.O_RDONLY)
    try:
        write = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchown(write, uid, gid)
            while os.sendfile(write, read, None, 2**24):
                pass
        finally:
            os.close(write)
    finally:
        os.close(read)


def _build(binaries: Binaries, account: Account, home: Path, setup: str) -> None:
    version = binaries.check_version()
    draft = Path(tempfile.mkdtemp(prefix=f"{home.name}.", suffix=DRAFT, dir=home.parent))
    try:
        password = secrets.token_urlsafe(24)
        (draft / "data").mkdir(mode=0o700)
        for name, text in (("password", password), ("version", version)):
            (draft / name).touch(mode=0o600)
            (draft / name).write_text(text, "utf-8")
        secret = draft / "initdb-password"
        secret.touch(mode=0o600)
        secret.write_text(password, "utf-8")
        draft.chmod(account.folder_mode)
        for path in (draft / "data", secret):
            account.give(path)
        programs, data = binaries.bin, str(draft / "data")
        options = ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--wal-segsize=1", "--auth=scram-sha-256"]
        initdb = [str(programs / "initdb"), "-D", data, "-U", SUPERUSER, f"--pwfile={secret}", *options]
        _check(account.run(initdb), "initdb")
        secret.unlink()
        single = [str(programs / "postgres"), "--single", "-D", data, "-c", "fsync=off", "-c", "log_min_messages=error"]
        _check(account.run([*single, "template1"], text=setup), "postgres --single")
        seal(draft)
        draft.rename(home)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _check(done: subprocess.CompletedProcess[str], program: str) -> None:
    # postgres --single reports an error in its output and exits with 0.
    if done.returncode or "ERROR:" in done.stderr:
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise ServerError(
            f"A PostgreSQL cluster could not be prepared: {program} failed.",
            f"Exit {done.returncode}: {last}. Nothing was left behind.",
            "Free some disk space if it is full, or set DATABASE_URL to a server of your own.",
        )
