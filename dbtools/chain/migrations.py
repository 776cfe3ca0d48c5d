"""Alembic migrations: rendered once as SQL and cached, or run in process on our connection.

Importing Alembic and SQLAlchemy takes nearly as long as the rest of a reset. A reset starts from an empty schema, so
the SQL from nothing to head is the same every time: Alembic renders it in its offline mode, the text is cached under a
hash of the migrations folder and Alembic's version, and the chain executes it. A history that cannot be rendered,
because a revision queries the database, runs through Alembic itself.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self

from dbtools.chain.phase import hint
from dbtools.errors import ChainFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import psycopg
    from alembic.config import Config

RENDERING = 2
"""Raised whenever the same files are rendered differently: cached text is then rendered again."""
_REVISION = re.compile(r"^-- Running upgrade .*-> ([^\s,]+)", re.MULTILINE)
_QUOTED = re.compile(
    r"\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|\bbegin\s+atomic\b.*?\bend\b",
    re.DOTALL | re.IGNORECASE,
)
_CONTROL = re.compile(
    r"(?:\A|;)\s*(?:begin|start\s+transaction|commit|end|rollback(?!\s+to\b)|abort|prepare\s+transaction)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Revision:
    """One migration: its id and the SQL that Alembic rendered for it."""

    name: str
    sql: str

    @property
    def commits(self) -> bool:
        """Whether it begins or ends a transaction, as Alembic's autocommit blocks do."""
        return bool(_CONTROL.search(_QUOTED.sub("x", self.sql)))


@dataclass(frozen=True)
class RenderedMigrations:
    """The migrations from an empty schema to head, in order."""

    revisions: tuple[Revision, ...]

    @property
    def committing(self) -> str:
        """The first revision that commits by itself, so that not all can run in one transaction, or ""."""
        return next((revision.name for revision in self.revisions if revision.commits), "")

    def run(self, connection: psycopg.Connection, after: Callable[[str], None] = lambda _: None) -> None:
        """Execute every revision on `connection`, in the caller's transaction, and call `after` with its id.

        Raises:
            ChainFailed: Names the revision that failed. The caller sets the state.
        """
        import psycopg

        for revision in self.revisions:
            try:
                connection.execute(revision.sql)
            except psycopg.Error as error:
                raise failed(revision.name, error) from error
            after(revision.name)


def load_rendered(folder: Path, cache: Path, note: Callable[[str], None] = lambda _: None) -> RenderedMigrations | None:
    """Return the migrations in `folder` as SQL, from `cache` if they were rendered before, or None.

    `note` is told where the cache cannot be written to; they are rendered again the next time.
    None means that Alembic's offline mode cannot render them; run them through `AlembicMigrations` instead.
    """
    path = cache / f"migrations-{_fingerprint(folder)}.sql"
    if path.is_file():
        return _parse(path.read_text("utf-8"))
    text = _render(folder)
    if text is None:
        return None
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for stale in cache.glob("migrations-*.sql"):
            stale.unlink(missing_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(text, "utf-8")
        draft.replace(path)
    except OSError as error:
        note(f"The cache {cache} cannot be written to ({error.strerror}): the migrations are rendered each time")
    return _parse(text)


class AlembicMigrations:
    """Alembic itself, on a session that stays ours: this never closes it.

    With `owned`, the transaction is the caller's and Alembic neither commits nor rolls back; without, Alembic commits
    as it likes, as autocommit blocks need. Create it before there is anything to roll back: SQLAlchemy queries the
    server first, and rolls back after that.
    """

    def __init__(self, connection: psycopg.Connection, folder: Path, *, owned: bool) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import StaticPool

        connection.autocommit = False
        self._folder = folder
        engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
        self._connection = engine.connect()
        if owned:
            # Alembic leaves the transaction of a connection that has begun one to its owner.
            self._connection.begin()

    def run(self, connection: psycopg.Connection, after: Callable[[str], None] = lambda _: None) -> None:
        """Upgrade to head on `connection`, the session given before, and call `after` with each revision.

        Raises:
            ChainFailed: Names the revision that failed. The caller sets the state.
        """
        from alembic import command
        from sqlalchemy.exc import DBAPIError

        assert self._connection.connection.driver_connection is connection
        with _Progress(after) as progress:
            try:
                command.upgrade(configure(self._folder, connection=self._connection), "head")
                progress.finish()
            except ChainFailed:  # what `after` raised
                raise
            except Exception as error:  # a revision is application code and may raise anything
                cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
                raise failed(progress.revision, cause) from error

    def close(self) -> None:
        """Detach from the session without touching it or its transaction."""
        if not self._connection.invalidated:  # by the loss of the session: there is nothing to detach from
            self._connection.detach()


class _Progress(logging.Handler):
    """Remembers the revision that Alembic is running; only its log tells."""

    def __init__(self, after: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.revision = ""
        self._after = after
        self._logger = logging.getLogger("alembic.runtime.migration")

    def emit(self, record: logging.LogRecord) -> None:
        found = re.match(r"Running upgrade .*-> ([^\s,]+)", record.getMessage())
        if found:
            self.finish()
            self.revision = found[1]

    def finish(self) -> None:
        """The revision is over."""
        if self.revision:
            self._after(self.revision)

    def __enter__(self) -> Self:
        self._level = self._logger.level
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)


def configure(folder: Path, **attributes: Any) -> Config:
    """Return an Alembic configuration for the migrations in `folder`; `attributes` are what env.py reads."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config


def current_revision(connection: psycopg.Connection) -> str:
    """Return the revision the database is at, or "" where no migration ran."""
    import psycopg

    try:
        with connection.transaction():
            row = connection.execute("select string_agg(version_num, ', ') from alembic_version").fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InFailedSqlTransaction):
        return ""
    return str(row[0]) if row and row[0] else ""


def failed(revision: str, error: BaseException) -> ChainFailed:
    """Return the error for the migration `revision` ("" where it is not known which)."""
    import psycopg

    reason = " ".join(str(error).split()).rstrip(".")
    # A full disk or a lost connection is not the revision's fault.
    next_step = (
        hint(error) if isinstance(error, psycopg.OperationalError) else "Correct that revision and run this again."
    )
    return ChainFailed(
        f"Migration {revision} failed." if revision else "The migrations failed.",
        f"{reason}.",
        next_step,
    )


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    digest.update(f"{RENDERING} {version('alembic')} {version('sqlalchemy')}\n".encode())
    for path in sorted(_sources(folder)):
        digest.update(f"{path.relative_to(folder)}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _sources(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def _render(folder: Path) -> str | None:
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    output = io.StringIO()
    config = configure(folder)
    config.output_buffer = output
    try:
        scripts = ScriptDirectory.from_config(config)

        environment = EnvironmentContext(
            config,
            scripts,
            fn=lambda revision, _: scripts._upgrade_revs("head", revision),  # noqa: SLF001 - as Alembic's own command
            as_sql=True,
            destination_rev="head",
        )
        plain = environment.configure

        def with_literal_percent(*arguments: Any, **options: Any) -> None:
            # The driver's paramstyle doubles every %; rendered SQL has no parameters.
            options["dialect_opts"] = {"paramstyle": "named"} | (options.get("dialect_opts") or {})
            plain(*arguments, **options)

        environment.configure = with_literal_percent  # type: ignore[method-assign]
        with redirect_stdout(io.StringIO()), environment:
            scripts.run_env()
    except Exception:  # noqa: BLE001 - a revision that queries the database fails here; `AlembicMigrations` reports other faults
        return None
    return output.getvalue()


def _parse(text: str) -> RenderedMigrations:
    # Alembic opens the output with BEGIN and closes it with COMMIT where everything fits into one transaction. The
    # transaction is the caller's, so these two go; any that remain show a revision that commits by itself.
    body = re.sub(r"\A\s*BEGIN;\s*", "", text)
    body = re.sub(r"\s*COMMIT;\s*\Z", "\n", body)
    marks = list(_REVISION.finditer(body))
    if not marks:
        return RenderedMigrations(())
    starts = [0, *(mark.start() for mark in marks[1:])]
    ends = [*starts[1:], len(body)]
    return RenderedMigrations(
        tuple(Revision(mark[1], body[start:end]) for mark, start, end in zip(marks, starts, ends, strict=True))
    )
