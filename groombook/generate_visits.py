"""The appointments, behind and ahead, and the logs of the visits that took place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from groombook import breeds
from groombook.generate_people import DECK_SIZE, Member, Pet, Service, one_in
from groombook.generate_rows import Row, visit_log_row

if TYPE_CHECKING:
    from groombook.generate_dates import Days
    from groombook.prng import Mulberry32
    from groombook.profiles import Profile

OPENING_MINUTE = 8 * 60
SLOT = 15  # minutes
SLOTS = 36  # starts a day: 08:00, 08:15 … 16:45
SLOTS_APART = 64  # bits a day in a pet's calendar: room for a visit that begins in the last slot
MOST_OFTEN = 3
OVERRIDDEN = 5  # one appointment in so many has a price of its own


class Place(NamedTuple):
    """A pet's service at a time; the day is counted from the as-of date."""

    day: int
    minute: int
    pet: Pet
    service: Service


class Visit(NamedTuple):
    """A completed appointment, as billing and the logs need it."""

    appointment_id: str
    pet: Pet
    service: Service
    price: int
    groomer: Member
    bather: Member | None
    day: int
    end_minute: int


def make_appointments(
    profile: Profile,
    rng: Mulberry32,
    days: Days,
    pets: list[Pet],
    groomers: list[Member],
    bathers: list[Member],
) -> tuple[list[Row], list[Visit]]:
    """Return the appointments' rows in the order of their times, and the completed ones.

    The statuses have the profile's exact numbers and exactly one appointment in five (rounded down)
    overrides the service's price; which ones is drawn. A bather is booked for every second visit with a
    bath, on average.
    """
    how_often = rng.randints(len(pets), 1, MOST_OFTEN)
    regulars = [pet for pet, times in zip(pets, how_often, strict=True) for _ in range(times)]
    places = _places(rng, regulars, profile.behind, -profile.days_back, profile.days_back)
    places += _places(rng, regulars, profile.ahead, 0, profile.days_ahead)
    statuses = rng.shuffled(
        ["completed"] * profile.completed + ["cancelled"] * profile.cancelled + ["no_show"] * profile.no_show
    )
    statuses += rng.shuffled(["scheduled"] * profile.scheduled + ["confirmed"] * profile.confirmed)

    n = len(places)
    overridden = set(rng.shuffled(range(n))[: n // OVERRIDDEN])
    drawn = zip(
        rng.uuid4s(n),
        places,
        statuses,
        rng.choices(n, groomers),
        rng.choices(n, one_in(2, tuple(bathers)) or (None,)),
        rng.randints(n, -500, 1000),
        rng.randints(n, 1, 14),
        rng.randints(n, OPENING_MINUTE, OPENING_MINUTE + 599),
        rng.randints(n, 5, 240),
        rng.choices(n, one_in(6, breeds.APPOINTMENT_NOTES)),
        rng.choices(n, one_in(8, breeds.CUSTOMER_NOTES)),
        strict=True,
    )
    rows: list[Row] = []
    visits = []
    for position, values in enumerate(drawn):
        id_, place, status, groomer, helper, change, lead, booked, later, notes, wishes = values
        day, minute, pet, service = place
        bather = helper if service.with_bath else None
        price = service.price + change if position in overridden else None
        end_minute = minute + service.minutes
        start, end = days.at(day, minute), days.at(day, end_minute)
        # What is ahead was booked before the as-of date too.
        booking = min(day, 0) - lead
        created = days.at(booking, booked)
        confirmation, confirmed_at, cancelled_at, updated = "pending", None, None, created
        if status == "cancelled":
            confirmation, cancelled_at = "cancelled", days.at_utc(booking, booked + later)
            updated = days.at(booking, booked + later)
        elif status == "no_show":
            updated = end
        elif status != "scheduled":
            confirmation, confirmed_at = "confirmed", days.at_utc(booking, booked + later)
            updated = end if status == "completed" else days.at(booking, booked + later)
        rows.append(
            (
                id_, pet.client_id, pet.id, service.id, groomer.id, status, start, end, notes, price,
                created, updated, bather and bather.id, confirmation, confirmed_at, cancelled_at, wishes,
            )
        )  # fmt: skip
        if status == "completed":
            charged = service.price if price is None else price
            visits.append(Visit(id_, pet, service, charged, groomer, bather, day, end_minute))
    return rows, visits


def make_visit_logs(rng: Mulberry32, days: Days, visits: list[Visit]) -> list[Row]:
    """Return the log of each visit: written at its end."""
    n = len(visits)
    return [
        visit_log_row(
            id_,
            visit.pet.id,
            visit.appointment_id,
            visit.groomer.id,
            cut,
            products,
            notes,
            days.at(visit.day, visit.end_minute),
        )
        for id_, visit, cut, products, notes in zip(
            rng.uuid4s(n),
            visits,
            rng.choices(n, breeds.CUT_STYLES),
            rng.choices(n, breeds.PRODUCTS),
            rng.choices(n, one_in(2, breeds.VISIT_NOTES)),
            strict=True,
        )
    ]


def _places(rng: Mulberry32, regulars: list[Pet], count: int, first_day: int, length: int) -> list[Place]:
    """Return `count` places within the window, in the order of their times, no pet in two at once.

    The pets are dealt like cards, again and again: none comes up more than three times a deal, and where
    `count` exceeds the deck every one of them comes. A start that is not free moves on to the pet's next
    free one. There is one: a visit of six slots blocks at most eleven starts for another, and the fullest
    profile (dev, a week of 252 starts) deals at most seven times, so a pet's 21 visits block at most 231.
    """
    dealt: list[Pet] = []
    while len(dealt) < count:
        dealt += rng.shuffled(regulars)
    starts = length * SLOTS
    calendars: dict[str, int] = {}
    taken = []
    for position, (pet, card, wanted) in enumerate(
        zip(dealt[:count], rng.indices(count, DECK_SIZE), rng.indices(count, starts), strict=True)
    ):
        service = pet.deck[card]
        needed = (1 << -(-service.minutes // SLOT)) - 1
        calendar = calendars.get(pet.id, 0)
        start = wanted
        while calendar & (needed << start // SLOTS * SLOTS_APART + start % SLOTS):
            start = (start + 1) % starts
        calendars[pet.id] = calendar | needed << start // SLOTS * SLOTS_APART + start % SLOTS
        taken.append((start, position, pet, service))
    taken.sort(key=lambda place: place[:2])
    return [
        Place(first_day + start // SLOTS, OPENING_MINUTE + start % SLOTS * SLOT, pet, service)
        for start, _, pet, service in taken
    ]
