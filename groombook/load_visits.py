"""The appointments of a load and the logs of its visits, for many clients at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from groombook import breeds
from groombook.generate_people import DECK_SIZE, SERVICES, one_in
from groombook.generate_visits import OPENING_MINUTE, OVERRIDDEN, SLOT, SLOTS
from groombook.load_text import NULL, joined, lines, pool

if TYPE_CHECKING:
    from groombook.generate_people import Member
    from groombook.load_dates import Calendar
    from groombook.load_draws import Draws, Numbers, Texts
    from groombook.load_people import Clients

STATUSES = ("completed", "cancelled", "no_show", "scheduled", "confirmed")
COMPLETED, CANCELLED, NO_SHOW, SCHEDULED, CONFIRMED = range(5)
BEHIND = np.array((COMPLETED,) * 10 + (CANCELLED, NO_SHOW))
AHEAD = np.array((SCHEDULED,) * 2 + (CONFIRMED,) * 2)
VISITS = 10
"""Completed appointments of each client."""
APPOINTMENTS = len(BEHIND) + len(AHEAD)
DAYS_APART, DAYS_APART_AHEAD = 8, 22
FIRST_DAYS = np.array(
    [DAYS_APART * (place - len(BEHIND)) for place in range(len(BEHIND))]
    + [DAYS_APART_AHEAD * place for place in range(len(AHEAD))]
)
"""The first day of the span in which each appointment of a client lies: no two share a day, so none overlap."""
_SPANS = np.array((DAYS_APART,) * len(BEHIND) + (DAYS_APART_AHEAD,) * len(AHEAD))

PRICES = np.array([service.price for service in SERVICES])
_MINUTES = np.array([service.minutes for service in SERVICES])
_WITH_BATH = np.array([service.with_bath for service in SERVICES])
_SERVICE_IDS, _STATUSES = pool(service.id for service in SERVICES), pool(STATUSES)
CENTS = pool(map(str, range(20000)))
"""Sums of money as text."""
_NOTES, _WISHES = pool(one_in(6, breeds.APPOINTMENT_NOTES)), pool(one_in(8, breeds.CUSTOMER_NOTES))
_CUT_STYLES, _PRODUCTS = pool(breeds.CUT_STYLES), pool(breeds.PRODUCTS)
_VISIT_NOTES = pool(one_in(2, breeds.VISIT_NOTES))


class Staff(NamedTuple):
    """Who takes part in visits: names and ids as text, the bathers behind the groomers; the last id is nobody."""

    ids: Texts
    names: Texts
    groomers: int

    @classmethod
    def of(cls, groomers: list[Member], bathers: list[Member]) -> Staff:
        """Return these members."""
        members = [*groomers, *bathers]
        ids = pool((*(member.id for member in members), None))
        return cls(ids, pool(member.name for member in members), len(groomers))


class Visits(NamedTuple):
    """The completed appointments, as billing and the logs need them: a row for each client, a column for each visit."""

    appointments: Texts
    pets: Texts
    service: Numbers
    price: Numbers
    groomer: Numbers
    bather: Numbers
    day: Numbers
    end_minute: Numbers
    ended: Texts


def quota(numbers: Numbers, share: int, of: int) -> tuple[Numbers, Numbers]:
    """Return how many of `share` / `of` a client fall to those before each client, and to the client itself.

    Whole numbers that never differ by more than one, and together are the share of all clients, rounded down.
    """
    before = numbers * share // of
    return before, (numbers + 1) * share // of - before


def chosen(order: Numbers, counts: Numbers | int) -> Numbers:
    """Return a mask of the places that come first in a random order, `counts` of them for each client."""
    mask = np.zeros(order.shape, bool)
    first = np.arange(order.shape[1]) < np.reshape(counts, (-1, 1))
    np.put_along_axis(mask, order, np.broadcast_to(first, order.shape), 1)
    return mask


def make_appointments(
    draws: Draws, numbers: Numbers, clients: Clients, staff: Staff, calendar: Calendar
) -> tuple[Visits, bytes]:
    """Return the visits and the appointments' lines: for each client in the order of their times."""
    n = APPOINTMENTS
    ids = draws.uuids(n)
    pet = draws.indices(n, clients.pet_counts[:, None])
    service = clients.services(pet, draws.indices(n, DECK_SIZE))
    day = FIRST_DAYS + draws.indices(n, _SPANS)
    minute = OPENING_MINUTE + draws.indices(n, SLOTS) * SLOT
    behind = draws.shuffled(len(BEHIND))
    status = np.concatenate((BEHIND[behind], AHEAD[draws.shuffled(len(AHEAD))]), axis=1)
    own_price = chosen(draws.shuffled(n), quota(numbers, n, OVERRIDDEN)[1])
    groomer = draws.indices(n, staff.groomers)
    bathers = len(staff.names) - staff.groomers
    helper = staff.groomers + np.minimum(draws.indices(n, 2 * bathers), bathers)
    bather = np.where(_WITH_BATH[service], helper, len(staff.names))
    price = PRICES[service] + np.where(own_price, draws.randints(n, -500, 1000), 0)

    booking = np.minimum(day, 0) - draws.randints(n, 1, 14)
    booked = draws.randints(n, OPENING_MINUTE, OPENING_MINUTE + 599)
    end_minute = minute + _MINUTES[service]
    created, end = calendar.at(booking, booked), calendar.at(day, end_minute)
    answered = calendar.at(booking, booked + draws.randints(n, 5, 240))
    cancelled, scheduled = status == CANCELLED, status == SCHEDULED
    confirmed = (status == COMPLETED) | (status == CONFIRMED)
    over = (status == COMPLETED) | (status == NO_SHOW)
    answered_utc = joined(answered, b"+00")
    pets = np.take_along_axis(clients.pets, pet, 1)
    appointment_lines = lines(
        ids, np.broadcast_to(clients.ids, ids.shape), pets, _SERVICE_IDS[service], staff.ids[groomer],
        _STATUSES[status], calendar.at(day, minute), end, draws.choices(n, _NOTES),
        np.where(own_price, CENTS[price], NULL), created,
        np.where(over, end, np.where(scheduled, created, answered)), staff.ids[bather],
        np.where(cancelled, b"cancelled", np.where(confirmed, b"confirmed", b"pending")),
        np.where(confirmed, answered_utc, NULL), np.where(cancelled, answered_utc, NULL), draws.choices(n, _WISHES),
    )  # fmt: skip
    completed = status == COMPLETED
    kept = (ids, pets, service, price, groomer, bather, day, end_minute, end)
    return Visits(*(values[completed].reshape(-1, VISITS) for values in kept)), appointment_lines


def make_logs(draws: Draws, visits: Visits, staff: Staff) -> bytes:
    """Return the lines of the visits' logs: each was written at its visit's end."""
    n = VISITS
    return lines(
        draws.uuids(n), visits.pets, visits.appointments, staff.ids[visits.groomer], draws.choices(n, _CUT_STYLES),
        draws.choices(n, _PRODUCTS), draws.choices(n, _VISIT_NOTES), visits.ended, visits.ended,
    )  # fmt: skip
