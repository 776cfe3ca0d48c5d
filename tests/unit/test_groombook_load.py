"""The profile `load`: the same bytes as a plain generator that knows nothing of arrays, whoever computes them."""

from __future__ import annotations

import datetime as dt
import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest

from dbtools.chain.blocks import Share
from dbtools.chain.copy import encode
from dbtools.dataset import Dataset, TableRows, Value
from dbtools.errors import ConfigurationError
from groombook import breeds, names
from groombook.application import application
from groombook.generate_dates import Days
from groombook.generate_people import deck, make_staff, one_in, slug
from groombook.generate_rows import (
    COLUMNS,
    Row,
    client_row,
    invoice_row,
    line_item_row,
    pet_row,
    visit_log_row,
)
from groombook.prng import Mulberry32
from groombook.profiles import DEMO
from tests.unit.groombook_rules import RULES, Seeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from groombook.load import Load

pytest.importorskip("numpy", reason="needs NumPy, of the dependency group load")

AS_OF = dt.date(2026, 11, 23)
DRAWS = 1460  # of a client; those of the staff come before the first one's
PERIOD = 2**32


def load(scale: int, seed: int = 42, as_of: dt.date = AS_OF) -> Load:
    from groombook.load import Load

    return Load(scale, seed, as_of)


def small(scale: int) -> Load:
    """Return a load in blocks of 100 clients."""
    from groombook.load import Load

    return Load(scale, 42, AS_OF, clients=100)


def plain_client(number: int, seed: int, days: Days) -> dict[str, list[Row]]:
    """Return the rows of one client, drawn one after the other from its place in the stream."""
    staff_stream = Mulberry32(seed)
    _, groomers, bathers = make_staff(DEMO, staff_stream, days)
    rng = Mulberry32(seed)
    rng.jump(8 * 16 + number * DRAWS)
    rows: dict[str, list[Row]] = {table: [] for table in COLUMNS}

    id_ = rng.uuid4()
    joined, minute = rng.randint(-1499, -120), rng.randint(480, 1079)
    first, last = rng.choices(1, names.FIRST_NAMES)[0], rng.choices(1, names.SURNAMES)[0]
    domain = rng.choices(1, names.EMAIL_DOMAINS)[0]
    phone = f"(555) {rng.randint(200, 999)}-{rng.index(10000):04}"
    address = f"{rng.randint(1, 980)} {rng.choices(1, names.STREETS)[0]}, {rng.choices(1, names.CITIES)[0]}"
    notes = rng.choices(1, one_in(3, names.CLIENT_NOTES))[0]
    email = f"{slug(f'{first} {last}')}{number + 1}@{domain}"
    rows["clients"].append(
        client_row(
            id_, f"{first} {last}", email, phone, address, notes, days.at(joined, minute),
            email_opt_out=rng.index(12) == 0, sms_opt_in=rng.index(3) == 0,
        )
    )  # fmt: skip

    drawn = zip(
        rng.uuid4s(3),
        rng.choices(3, breeds.PET_NAMES),
        rng.indices(3, 10),
        rng.choices(3, breeds.DOG_BREEDS),
        rng.choices(3, breeds.CAT_BREEDS),
        rng.indices(3, 101),
        rng.randints(3, 180, 5000),
        rng.choices(3, one_in(3, breeds.GROOMING_NOTES)),
        rng.choices(3, one_in(8, breeds.HEALTH_ALERTS)),
        rng.choices(3, breeds.CUT_STYLES),
        rng.choices(3, one_in(2, breeds.SHAMPOOS)),
        rng.choices(3, one_in(6, breeds.CARE_NOTES)),
        strict=True,
    )
    pets = []
    for pet_id, name, kind, dog, cat, percent, age, grooming, alerts, cut, shampoo, care in drawn:
        species, (breed, least, most) = ("Cat", cat) if kind == 0 else ("Dog", dog)
        tenths = (least + (most - least) * percent // 100) * (365 + 3 * min(age, 365)) // (4 * 365)
        row = pet_row(
            pet_id, id_, name, species, breed, f"{tenths // 10}.{tenths % 10}0", days.at(-age, 0),
            days.at(max(joined, 56 - age), 1080), grooming_notes=grooming, health_alerts=alerts, cut_style=cut,
            shampoo=shampoo, care_notes=care,
        )  # fmt: skip
        pets.append((pet_id, deck(species, tenths, age), row))
    ranked = number * 7 % 25
    pets = pets[: 1 if ranked < 9 else 2 if ranked < 22 else 3]
    rows["pets"] += [row for _, _, row in pets]

    ids, which = rng.uuid4s(16), rng.indices(16, len(pets))
    cards, offsets, slots = rng.indices(16, 20), rng.block(16), rng.indices(16, 36)
    statuses = rng.shuffled(["completed"] * 10 + ["cancelled", "no_show"])
    statuses += rng.shuffled(["scheduled"] * 2 + ["confirmed"] * 2)
    overridden = set(rng.shuffled(range(16))[: 16 * (number + 1) // 5 - 16 * number // 5])
    more = zip(
        rng.choices(16, groomers),
        rng.choices(16, [*bathers, None, None, None]),
        rng.randints(16, -500, 1000),
        rng.randints(16, 1, 14),
        rng.randints(16, 480, 1079),
        rng.randints(16, 5, 240),
        rng.choices(16, one_in(6, breeds.APPOINTMENT_NOTES)),
        rng.choices(16, one_in(8, breeds.CUSTOMER_NOTES)),
        strict=True,
    )
    visits = []
    for place, (groomer, helper, change, lead, booked, later, note, wishes) in enumerate(more):
        first_day, span = (8 * (place - 12), 8) if place < 12 else (22 * (place - 12), 22)
        day, start = first_day + (offsets[place] * span >> 32), 480 + 15 * slots[place]
        pet_id, pet_deck, _ = pets[which[place]]
        service = pet_deck[cards[place]]
        bather = helper if service.with_bath else None
        price = service.price + change if place in overridden else None
        booking, end = min(day, 0) - lead, days.at(day, start + service.minutes)
        created, answered = days.at(booking, booked), days.at(booking, booked + later)
        status = statuses[place]
        updated = {"completed": end, "no_show": end, "scheduled": created}.get(status, answered)
        confirmation = {"completed": "confirmed", "confirmed": "confirmed", "cancelled": "cancelled"}.get(status)
        rows["appointments"].append(
            (
                ids[place], id_, pet_id, service.id, groomer.id, status, days.at(day, start), end, note, price,
                created, updated, bather and bather.id, confirmation or "pending",
                f"{answered}+00" if confirmation == "confirmed" else None,
                f"{answered}+00" if status == "cancelled" else None, wishes,
            )
        )  # fmt: skip
        if status == "completed":
            charged = service.price if price is None else price
            visits.append((ids[place], pet_id, service, charged, groomer, bather, day, start + service.minutes))

    tipped = set(rng.shuffled(range(10))[:7])
    intents = 95 * number // 10
    paid = set(rng.shuffled(range(10))[: 95 * (number + 1) // 10 - intents])
    bills = zip(
        visits, rng.uuid4s(10), rng.uuid4s(10), rng.randints(10, 200, 3000), rng.randints(10, 5, 30), strict=True
    )
    splits: list[list[Row]] = []
    for place, (visit, invoice_id, item_id, tip_drawn, minutes) in enumerate(bills):
        appointment_id, pet_id, service, charged, groomer, bather, day, end_minute = visit
        ended, paid_at = days.at(day, end_minute), days.at(day, end_minute + minutes)
        tip, payment, shares = tip_drawn if place in tipped else 0, None, []
        if place in paid:
            intents += 1
            method = ("cash", "card", "card", "card", "check")[(intents - 1) % 5]
            payment = (method, paid_at, f"pi_test_seed_{intents:06}")
            if tip and bather:
                share = (tip * 60 + 50) // 100
                shares = [(groomer, "60.00", share), (bather, "40.00", tip - share)]
            elif tip:
                shares = [(groomer, "100.00", tip)]
        rows["invoices"].append(invoice_row(invoice_id, appointment_id, id_, charged, tip, ended, payment))
        rows["invoice_line_items"].append(line_item_row(item_id, invoice_id, service.name, charged, ended))
        splits.append([(invoice_id, who.id, who.name, part, cents, paid_at) for who, part, cents in shares])
    split_ids = rng.uuid4s(20)
    rows["invoice_tip_splits"] += [
        (split_ids[2 * place + which], *split) for place, both in enumerate(splits) for which, split in enumerate(both)
    ]
    logs = zip(
        visits,
        rng.uuid4s(10),
        rng.choices(10, breeds.CUT_STYLES),
        rng.choices(10, breeds.PRODUCTS),
        rng.choices(10, one_in(2, breeds.VISIT_NOTES)),
        strict=True,
    )
    rows["grooming_visit_logs"] += [
        visit_log_row(log_id, pet_id, appointment_id, groomer.id, cut, products, note, days.at(day, end_minute))
        for (appointment_id, pet_id, _, _, groomer, _, day, end_minute), log_id, cut, products, note in logs
    ]
    ended_at, wanted = Mulberry32(seed), rng.draw()
    ended_at.jump(8 * 16 + (number + 1) * DRAWS)
    assert ended_at.draw() == wanted  # the next client's first output
    return rows


def plain_lines(rows: dict[str, list[Row]]) -> dict[str, bytes]:
    tables = (TableRows(name, tuple(columns.split()), rows[name]) for name, columns in COLUMNS.items() if rows[name])
    return {table.name.strip('"'): table.data for table in encode(Dataset(tuple(tables)))}


@pytest.mark.parametrize(
    ("block", "seed", "as_of"), [(0, 42, AS_OF), (1, -1, dt.date(2028, 2, 29)), (2940, 1196576591, AS_OF)]
)
def test_lines_are_those_of_a_plain_generator(block: int, seed: int, as_of: dt.date) -> None:
    tables = {table.table: table.data for table in load(2941, seed, as_of).block(block)}
    expected: dict[str, bytes] = dict.fromkeys(tables, b"")
    for number in range(block * 1000, block * 1000 + 50):
        for name, data in plain_lines(plain_client(number, seed, Days(as_of))).items():
            expected[name] += data
    for name, data in expected.items():
        assert tables[name][: len(data)].splitlines() == data.splitlines(), name


@cache
def parsed(scale: int) -> Seeded:
    """Return a load as values, as if `generate` had made it."""
    content = small(scale)
    kinds: dict[str, Callable[[str], Value]] = {"t": lambda _: True, "f": lambda _: False, "\\N": lambda _: None}
    rows: dict[str, list[Row]] = {table.table: list(table.rows) for table in content.base.tables}
    for number in range(scale):
        for table in content.block(number):
            numeric = [name.endswith(("_cents", "quantity")) for name in table.columns]
            for line in table.data.decode().splitlines():
                values = line.split("\t")
                rows.setdefault(table.table, []).append(
                    tuple(
                        kinds[text](text) if text in kinds else int(text) if number else text
                        for text, number in zip(values, numeric, strict=True)
                    )
                )
    tables = tuple(TableRows(name, tuple(columns.split()), rows[name]) for name, columns in COLUMNS.items())
    n = 100 * scale
    profile = replace(DEMO, name="load", clients=n, pets=176 * scale, test_clients=False, days_back=96, days_ahead=88)
    profile = replace(profile, completed=10 * n, cancelled=n, no_show=n, scheduled=2 * n, confirmed=2 * n)
    return Seeded(profile, AS_OF, Dataset(tables))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rules_of_the_data_hold(rule: Callable[[Seeded], None]) -> None:
    rule(parsed(4))


def test_counts_are_those_of_the_lines() -> None:
    for table in load(1).block(0):
        assert table.count == table.data.count(b"\n")
        assert b"\0" not in table.data


def digests(blocks: range, workers: int) -> list[str]:
    content = small(8)

    def digest(number: int) -> str:
        return hashlib.sha256(b"".join(table.data for table in content.block(number))).hexdigest()

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(digest, blocks))


def test_any_worker_makes_the_same_bytes_of_any_block() -> None:
    once = digests(range(8), 1)
    assert len(set(once)) == 8
    assert digests(range(8), 2) == digests(range(8), 8) == once
    assert digests(range(7, -1, -1), 2) == once[::-1]
    assert [digest for number in range(1, 4) for digest in digests(Share(number, 3).blocks(8), 2)] == once


def test_the_size_of_a_block_decides_nothing_else() -> None:
    whole = load(1).block(0)
    parts = zip(*map(small(10).block, range(10)), strict=True)
    assert [table.data for table in whole] == [b"".join(table.data for table in part) for part in parts]


def test_the_stream_is_used_up_to_its_period_and_never_beyond() -> None:
    from groombook.load import LARGEST_SCALE

    assert 128 + LARGEST_SCALE * 1000 * DRAWS <= PERIOD < 128 + (LARGEST_SCALE + 1) * 1000 * DRAWS
    # What would happen beyond it: a client that begins a whole period later has the ids of the one here.
    here, later = Mulberry32(42), Mulberry32(42)
    later.jump(PERIOD)
    assert later.uuid4() == here.uuid4()
    with pytest.raises(ConfigurationError) as caught:
        application.load(LARGEST_SCALE + 1, 42, AS_OF)
    assert str(caught.value) == (
        "Scale 2942 needs more random numbers than there are.\n"
        "A client draws 1460 of them, and after 2^32 the stream begins again: ids would repeat. Nothing was changed.\n"
        "Choose a scale of 2941 or less."
    )


def test_without_numpy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "groombook.load"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numpy", None)  # as where it is not installed
    with pytest.raises(ConfigurationError) as caught:
        application.load(1, 42, AS_OF)
    assert str(caught.value) == (
        "GroomBook's load needs NumPy, which this Python does not have.\n"
        f"{sys.executable} computes millions of rows with it. Nothing was changed.\n"
        "Install it: pip install numpy"
    )
