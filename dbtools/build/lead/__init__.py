"""What runs inside the project's Python programs: every connection is led to one database, and inputs are recorded.

This folder is put first on PYTHONPATH of a child process, so Python imports `sitecustomize` from it before the program
starts. It asks for nothing but the standard library of Python 3.8: it runs in the project's interpreter, which may
have neither dbtools nor its requirements. In the child its modules are a package of their own, `dbtools_lead`.

These variables steer it:

- DBTOOLS_LEAD_URL: the database. Without it nothing is led.
- DBTOOLS_LEAD_FENCE: the key of an advisory lock, which every led connection takes in its shared form first.
- DBTOOLS_LEAD_PYTHON: dbtools' own Python, in which the programs of `bin` lead psql and the like (see `run_client`).
- DBTOOLS_RECORD: the file to which what the program reads is appended, as lines of JSON.

Connections are led where the driver opens them (see `drivers`), not where a URL is read: so neither a settings file, a
`creator=`, a pool nor a constant in the code leads past it. What is not led: clients that are not Python's DB-API
drivers (psycopg's own `pq` layer, libpq through ctypes, ODBC, Rust extensions called without SQLAlchemy), and an
interpreter started with -I, -E or -S.
"""
