"""Rebuild, seed and check a PostgreSQL database, one run at a time.

DATABASE_URL selects the database. Without it the tasks use the project's own embedded PostgreSQL 16, and start it if
necessary.
"""

from dbtools.commands import namespace

__all__ = ["namespace"]
