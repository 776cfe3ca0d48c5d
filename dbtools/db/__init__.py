"""PostgreSQL and nothing else: connection strings, sessions, the catalog, locks. Knows no chain and no application."""
