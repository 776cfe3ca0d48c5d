"""The rules of GroomBook's data as SQL: they hold on what the seeder makes, and each breaks when the data does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import psycopg
import pytest
from alembic import command
from sqlalchemy import create_engine, pool

from dbtools.chain.copy import copy_rows, encode, insert_missing
from dbtools.db.dsn import Dsn
from groombook.application import application
from tests.support.migrations import configure

DAY = dt.date(2026, 11, 23)
ENVIRONMENT = {
    "SEED_ADMIN_EMAIL": "a@example.com",
    "SEED_ADMIN_NAME": "R'); DROP TABLE staff;--\\N",
    "SEED_UAT_SUPER_OIDC_SUB": "x",
    "SEED_UAT_STAFF_OIDC_SUB": "y",
    "SEED_UAT_GROOMER_EMAILS": "b@example.com,c@example.com",
    "SEED_UAT_GROOMER_NAMES": "B,C",
}
# Each of these breaks at least one rule, and together they break every rule.
FAULTS = [
    (
        "update invoices set tax_cents = tax_cents+1, total_cents = total_cents+1 where id = (select id from "
        "invoices limit 1)"
    ),
    "update invoices set total_cents = total_cents+1 where id = (select id from invoices limit 1)",
    (
        "update invoices set tip_cents = -5, total_cents = subtotal_cents+tax_cents-5 where id = (select id from "
        "invoices where status = 'pending' limit 1)"
    ),
    "update appointments set price_cents = 1 where id = (select appointment_id from invoices limit 1)",
    (
        "update invoice_line_items set total_cents = total_cents-1 where id = (select id from invoice_line_items "
        "limit 1)"
    ),
    "update invoice_line_items set quantity = 2 where id = (select id from invoice_line_items limit 1)",
    "delete from invoice_line_items where id = (select id from invoice_line_items limit 1)",
    (
        "insert into invoice_line_items select gen_random_uuid(), invoice_id, description, 1, 0, 0, created_at "
        "from invoice_line_items limit 1"
    ),
    "delete from invoices where id = (select id from invoices where status = 'pending' limit 1)",
    "update invoices set appointment_id = null where id = (select id from invoices limit 1)",
    "update appointments set status = 'cancelled' where id = (select appointment_id from invoices limit 1)",
    (
        "update appointments set status = 'completed' where id = (select id from appointments where status = "
        "'cancelled' limit 1)"
    ),
    "delete from grooming_visit_logs where id = (select id from grooming_visit_logs limit 1)",
    ("update grooming_visit_logs set appointment_id = null where id = (select id from grooming_visit_logs limit 1)"),
    (
        "update grooming_visit_logs set pet_id = (select id from pets where id <> pet_id limit 1) where id = "
        "(select id from grooming_visit_logs limit 1)"
    ),
    "update grooming_visit_logs set staff_id = null where id = (select id from grooming_visit_logs limit 1)",
    "insert into clients(name) values ('x')",
    (
        "with o as (select client_id from pets group by 1 having count(*) = 3 limit 1) insert into "
        "pets(client_id, name, species) select client_id, 'x', 'Dog' from o"
    ),
    (
        "with o as (select client_id from pets group by 1 having count(*) = 1 limit 1) update pets set client_id "
        "= '00000000-0000-0000-0000-000000000002' where client_id = (select client_id from o)"
    ),
    (
        "update appointments set client_id = '00000000-0000-0000-0000-000000000002' where id = (select id from "
        "appointments where status = 'cancelled' limit 1)"
    ),
    (
        "update invoices set client_id = '00000000-0000-0000-0000-000000000002' where id = (select id from "
        "invoices limit 1)"
    ),
    (
        "update appointments set start_time = start_time+interval '5 min', end_time = end_time+interval '5 min' "
        "where id = (select id from appointments where status = 'scheduled' limit 1)"
    ),
    (
        "update appointments set start_time = start_time::date+interval '17 h', end_time = "
        "start_time::date+interval '17 h'+(end_time-start_time) where id = (select id from appointments where "
        "status = 'scheduled' order by start_time desc limit 1)"
    ),
    (
        "update appointments set end_time = end_time+interval '1 min' where id = (select id from appointments "
        "where status = 'scheduled' limit 1)"
    ),
    (
        "update appointments set status = 'scheduled' where id = (select id from appointments where status = "
        "'cancelled' limit 1)"
    ),
    (
        "update appointments a set start_time = b.start_time, end_time = b.end_time from (select x.id as xid, "
        "y.start_time, y.end_time from appointments x join appointments y on x.pet_id = y.pet_id and x.service_id "
        "= y.service_id and x.id <> y.id and x.status = 'cancelled' and y.status = 'cancelled' limit 1) b where "
        "a.id = b.xid"
    ),
    (
        "update invoice_tip_splits set share_cents = share_cents+1 where id = (select id from invoice_tip_splits "
        "limit 1)"
    ),
    "delete from invoice_tip_splits where invoice_id = (select invoice_id from invoice_tip_splits limit 1)",
    (
        "insert into invoice_tip_splits(invoice_id, staff_name, share_pct, share_cents) select id, 'x', 100, "
        "tip_cents from invoices where status = 'pending' and tip_cents>0 limit 1"
    ),
    (
        "insert into invoice_tip_splits(invoice_id, staff_name, share_pct, share_cents) select id, 'x', 100, 0 "
        "from invoices where status = 'pending' and tip_cents = 0 limit 1"
    ),
    (
        "update invoice_tip_splits set share_pct = 99 where id = (select id from invoice_tip_splits where "
        "share_pct = 100 limit 1)"
    ),
    "update invoice_tip_splits set staff_name = 'x' where id = (select id from invoice_tip_splits limit 1)",
    "update invoice_tip_splits set staff_id = null where id = (select id from invoice_tip_splits limit 1)",
    (
        "update invoice_tip_splits set share_pct = 100-share_pct where invoice_id = (select invoice_id from "
        "invoice_tip_splits where share_pct = 60 limit 1)"
    ),
    (
        "update invoices set paid_at = paid_at+interval '31 min' where id = (select id from invoices where status "
        "= 'paid' limit 1)"
    ),
    "update invoices set paid_at = null where id = (select id from invoices where status = 'paid' limit 1)",
    ("update invoices set payment_method = null where id = (select id from invoices where status = 'paid' limit 1)"),
    (
        "update invoices set payment_method = 'cash' where id = (select id from invoices where status = 'pending' "
        "limit 1)"
    ),
    (
        "update invoices set stripe_payment_intent_id = null where id = (select id from invoices where status = "
        "'paid' limit 1)"
    ),
    ("update invoices set status = 'void' where id = (select id from invoices where status = 'pending' limit 1)"),
    (
        "alter table invoices drop constraint idx_invoices_stripe_payment_intent_id; update invoices set "
        "stripe_payment_intent_id = 'same' where status = 'paid'"
    ),
]


@pytest.fixture
def database(pg_database: str) -> Iterator[psycopg.Connection]:
    """A migrated database without data."""
    with create_engine(Dsn.parse(pg_database).sqlalchemy_url, poolclass=pool.NullPool).begin() as migrating:
        command.upgrade(configure(migrating), "head")
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


def as_text(value: object) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def broken(connection: psycopg.Connection) -> list[str]:
    return [rule.name for rule in application.invariants if connection.execute(rule.query).fetchall()]


@pytest.mark.parametrize(
    ("profile", "seed", "day"), [("dev", 42, DAY), ("uat", 42, DAY), ("demo", -1, dt.date(2028, 2, 29))]
)
def test_they_hold_on_what_is_seeded(database: psycopg.Connection, profile: str, seed: int, day: dt.date) -> None:
    dataset = application.generate(profile, seed, day)
    copy_rows(database, encode(dataset))
    assert broken(database) == []
    insert_missing(database, application.environment_users(ENVIRONMENT, day))
    insert_missing(database, application.known_users(ENVIRONMENT, day))
    assert broken(database) == []


def test_every_value_arrives_as_it_was_generated(database: psycopg.Connection) -> None:
    dataset = application.generate("dev", 42, DAY)
    copy_rows(database, encode(dataset))
    for table in dataset.tables:
        columns = ", ".join(f"{name}::text" for name in table.columns)
        stored = {row[0]: row for row in database.execute(f"select {columns} from {table.table}")}
        for row in table.rows:
            assert stored[str(row[0])] == tuple(map(as_text, row))


def test_known_users_alone_are_added_once(database: psycopg.Connection) -> None:
    users = application.known_users(ENVIRONMENT, DAY)
    assert insert_missing(database, users) == sum(len(table.rows) for table in users.tables)
    assert insert_missing(database, users) == 0
    assert broken(database) == []
    name = database.execute("select name from staff where email = 'a@example.com'").fetchone()
    assert name == ("R'); DROP TABLE staff;--\\N",)


def test_each_fault_is_found_and_each_rule_finds_one(database: psycopg.Connection) -> None:
    copy_rows(database, encode(application.generate("demo", 42, DAY)))
    insert_missing(database, application.known_users(ENVIRONMENT, DAY))
    assert broken(database) == []
    found: set[str] = set()
    for fault in FAULTS:
        with database.transaction(force_rollback=True):
            database.execute(fault)
            names = broken(database)
        assert names, fault
        found.update(names)
    assert found == {rule.name for rule in application.invariants}
