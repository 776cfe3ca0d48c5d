"""The tests run on the seeded database that CLINIC_DATABASE_URL names, not on an empty one of their own."""

import pytest


@pytest.fixture(scope="session")
def django_db_setup() -> None:
    """Leave the database as it is: pytest-django's way to use an existing one."""
