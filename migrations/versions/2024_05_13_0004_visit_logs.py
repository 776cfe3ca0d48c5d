"""What was done at each visit, and what the next groomer has to know about the pet."""

from __future__ import annotations

from alembic import op

revision = "0004_visit_logs"
down_revision = "0003_tip_splits"

UP = """
create table grooming_visit_logs (
    id uuid default gen_random_uuid() not null,
    pet_id uuid not null,
    appointment_id uuid,
    staff_id uuid,
    cut_style text,
    products_used text,
    notes text,
    groomed_at timestamp default now() not null,
    created_at timestamp default now() not null,
    constraint grooming_visit_logs_pkey primary key (id),
    constraint grooming_visit_logs_pet_id_pets_id_fk foreign key (pet_id) references pets (id) on delete cascade,
    constraint grooming_visit_logs_appointment_id_appointments_id_fk
        foreign key (appointment_id) references appointments (id) on delete set null,
    constraint grooming_visit_logs_staff_id_staff_id_fk foreign key (staff_id) references staff (id) on delete set null
);

alter table pets
    add column health_alerts text,
    add column cut_style text,
    add column shampoo_preference text,
    add column special_care_notes text,
    add column custom_fields jsonb default '{}' not null;
"""
DOWN = """
alter table pets
    drop column custom_fields,
    drop column special_care_notes,
    drop column shampoo_preference,
    drop column cut_style,
    drop column health_alerts;

drop table grooming_visit_logs;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
