"""A pet on the table is neither confirmed nor completed: the status gains a value.

No later revision uses the value: in the transaction that adds it, PostgreSQL 16 does not allow that.
"""

from __future__ import annotations

from alembic import op

revision = "0009_in_progress"
down_revision = "0008_confirmations"

UP = """
alter type appointment_status add value 'in_progress' before 'completed';
"""
DOWN = """
-- PostgreSQL cannot take a value away, so the type is made anew; what is in progress counts as confirmed again.
alter table appointments alter column status drop default;
alter type appointment_status rename to appointment_status_with_in_progress;
create type appointment_status as enum ('scheduled', 'confirmed', 'completed', 'cancelled', 'no_show');
alter table appointments
    alter column status type appointment_status
        using replace(status::text, 'in_progress', 'confirmed')::appointment_status,
    alter column status set default 'scheduled';
drop type appointment_status_with_in_progress;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
