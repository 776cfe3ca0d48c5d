"""The invoices, their line items and the splits of their tips. Money is in whole cents."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING

from groombook.generate_rows import Row, invoice_row, line_item_row

if TYPE_CHECKING:
    from groombook.generate_dates import Days
    from groombook.generate_visits import Visit
    from groombook.prng import Mulberry32

TIPPED_PERCENT = 70
PAID_PERCENT = 95
METHODS = ("cash", "card", "card", "card", "check")
GROOMER_PERCENT = 60


def make_invoices(rng: Mulberry32, days: Days, visits: list[Visit]) -> tuple[list[Row], list[Row], list[Row]]:
    """Return invoices, line items and tip splits: one invoice a visit.

    Exactly 70 % of the invoices carry a tip and exactly 95 % are paid, by the methods in exact proportion
    (each rounded down); which ones is drawn.
    """
    n = len(visits)
    tipped = set(rng.shuffled(range(n))[: n * TIPPED_PERCENT // 100])
    paid = set(rng.shuffled(range(n))[: n * PAID_PERCENT // 100])
    methods = iter(rng.shuffled(islice(cycle(METHODS), len(paid))))
    drawn = zip(visits, rng.uuid4s(n), rng.uuid4s(n), rng.randints(n, 200, 3000), rng.randints(n, 5, 30), strict=True)
    invoices, line_items = [], []
    splits: list[Row] = []
    intents = 0
    for position, (visit, invoice_id, item_id, tip_drawn, minutes) in enumerate(drawn):
        ended = days.at(visit.day, visit.end_minute)
        tip = tip_drawn if position in tipped else 0
        payment = None
        if position in paid:
            intents += 1
            paid_at = days.at(visit.day, visit.end_minute + minutes)
            payment = (next(methods), paid_at, f"pi_test_seed_{intents:06}")
            if tip:
                splits += _split(invoice_id, visit, tip, paid_at)
        invoices.append(
            invoice_row(invoice_id, visit.appointment_id, visit.pet.client_id, visit.price, tip, ended, payment)
        )
        line_items.append(line_item_row(item_id, invoice_id, visit.service.name, visit.price, ended))
    split_ids = rng.uuid4s(len(splits))
    return invoices, line_items, [(id_, *split) for id_, split in zip(split_ids, splits, strict=True)]


def _split(invoice_id: str, visit: Visit, tip: int, paid_at: str) -> list[Row]:
    """Return the shares of a tip, without ids yet; they sum to the tip."""
    groomer, bather = visit.groomer, visit.bather
    if bather is None:
        return [(invoice_id, groomer.id, groomer.name, "100.00", tip, paid_at)]
    share = (tip * GROOMER_PERCENT + 50) // 100
    return [
        (invoice_id, groomer.id, groomer.name, f"{GROOMER_PERCENT}.00", share, paid_at),
        (invoice_id, bather.id, bather.name, f"{100 - GROOMER_PERCENT}.00", tip - share, paid_at),
    ]
