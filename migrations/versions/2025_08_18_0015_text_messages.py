"""Reminders go out by text message too, to clients who agreed; each channel counts by itself."""

from __future__ import annotations

from alembic import op

revision = "0015_text_messages"
down_revision = "0014_card_payments"

UP = """
alter table clients
    add column sms_opt_in boolean default false not null,
    add column sms_consent_date timestamp,
    add column sms_opt_out_date timestamp,
    add column sms_consent_text text;

alter table reminder_logs
    add column channel text default 'email' not null,
    drop constraint reminder_logs_appointment_id_reminder_type_unique,
    add constraint reminder_logs_appointment_id_reminder_type_channel_unique
        unique (appointment_id, reminder_type, channel);
"""
DOWN = """
-- One reminder of a type is allowed again, so of two channels the earlier one stays.
delete from reminder_logs later using reminder_logs earlier
where later.appointment_id = earlier.appointment_id and later.reminder_type = earlier.reminder_type
    and (later.sent_at, later.id) > (earlier.sent_at, earlier.id);

alter table reminder_logs
    drop constraint reminder_logs_appointment_id_reminder_type_channel_unique,
    drop column channel,
    add constraint reminder_logs_appointment_id_reminder_type_unique unique (appointment_id, reminder_type);

alter table clients
    drop column sms_consent_text,
    drop column sms_opt_out_date,
    drop column sms_consent_date,
    drop column sms_opt_in;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
