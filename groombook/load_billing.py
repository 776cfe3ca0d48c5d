"""The invoices of a load, their line items and the splits of their tips, for many clients at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from groombook.generate_billing import GROOMER_PERCENT, METHODS, PAID_PERCENT, TIPPED_PERCENT
from groombook.generate_people import SERVICES
from groombook.generate_rows import TAX_PERCENT
from groombook.load_text import NULL, lines, pool
from groombook.load_visits import CENTS, VISITS, chosen, quota

if TYPE_CHECKING:
    from groombook.load_dates import Calendar
    from groombook.load_draws import Draws, Numbers
    from groombook.load_people import Clients
    from groombook.load_visits import Staff, Visits

_METHODS, _SERVICE_NAMES = pool(METHODS), pool(service.name for service in SERVICES)
_GROOMER, _BATHER, _ALL = (f"{percent}.00".encode() for percent in (GROOMER_PERCENT, 100 - GROOMER_PERCENT, 100))


class Billing(NamedTuple):
    """The lines of three tables, and how many the last one has."""

    invoices: bytes
    line_items: bytes
    tip_splits: bytes
    splits: int


def make_invoices(
    draws: Draws, numbers: Numbers, clients: Clients, visits: Visits, staff: Staff, calendar: Calendar
) -> Billing:
    """Return one invoice a visit: 70 % with a tip, 95 % paid, the methods in turn."""
    n = VISITS
    has_tip = chosen(draws.shuffled(n), n * TIPPED_PERCENT // 100)
    before, paying = quota(numbers, n * PAID_PERCENT, 100)
    paid = chosen(draws.shuffled(n), paying)
    ids, item_ids = draws.uuids(n), draws.uuids(n)
    tip = np.where(has_tip, draws.randints(n, 200, 3000), 0)
    paid_at = calendar.at(visits.day, visits.end_minute + draws.randints(n, 5, 30))
    tax = (visits.price * TAX_PERCENT + 50) // 100
    turn = before[:, None] + np.cumsum(paid, axis=1) - 1  # of a paid invoice, among all that are paid
    intent = np.full(paid.shape, NULL, "S24")
    intent[paid] = [b"pi_test_seed_%06d" % (number + 1) for number in turn[paid]]
    invoice_lines = lines(
        ids, visits.appointments, np.broadcast_to(clients.ids, ids.shape), CENTS[visits.price], CENTS[tax], CENTS[tip],
        CENTS[visits.price + tax + tip], np.where(paid, b"paid", b"pending"),
        np.where(paid, _METHODS[turn % len(METHODS)], NULL), np.where(paid, paid_at, NULL), visits.ended,
        np.where(paid, paid_at, visits.ended), intent,
    )  # fmt: skip
    cents = CENTS[visits.price]
    item_lines = lines(item_ids, ids, _SERVICE_NAMES[visits.service], b"1", cents, cents, visits.ended)

    # Two shares an invoice: the groomer's and the bather's.
    alone = visits.bather == len(staff.names)
    share = np.where(alone, tip, (tip * GROOMER_PERCENT + 50) // 100)
    both = (*ids.shape, 2)
    who = np.stack((visits.groomer, visits.bather), axis=2)
    split = paid & has_tip
    there = np.stack((split, split & ~alone), axis=2)
    columns = (
        draws.uuids(2 * n).reshape(both),
        np.broadcast_to(ids[:, :, None], both),
        staff.ids[who],
        staff.names[np.minimum(who, len(staff.names) - 1)],
        np.stack((np.where(alone, _ALL, _GROOMER), np.full(ids.shape, _BATHER)), axis=2),
        CENTS[np.stack((share, tip - share), axis=2)],
        np.broadcast_to(paid_at[:, :, None], both),
    )
    splits = lines(*(column[there] for column in columns))
    return Billing(invoice_lines, item_lines, splits, int(there.sum()))
