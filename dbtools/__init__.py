"""Rebuild a PostgreSQL database to a known state as one unit that no concurrent run can break."""
