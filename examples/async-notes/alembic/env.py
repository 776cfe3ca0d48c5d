"""Alembic's environment as `alembic init -t async` writes it, with the application's settings."""

import asyncio
from logging.config import fileConfig

from alembic import context
from notes.models import Base
from notes.settings import url
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import async_engine_from_config

config = context.config
assert config.config_file_name is not None
fileConfig(config.config_file_name)
config.set_main_option("sqlalchemy.url", url().replace("%", "%%"))


def run(connection: Connection) -> None:
    """Run the migrations on a connection."""
    context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    """Connect as the settings say."""
    engine = async_engine_from_config(config.get_section(config.config_ini_section, {}), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


asyncio.run(main())
