"""Five clients that billing tests rely on: each has one pet, one visit and one invoice still to be paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groombook.generate_people import BATH, NEWEST_CLIENT, OPENING_MINUTE, Member
from groombook.generate_rows import Row, client_row, invoice_row, line_item_row, pet_row, visit_log_row

if TYPE_CHECKING:
    from groombook.generate_dates import Days
    from groombook.prng import Mulberry32

LETTERS = ("Alpha", "Bravo", "Charlie", "Delta", "Echo")


def make_test_clients(rng: Mulberry32, days: Days, groomer: Member) -> dict[str, list[Row]]:
    """Return their rows by table. The visit is on the eve of the as-of date, a quarter of an hour apart."""
    rows: dict[str, list[Row]] = {
        "clients": [],
        "pets": [],
        "appointments": [],
        "invoices": [],
        "invoice_line_items": [],
        "grooming_visit_logs": [],
    }
    joined = days.at(NEWEST_CLIENT, OPENING_MINUTE)
    for number, letter in enumerate(LETTERS, start=1):
        client, pet, appointment, invoice, item, log = rng.uuid4s(len(rows))
        start = OPENING_MINUTE + 45 + 15 * number
        started, ended = days.at(-1, start), days.at(-1, start + BATH.minutes)
        email = f"uat-{letter.lower()}@groombook.dev"
        booked = (NEWEST_CLIENT, OPENING_MINUTE + 30)
        rows["clients"].append(
            client_row(client, f"UAT Test {letter}", email, f"(555) 100-{number:04}", None, None, joined)
        )
        rows["pets"].append(
            pet_row(pet, client, f"{letter} Dog", "Dog", "Labrador Retriever", "28.00", days.at(-1461, 0), joined)
        )
        rows["appointments"].append(
            (
                appointment, client, pet, BATH.id, groomer.id, "completed", started, ended, None, None,
                days.at(*booked), ended, None, "confirmed", days.at_utc(*booked), None, None,
            )
        )  # fmt: skip
        rows["invoices"].append(invoice_row(invoice, appointment, client, BATH.price, 0, ended, None))
        rows["invoice_line_items"].append(line_item_row(item, invoice, BATH.name, BATH.price, ended))
        rows["grooming_visit_logs"].append(
            visit_log_row(log, pet, appointment, groomer.id, "Natural and brushed out", "Oatmeal shampoo", None, ended)
        )
    return rows
