"""Notes are looked up by notebook: an index that is built while others write, which no transaction can hold."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create it."""
    assert op.get_bind().exec_driver_sql("select count(*) from notes").scalar_one() == 0
    with op.get_context().autocommit_block():
        op.create_index("ix_notes_notebook_id", "notes", ["notebook_id"], postgresql_concurrently=True)
