"""What every test relies on: the fixtures of dbtools.testing, and an environment without settings of the developer."""

import os

from hypothesis import settings

from dbtools.chain.markers import names_environment

pytest_plugins = ["dbtools.testing"]

_OURS = ("DATABASE_URL", "ALLOW_RESET", "COLUMNS", "LINES")  # pytest-xdist sets the last two
_KEPT = ("DBTOOLS_TEST_URL", "DBTOOLS_POSTGRES_IMAGE", "DBTOOLS_ISOLATION")
for _name in list(os.environ):
    if (
        _name in _OURS
        or names_environment(_name)
        or (_name.startswith(("SEED_", "PG", "DBTOOLS_")) and _name not in _KEPT)
    ):
        del os.environ[_name]

settings.register_profile("dbtools", deadline=None)  # no clock decides a test: pytest-timeout ends a hang
settings.load_profile("dbtools")
