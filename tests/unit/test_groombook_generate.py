"""The seeder's rows: every rule on any profile, seed and date, and the same bytes everywhere."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dbtools.errors import ConfigurationError
from groombook.generate import generate
from groombook.profiles import PROFILES
from tests.unit.groombook_rules import RULES, Seeded, seeded

DAY = dt.date(2026, 11, 23)
ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "tests" / "data" / "groombook-schema.txt"

# A change to one of these changes every database seeded with the same profile, seed and date. It is right
# only when the rows were meant to change, and then users need to be told.
GOLDEN = {
    "dev": "9c55ef703420119d1a582a99dc142b43f840599148525d2f7d306a5fbf950a35",
    "uat": "037b8b01640d9d50a9b2b1aa0c0bde3a0d4f050ed604cd2023c3ed3cd1e6cc85",
    "demo": "5a38efd99f7df911210c4dbfa5048f07bc1fb7faf8abe2a2f410e4a01d7a3c25",
}

SUMMARIES = {
    "dev": (
        "Created 4 staff (1 manager, 1 receptionist, 2 groomers)",
        "Created 10 services",
        "Created 100 clients with 176 pets",
        "Created 1000 invoices with line items and tip splits",
        "Created 1000 grooming visit logs",
    ),
    "uat": (
        "Created 8 staff (1 manager, 1 receptionist, 3 groomers, 3 bathers)",
        "Created 10 services",
        "Created 500 clients with 880 pets",
        "Created 5 UAT test clients with guaranteed pending invoices",
        "Created 4000 invoices with line items and tip splits",
        "Created 4000 grooming visit logs",
    ),
}
SUMMARIES["demo"] = SUMMARIES["uat"]

COUNTS = {
    # clients, pets, appointments, invoices
    "dev": (100, 176, 1571, 1000),
    "uat": (505, 885, 6291, 4005),
    "demo": (505, 885, 6291, 4005),
}


def fingerprint(profile: str) -> str:
    dataset = generate(profile, 42, DAY)
    content = [[table.table, table.columns, table.rows] for table in dataset.tables]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


@pytest.mark.timeout(1800)  # some hundred thousand rows, and coverage counts every line of each
@settings(max_examples=25)
@given(
    # The large profiles follow the same code and take five times as long.
    profile=st.sampled_from(["dev", "dev", "dev", "dev", "uat", "demo"]),
    seed=st.integers(-(2**31), 2**32 - 1),
    as_of=st.dates(dt.date(1990, 1, 1), dt.date(2100, 12, 31)),
)
@example(profile="dev", seed=42, as_of=dt.date(2028, 2, 29))
@example(profile="dev", seed=0, as_of=dt.date(2028, 3, 1))
@example(profile="dev", seed=-1, as_of=dt.date(2026, 12, 31))
@example(profile="dev", seed=1, as_of=dt.date(2027, 1, 1))
@example(profile="uat", seed=42, as_of=dt.date(2100, 2, 28))
def test_every_rule_holds(profile: str, seed: int, as_of: dt.date) -> None:
    data = seeded(profile, seed, as_of)
    for rule in RULES:
        rule(data)


@pytest.mark.parametrize("profile", list(PROFILES))
def test_counts_and_summary(profile: str) -> None:
    dataset = generate(profile, 42, DAY)
    counts = {table.table: len(table.rows) for table in dataset.tables}
    tables = ("clients", "pets", "appointments", "invoices")
    assert tuple(counts[table] for table in tables) == COUNTS[profile]
    assert dataset.summary == SUMMARIES[profile]


def test_dev_is_the_default_profile() -> None:
    assert list(PROFILES) == ["dev", "uat", "demo"]


def test_other_appointments_are_four_in_eleven() -> None:
    for profile in PROFILES.values():
        others = profile.cancelled + profile.no_show + profile.scheduled + profile.confirmed
        assert others == round(profile.completed * 4 / 7)


def test_the_same_arguments_give_the_same_dataset() -> None:
    assert generate("dev", 7, DAY) == generate("dev", 7, DAY)


def test_another_seed_gives_other_ids() -> None:
    one, other = seeded("dev", 42, DAY), seeded("dev", 43, DAY)
    assert not one.by_id["clients"].keys() & other.by_id["clients"].keys()


def test_another_date_changes_nothing_but_dates() -> None:
    dated = {
        "created_at", "updated_at", "date_of_birth", "start_time", "end_time", "confirmed_at", "cancelled_at",
        "paid_at", "groomed_at", "sms_consent_date",
    }  # fmt: skip

    def timeless(data: Seeded) -> dict[str, list[dict[str, object]]]:
        return {
            name: [{column: row[column] for column in row.keys() - dated} for row in rows]
            for name, rows in data.tables.items()
        }

    assert timeless(seeded("dev", 42, DAY)) == timeless(seeded("dev", 42, dt.date(1999, 2, 28)))


def test_test_clients_leave_the_other_rows_as_they_are() -> None:
    demo = generate("demo", 42, DAY).tables
    uat = generate("uat", 42, DAY).tables
    assert [table.table for table, other in zip(demo, uat, strict=True) if table != other] == ["staff"]
    assert [row[:-1] for row in demo[0].rows] == [row[:-1] for row in uat[0].rows]


@pytest.mark.parametrize("profile", list(GOLDEN))
def test_golden_fingerprint(profile: str) -> None:
    assert fingerprint(profile) == GOLDEN[profile]


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8"},
        {"PYTHONHASHSEED": "4242", "TZ": "America/St_Johns", "LC_ALL": "POSIX", "PYTHONOPTIMIZE": "2"},
    ],
    ids=["plain", "far east", "odd offset"],
)
def test_no_hash_seed_time_zone_or_locale_leaks_in(environment: dict[str, str]) -> None:
    program = "from test_groombook_generate import fingerprint; print(fingerprint('dev'))"
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == GOLDEN["dev"], result.stderr


def test_columns_exist_and_those_with_a_default_or_not_null_are_given() -> None:
    columns: dict[str, dict[str, str]] = {}
    for line in SCHEMA.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            columns[line[3:]] = {}
        elif columns and line and not line.startswith(("constraint ", "index ")):
            name, _, kind = line.partition("  ")
            columns[list(columns)[-1]][name] = kind
    for table in generate("dev", 42, DAY).tables:
        known = columns[table.table]
        assert set(table.columns) <= known.keys()
        required = {name for name, kind in known.items() if "not null" in kind or " default " in kind}
        assert required <= set(table.columns)
        for row in table.rows:
            given_values = dict(zip(table.columns, row, strict=True))
            assert None not in [given_values[name] for name in required]


@pytest.mark.parametrize("as_of", [dt.date(1, 1, 1), dt.date(1899, 12, 31), dt.date(9999, 12, 31)])
def test_dates_without_room_around_them_are_refused(as_of: dt.date) -> None:
    with pytest.raises(ConfigurationError) as caught:
        generate("dev", 42, as_of)
    assert str(caught.value) == (
        f"GroomBook's rows cannot be generated as of {as_of.isoformat()}.\n"
        "The year must lie between 1900 and 9900, so that every row's dates exist.\n"
        "Give a date such as 2026-11-23, or none for today."
    )


@pytest.mark.parametrize("as_of", [dt.date(1900, 1, 1), dt.date(9900, 12, 31)])
def test_first_and_last_dates_are_accepted(as_of: dt.date) -> None:
    data = seeded("dev", 42, as_of)
    for rule in RULES:
        rule(data)


def test_a_date_with_a_time_counts_as_the_date() -> None:
    evening = dt.datetime(2026, 11, 23, 23, 59, tzinfo=dt.UTC)
    assert generate("dev", 42, evening) == generate("dev", 42, DAY)
