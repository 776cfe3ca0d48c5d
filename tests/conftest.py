"""What every test relies on: the fixtures of dbtools.testing, and an environment without settings of the developer."""

import os

pytest_plugins = ["dbtools.testing"]

_OURS = ("DATABASE_URL", "ALLOW_RESET", "NODE_ENV", "APP_ENV", "ENVIRONMENT")
for _name in list(os.environ):
    if _name in _OURS or (
        _name.startswith(("SEED_", "PG", "DBTOOLS_")) and _name not in ("DBTOOLS_TEST_URL", "DBTOOLS_POSTGRES_IMAGE")
    ):
        del os.environ[_name]
