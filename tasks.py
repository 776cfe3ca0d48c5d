"""Rebuild, seed and check a PostgreSQL database, one run at a time.

DATABASE_URL selects the database; without it the project's own embedded PostgreSQL 16 is used, started if need be.
"""

from dbtools.commands import namespace

__all__ = ["namespace"]
