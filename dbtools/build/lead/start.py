"""Start what the variables ask for: recording, leading, or both."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

FOLDER = os.path.dirname(os.path.abspath(__file__))
DRIVERS = frozenset(("psycopg", "psycopg2", "asyncpg", "pg8000", "sqlalchemy"))
OTHER_CLIENTS = frozenset(
    ("psycopg2cffi", "psqlpy", "pgdb", "_pg", "pg._pg", "postgresql.driver.pq3", "adbc_driver_postgresql")
)
"""Clients of PostgreSQL that we cannot lead. Their import fails, as if they were not installed."""
URL, FENCE, RECORD = "DBTOOLS_LEAD_URL", "DBTOOLS_LEAD_FENCE", "DBTOOLS_RECORD"
PYTHON = "DBTOOLS_LEAD_PYTHON"


def start() -> None:
    """Install what DBTOOLS_RECORD and DBTOOLS_LEAD_URL ask for into this process."""
    record_path, url = os.environ.get(RECORD), os.environ.get(URL)
    if not record_path and not url:
        return
    passed_on = {name: os.environ[name] for name in (URL, FENCE, RECORD, PYTHON) if name in os.environ}
    record = None
    if record_path:
        from .record import Record

        record = Record(record_path)
        passed_on[RECORD] = record.path
    if url:
        from .import_hooks import install

        fence = int(passed_on[FENCE]) if passed_on.get(FENCE) else None

        def lead(module: ModuleType) -> None:
            from .drivers import lead_module  # only now: a program without a database starts faster
            from .target import Target

            lead_module(module, Target(url), fence, record)

        install(DRIVERS | OTHER_CLIENTS, lead)
    from .audit import install as install_audit

    install_audit(record, FOLDER, passed_on)
    if record:
        from .variables import install as install_variables

        install_variables(record)
