"""Alembic's environment for the till: the sample application's invoices in little, for the races."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
