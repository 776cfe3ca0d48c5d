"""Write the table [tool.dbtools] and a tasks.py: both or neither, and no byte that exists is changed."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import tomllib
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.config import Project
from dbtools.config.table import read_table
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "from dbtools.commands import namespace"
TASKS = f'"""Tasks on the database: invoke --list."""\n\n{NAMESPACE}  # noqa: F401\n'
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Plan:
    """What is to be written into the folder `root`; nothing of it exists yet."""

    root: Path
    before: bytes | None
    """What pyproject.toml holds now; None: there is none."""
    after: bytes
    tasks_there: str
    """What Invoke reads its tasks from already; "" where a tasks.py is to be written."""

    @property
    def names(self) -> list[str]:
        """The files that are written."""
        return ["pyproject.toml", *([] if self.tasks_there else ["tasks.py"])]


def find_table(root: Path) -> Path | None:
    """Return the pyproject.toml that has a table [tool.dbtools] already: of the folder, or above it in its repository.

    Raises:
        ConfigurationError: The table is wrong, or a pyproject.toml cannot be read.
    """
    for folder in (root, *root.parents):
        path = folder / "pyproject.toml"
        content = _read(path)
        if content is not None and "dbtools" in _tools(path, content):
            return Project.find(folder).root / "pyproject.toml"
        if (folder / ".git").exists():
            break
    return None


def plan(root: Path, table: str) -> Plan:
    """Return what would be written so that `table` stands at the end of pyproject.toml.

    Raises:
        ConfigurationError: pyproject.toml cannot be read, or dbtools would not read the table in it.
    """
    path = root / "pyproject.toml"
    before = _read(path)
    newline = "\r\n" if before and b"\r\n" in before else "\n"
    start = before or b""
    ends = start.endswith(b"\n") + start.endswith((b"\n\n", b"\n\r\n"))
    gap = newline * (2 - ends) if start else ""
    after = start + (gap + table.replace("\n", newline)).encode()
    tools = _tools(path, start)
    try:
        written = tomllib.loads(after.decode())["tool"]["dbtools"]
    except (tomllib.TOMLDecodeError, TypeError):  # tool = { … } is closed, and [[tool]] is a list
        raise ConfigurationError(
            f"A table [tool.dbtools] cannot be added to {path}.",
            "Its key tool is not a table that one can be added to at the file's end.",
            "Write what it holds as tables of their own, such as [tool.ruff], and run this again.",
            UNCHANGED,
        ) from None
    read_table(path, written, has_alembic="alembic" in tools)
    there = (name for name in ("tasks.py", "tasks") if os.path.lexists(root / name))
    return Plan(root, before, after, next(there, ""))


def write(planned: Plan) -> Project:
    """Write the files and return the project as dbtools reads it then.

    Each is written aside, and put in place at once. tasks.py comes first: where that alone was done, another run does
    the rest.

    Raises:
        ConfigurationError: A file cannot be written, or was changed meanwhile.
    """
    root = planned.root
    path = (root / "pyproject.toml").resolve()  # a link stays a link
    with _one_at_a_time(root), ExitStack() as undo:
        try:
            if not planned.tasks_there:
                with _aside(root / "tasks.py", TASKS.encode()) as written:
                    os.link(written, root / "tasks.py")  # never over a file that somebody else has just made
                undo.callback((root / "tasks.py").unlink)
            with _aside(path, planned.after) as written:
                if _read(path) != planned.before:
                    raise ConfigurationError(
                        f"{path} was changed while its table was written.", "", "Run this again.", UNCHANGED
                    )
                written.replace(path)
        except OSError as error:
            raise ConfigurationError(
                f"{' and '.join(planned.names)} cannot be written in {root}.",
                f"{error.strerror}: {error.filename}.",
                "Make that writable, or take the lines from --dry-run.",
                UNCHANGED,
            ) from None
        undo.pop_all()
    try:
        return Project.find(root)
    except ConfigurationError as error:
        error.state = f"{' and '.join(planned.names)} were written."
        raise


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Hold a lock on the folder against other runs. The kernel frees it when this process ends."""
    handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _aside(path: Path, content: bytes) -> Iterator[Path]:
    """Yield a synced file that may take the place of `path`; it is gone afterwards, unless it was renamed."""
    mask = os.umask(0)
    os.umask(mask)
    before = path.stat() if path.exists() else None
    if before is not None and not os.access(path, os.W_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            if before is not None:
                with suppress(PermissionError):  # only root may give a file away
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), before.st_mode & 0o7777 if before is not None else 0o666 & ~mask)
            os.fsync(file.fileno())
        yield aside
    finally:
        aside.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    """Return a file's content, None where there is no such file.

    Raises:
        ConfigurationError: It is there and cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise _unreadable(path, "It is no file")
        return path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise _unreadable(path, f"It is a link to {path.readlink()}, which does not exist") from None
        return None
    except OSError as error:
        raise _unreadable(path, f"{error.strerror}") from None


def _tools(path: Path, content: bytes) -> dict[str, object]:
    """Return the tables below [tool] of a pyproject.toml.

    Raises:
        ConfigurationError: It is no valid TOML.
    """
    if content.startswith(BOM):
        raise _unreadable(path, "It begins with a byte order mark, which TOML does not allow")
    try:
        tools = tomllib.loads(content.decode()).get("tool", {})
    except ValueError as error:  # TOMLDecodeError, or bytes that are not UTF-8
        raise _unreadable(path, f"It is not valid TOML: {error}") from None
    return dict(tools) if isinstance(tools, dict) else {}


def _unreadable(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be read.", f"{why}.", "Correct that, and run this again.", UNCHANGED)
