"""Alembic's environment. Three ways in:

- with a connection (`config.attributes["connection"]`), from dbtools or a test: the transaction may be the caller's;
- offline (`alembic upgrade head --sql`, and dbtools when it renders a reset): no server, no URL;
- by hand (`alembic upgrade head`): the database at DATABASE_URL.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from alembic import context

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData

config = context.config


def metadata() -> MetaData | None:
    """Return the models' metadata, or None for the commands that go to a revision: upgrade, downgrade and stamp.

    Those compare nothing with the models, and importing the models takes longer than an upgrade. Nor may the models'
    naming convention reach them: a revision's names are its own.
    """
    try:
        context.get_revision_argument()
    except KeyError:  # no destination: check, revision --autogenerate and the like
        from groombook.models import Base

        return Base.metadata
    return None


def run(connection: Connection) -> None:
    """Run the migrations on a connection. All revisions share one transaction."""
    context.configure(connection=connection, target_metadata=metadata(), compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


def run_by_hand() -> None:
    """Run the migrations on the database at DATABASE_URL, saying which where Alembic is the program."""
    from sqlalchemy import create_engine, pool

    from dbtools.db.dsn import Dsn

    if config.cmd_opts is not None:
        # Not fileConfig, which Alembic's own templates use: it turns off every logger that exists already.
        logging.basicConfig(format="%(message)s")
        logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)
    url = Dsn.parse(os.environ.get("DATABASE_URL", "")).sqlalchemy_url
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        run(connection)


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif config.attributes.get("connection") is not None:
    run(config.attributes["connection"])
else:
    run_by_hand()
