"""The rules of GroomBook's seeded rows, each a function that asserts one of them on a generated dataset."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from groombook.profiles import PROFILES, Profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.dataset import Dataset

Record = dict[str, Any]

SERVICES = {
    f"b0000001-0000-0000-0000-00000000000{digit}": rest
    for digit, rest in {
        "1": ("Bath & Brush", 4500, 45),
        "2": ("Full Groom — Small", 6500, 60),
        "3": ("Full Groom — Medium", 8000, 75),
        "4": ("Full Groom — Large", 9500, 90),
        "5": ("Nail Trim", 1500, 15),
        "6": ("Teeth Brushing", 1000, 10),
        "7": ("De-shedding Treatment", 5500, 60),
        "8": ("Puppy First Groom", 4000, 30),
        "9": ("Flea & Tick Treatment", 5000, 45),
        "a": ("Sanitary Trim", 2500, 20),
    }.items()
}
TEST_CLIENTS = ("Alpha", "Bravo", "Charlie", "Delta", "Echo")


@dataclass(frozen=True)
class Seeded:
    """A generated dataset with its rows as records."""

    profile: Profile
    as_of: dt.date
    dataset: Dataset

    @cached_property
    def tables(self) -> dict[str, list[Record]]:
        return {
            table.table: [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            for table in self.dataset.tables
        }

    @cached_property
    def by_id(self) -> dict[str, dict[str, Record]]:
        return {name: {row["id"]: row for row in rows} for name, rows in self.tables.items()}

    @property
    def midnight(self) -> dt.datetime:
        return dt.datetime.combine(self.as_of, dt.time())

    @property
    def extra(self) -> int:
        return 5 if self.profile.test_clients else 0

    def is_test_client(self, client_id: str) -> bool:
        return str(self.by_id["clients"][client_id]["name"]).startswith("UAT Test ")


def seeded(profile: str, seed: int, as_of: dt.date) -> Seeded:
    from groombook.generate import generate

    return Seeded(PROFILES[profile], as_of, generate(profile, seed, as_of))


@lru_cache(maxsize=20_000)
def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def ids_are_uuids_and_unique(data: Seeded) -> None:
    for name, rows in data.tables.items():
        assert len(data.by_id[name]) == len(rows)
    ids = [row["id"] for name, rows in data.tables.items() if name != "services" for row in rows]
    assert len(set(ids)) == len(ids)
    pattern = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(pattern.fullmatch(id_) for id_ in ids)


def counts_are_the_profile_s(data: Seeded) -> None:
    profile, extra = data.profile, data.extra
    counts = {name: len(rows) for name, rows in data.tables.items()}
    del counts["invoice_tip_splits"]
    assert counts == {
        "staff": profile.staff,
        "services": 10,
        "clients": profile.clients + extra,
        "pets": profile.pets + extra,
        "appointments": profile.behind + profile.ahead + extra,
        "invoices": profile.completed + extra,
        "invoice_line_items": profile.completed + extra,
        "grooming_visit_logs": profile.completed + extra,
    }
    assert Counter(row["status"] for row in data.tables["appointments"]) == {
        "completed": profile.completed + extra,
        "cancelled": profile.cancelled,
        "no_show": profile.no_show,
        "scheduled": profile.scheduled,
        "confirmed": profile.confirmed,
    }


def values_are_of_the_types_a_dataset_has(data: Seeded) -> None:
    for table in data.dataset.tables:
        for row in table.rows:
            assert len(row) == len(table.columns)
            assert all(value is None or type(value) in {str, int, bool} for value in row)


def references_are_to_rows_loaded_before(data: Seeded) -> None:
    parents = {
        "client_id": "clients",
        "pet_id": "pets",
        "service_id": "services",
        "staff_id": "staff",
        "bather_staff_id": "staff",
        "appointment_id": "appointments",
        "invoice_id": "invoices",
    }
    loaded: set[str] = set()
    for name, rows in data.tables.items():
        for column in data.dataset.tables[len(loaded)].columns:
            if parent := parents.get(column):
                assert parent in loaded
                assert {row[column] for row in rows} - {None} <= data.by_id[parent].keys()
        loaded.add(name)


def services_are_fixed(data: Seeded) -> None:
    assert {
        row["id"]: (row["name"], row["base_price_cents"], row["duration_minutes"]) for row in data.tables["services"]
    } == SERVICES


def staff_has_its_roles_and_addresses(data: Seeded) -> None:
    staff, profile = data.tables["staff"], data.profile
    assert Counter(row["role"] for row in staff) == {
        "manager": profile.managers,
        "receptionist": profile.receptionists,
        "groomer": profile.groomers + profile.bathers,
    }
    assert len({row["email"] for row in staff}) == len(staff)
    assert all(re.fullmatch(r"[a-z.]+@groombook\.dev", row["email"]) for row in staff)
    super_users = [row["role"] for row in staff if row["is_super_user"]]
    assert super_users == (["manager"] if profile.name == "uat" else [])


def clients_can_be_told_apart_and_reached_by_nobody(data: Seeded) -> None:
    clients = data.tables["clients"]
    assert len({row["email"] for row in clients}) == len(clients)
    for row in clients:
        assert re.fullmatch(r"\(555\) [1-9]\d\d-\d{4}", row["phone"])
        if not data.is_test_client(row["id"]):
            assert re.fullmatch(r"[a-z.]+\d*@example\.(com|org|net)", row["email"])
            assert not row["phone"].startswith("(555) 100-")
        assert (row["sms_consent_date"] is not None) == row["sms_opt_in"]


def clients_have_one_to_three_pets(data: Seeded) -> None:
    pets = Counter(row["client_id"] for row in data.tables["pets"])
    assert pets.keys() == data.by_id["clients"].keys()
    assert all(1 <= n <= 3 for n in pets.values())


def pets_are_alive(data: Seeded) -> None:
    for row in data.tables["pets"]:
        born, created = at(row["date_of_birth"]), at(row["created_at"])
        assert born < created < data.midnight
        assert Decimal("0.3") < Decimal(row["weight_kg"]) < 100
        assert re.fullmatch(r"\d{1,3}\.\d\d", row["weight_kg"])
        assert row["custom_fields"] == "{}"


def every_client_has_an_appointment(data: Seeded) -> None:
    assert {row["client_id"] for row in data.tables["appointments"]} == data.by_id["clients"].keys()


def appointments_keep_the_hours(data: Seeded) -> None:
    for row in data.tables["appointments"]:
        start, end = at(row["start_time"]), at(row["end_time"])
        assert dt.time(8) <= start.time() <= dt.time(16, 45)
        assert start.minute % 15 == 0
        assert start.second == 0
        assert (end - start) == dt.timedelta(minutes=SERVICES[row["service_id"]][2])


def appointments_lie_in_the_window(data: Seeded) -> None:
    earliest = data.midnight - dt.timedelta(days=data.profile.days_back)
    latest = data.midnight + dt.timedelta(days=data.profile.days_ahead)
    for row in data.tables["appointments"]:
        start, end = at(row["start_time"]), at(row["end_time"])
        if row["status"] in {"scheduled", "confirmed"}:
            assert data.midnight < start < latest
        else:
            assert earliest <= start < end <= data.midnight


def appointments_are_booked_by_clients_and_pets_that_exist_by_then(data: Seeded) -> None:
    for row in data.tables["appointments"]:
        booked = at(row["created_at"])
        assert booked < min(at(row["start_time"]), data.midnight)
        assert at(data.by_id["clients"][row["client_id"]]["created_at"]) <= booked
        assert at(data.by_id["pets"][row["pet_id"]]["created_at"]) <= booked
        assert booked <= at(row["updated_at"]) <= data.midnight
        for moment in filter(None, (row["confirmed_at"], row["cancelled_at"])):
            assert moment.endswith("+00")
            assert booked <= at(moment).replace(tzinfo=None) < min(at(row["start_time"]), data.midnight)
        assert (row["cancelled_at"] is not None) == (row["status"] == "cancelled")


def appointments_are_for_the_client_s_own_pet(data: Seeded) -> None:
    for row in data.tables["appointments"]:
        assert data.by_id["pets"][row["pet_id"]]["client_id"] == row["client_id"]


def pets_are_never_in_two_places(data: Seeded) -> None:
    visits = defaultdict(list)
    for row in data.tables["appointments"]:
        visits[row["pet_id"]].append((at(row["start_time"]), at(row["end_time"])))
    for spans in visits.values():
        spans.sort()
        assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))


def groomers_groom_and_bathers_bathe(data: Seeded) -> None:
    grooming = [row["id"] for row in data.tables["staff"] if row["role"] == "groomer"]
    groomers, bathers = grooming[: data.profile.groomers], grooming[data.profile.groomers :]
    appointments = data.tables["appointments"]
    assert {row["staff_id"] for row in appointments} == set(groomers)
    assert {row["bather_staff_id"] for row in appointments} == {*bathers, None}


def one_appointment_in_five_has_its_own_price(data: Seeded) -> None:
    appointments = data.tables["appointments"]
    own = [row for row in appointments if row["price_cents"] is not None]
    assert len(own) == (len(appointments) - data.extra) // 5
    for row in own:
        assert row["price_cents"] > 0
        assert -500 <= row["price_cents"] - SERVICES[row["service_id"]][1] <= 1000


def completed_appointments_have_one_of_each(data: Seeded) -> None:
    completed = Counter(row["id"] for row in data.tables["appointments"] if row["status"] == "completed")
    assert Counter(row["appointment_id"] for row in data.tables["invoices"]) == completed
    assert Counter(row["appointment_id"] for row in data.tables["grooming_visit_logs"]) == completed
    items = Counter(row["invoice_id"] for row in data.tables["invoice_line_items"])
    assert items == Counter(data.by_id["invoices"].keys())


def money_adds_up(data: Seeded) -> None:
    for row in data.tables["invoices"]:
        appointment = data.by_id["appointments"][row["appointment_id"]]
        price = appointment["price_cents"]
        expected = SERVICES[appointment["service_id"]][1] if price is None else price
        assert row["subtotal_cents"] == expected
        assert row["tax_cents"] == int(Decimal(expected) * 8 / 100 + Decimal("0.5"))
        assert row["total_cents"] == expected + row["tax_cents"] + row["tip_cents"]
        assert row["client_id"] == appointment["client_id"]
    for item in data.tables["invoice_line_items"]:
        invoice = data.by_id["invoices"][item["invoice_id"]]
        assert item["total_cents"] == item["unit_price_cents"] == invoice["subtotal_cents"]
        assert item["quantity"] == 1


def tips_and_payments_have_their_shares(data: Seeded) -> None:
    invoices = [row for row in data.tables["invoices"] if not data.is_test_client(row["client_id"])]
    n = data.profile.completed
    tips = [row["tip_cents"] for row in invoices if row["tip_cents"]]
    assert len(tips) == n * 70 // 100
    assert all(200 <= tip <= 3000 for tip in tips)
    paid = n * 95 // 100
    assert Counter(row["status"] for row in invoices) == {"paid": paid, "pending": n - paid}
    assert Counter(row["payment_method"] for row in invoices) == {
        "cash": paid // 5,
        "card": paid // 5 * 3,
        "check": paid // 5,
        None: n - paid,
    }


def paid_means_paid(data: Seeded) -> None:
    intents = []
    for row in data.tables["invoices"]:
        ended = at(data.by_id["appointments"][row["appointment_id"]]["end_time"])
        if row["status"] == "paid":
            assert 5 <= (at(row["paid_at"]) - ended) / dt.timedelta(minutes=1) <= 30
            intents.append(row["stripe_payment_intent_id"])
        else:
            assert row["paid_at"] is row["payment_method"] is row["stripe_payment_intent_id"] is None
    assert intents == [f"pi_test_seed_{number:06}" for number in range(1, len(intents) + 1)]


def tips_are_split(data: Seeded) -> None:
    shares = defaultdict(list)
    for row in data.tables["invoice_tip_splits"]:
        assert row["staff_name"] == data.by_id["staff"][row["staff_id"]]["name"]
        shares[row["invoice_id"]].append((row["staff_id"], row["share_pct"], row["share_cents"]))
    expected = {}
    for invoice in data.tables["invoices"]:
        appointment = data.by_id["appointments"][invoice["appointment_id"]]
        groomer, bather = appointment["staff_id"], appointment["bather_staff_id"]
        tip = invoice["tip_cents"]
        if tip and invoice["status"] == "paid":
            share = int(Decimal(tip) * 60 / 100 + Decimal("0.5"))
            expected[invoice["id"]] = (
                [(groomer, "60.00", share), (bather, "40.00", tip - share)] if bather else [(groomer, "100.00", tip)]
            )
    assert shares == expected


def visit_logs_speak_of_their_appointment(data: Seeded) -> None:
    for row in data.tables["grooming_visit_logs"]:
        appointment = data.by_id["appointments"][row["appointment_id"]]
        assert (row["pet_id"], row["staff_id"]) == (appointment["pet_id"], appointment["staff_id"])
        assert row["groomed_at"] == appointment["end_time"]


def uat_test_clients_have_a_pending_invoice(data: Seeded) -> None:
    found = [row for row in data.tables["clients"] if data.is_test_client(row["id"])]
    letters = TEST_CLIENTS if data.profile.test_clients else ()
    assert [(row["name"], row["email"], row["phone"]) for row in found] == [
        (f"UAT Test {letter}", f"uat-{letter.lower()}@groombook.dev", f"(555) 100-000{number}")
        for number, letter in enumerate(letters, start=1)
    ]
    for client in found:
        assert len([row for row in data.tables["pets"] if row["client_id"] == client["id"]]) == 1
        (appointment,) = [row for row in data.tables["appointments"] if row["client_id"] == client["id"]]
        assert (appointment["status"], appointment["service_id"][-1]) == ("completed", "1")
        (invoice,) = [row for row in data.tables["invoices"] if row["client_id"] == client["id"]]
        assert (invoice["status"], invoice["total_cents"]) == ("pending", 4860)


RULES: tuple[Callable[[Seeded], None], ...] = (
    ids_are_uuids_and_unique,
    counts_are_the_profile_s,
    values_are_of_the_types_a_dataset_has,
    references_are_to_rows_loaded_before,
    services_are_fixed,
    staff_has_its_roles_and_addresses,
    clients_can_be_told_apart_and_reached_by_nobody,
    clients_have_one_to_three_pets,
    pets_are_alive,
    every_client_has_an_appointment,
    appointments_keep_the_hours,
    appointments_lie_in_the_window,
    appointments_are_booked_by_clients_and_pets_that_exist_by_then,
    appointments_are_for_the_client_s_own_pet,
    pets_are_never_in_two_places,
    groomers_groom_and_bathers_bathe,
    one_appointment_in_five_has_its_own_price,
    completed_appointments_have_one_of_each,
    money_adds_up,
    tips_and_payments_have_their_shares,
    paid_means_paid,
    tips_are_split,
    visit_logs_speak_of_their_appointment,
    uat_test_clients_have_a_pending_invoice,
)
