"""The clients of a load and their pets, as `groombook.generate_people` has them, for many clients at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from groombook import breeds, names
from groombook.generate_people import (
    EARLIEST_VISIT_AGE,
    OPENED,
    OPENING_MINUTE,
    PETS_PER_CLIENT,
    SERVICES,
    deck,
    one_in,
    slug,
)
from groombook.generate_rows import SMS_CONSENT
from groombook.load_text import NULL, joined, lines, pool

if TYPE_CHECKING:
    from groombook.load_dates import Calendar
    from groombook.load_draws import Draws, Numbers, Texts

NEWEST_CLIENT = -120  # before the first appointment of the window was booked
YOUNGEST, OLDEST = 180, 5000  # days; the youngest was old enough for a visit by then too
PET_COUNTS = np.array((1,) * 9 + (2,) * 13 + (3,) * 3)[np.arange(25) * 7 % 25]
"""How many pets a client has, by its number modulo 25: 176 for each 100 clients, as in dev."""

_FIRST, _FIRST_SLUGS = pool(names.FIRST_NAMES), pool(map(slug, names.FIRST_NAMES))
_LAST, _LAST_SLUGS = pool(names.SURNAMES), pool(map(slug, names.SURNAMES))
_DOMAINS, _STREETS, _CITIES = pool(names.EMAIL_DOMAINS), pool(names.STREETS), pool(names.CITIES)
_CLIENT_NOTES = pool(one_in(3, names.CLIENT_NOTES))
_NUMBERS, _LINES = pool(map(str, range(1000))), pool(f"{number:04}" for number in range(10000))
_FALSE, _TRUE = b"f", b"t"

_DOGS, _CATS = breeds.DOG_BREEDS, breeds.CAT_BREEDS
_BREEDS = pool(name for name, _, _ in (*_DOGS, *_CATS))
_WEIGHTS = np.array([(least, most) for _, least, most in (*_DOGS, *_CATS)])
_TENTHS = pool(f"{tenths // 10}.{tenths % 10}0" for tenths in range(1000))
_SPECIES = pool(("Cat", "Dog"))
_DECKS = np.array(
    [
        [SERVICES.index(service) for service in deck(*pet)]
        for pet in (("Cat", 0, 0), ("Dog", 0, 0), ("Dog", 99, 365), ("Dog", 250, 365), ("Dog", 251, 365))
    ]
)
"""What a cat, a puppy, a small, a medium and a large dog is likely to get, as numbers of services."""

_PET_NAMES, _CUT_STYLES = pool(breeds.PET_NAMES), pool(breeds.CUT_STYLES)
_GROOMING_NOTES, _HEALTH_ALERTS = pool(one_in(3, breeds.GROOMING_NOTES)), pool(one_in(8, breeds.HEALTH_ALERTS))
_SHAMPOOS, _CARE_NOTES = pool(one_in(2, breeds.SHAMPOOS)), pool(one_in(6, breeds.CARE_NOTES))


class Clients(NamedTuple):
    """What the rest of a block needs to know, a row for each client; `pets` and `kinds` with a column for each pet."""

    ids: Texts
    pet_counts: Numbers
    pets: Texts
    kinds: Numbers

    def services(self, pet: Numbers, cards: Numbers) -> Numbers:
        """Return the services that pets get for a card each of their decks."""
        return _DECKS[np.take_along_axis(self.kinds, pet, 1), cards]


def make_people(draws: Draws, numbers: Numbers, calendar: Calendar) -> tuple[Clients, bytes, bytes]:
    """Return the clients with these numbers, their lines and those of their pets: one to three pets a client."""
    ids = draws.uuids(1)
    joined_on = draws.randints(1, OPENED + 1, NEWEST_CLIENT)
    created = calendar.at(joined_on, draws.randints(1, OPENING_MINUTE, OPENING_MINUTE + 599))
    first, last = draws.indices(1, len(_FIRST)), draws.indices(1, len(_LAST))
    which = np.array([b"%d" % number for number in numbers + 1])[:, None]
    email = joined(_FIRST_SLUGS[first], b".", _LAST_SLUGS[last], which, b"@", draws.choices(1, _DOMAINS))
    phone = joined(b"(555) ", _NUMBERS[draws.randints(1, 200, 999)], b"-", draws.choices(1, _LINES))
    house = _NUMBERS[draws.randints(1, 1, 980)]
    address = joined(house, b" ", draws.choices(1, _STREETS), b", ", draws.choices(1, _CITIES))
    notes = draws.choices(1, _CLIENT_NOTES)
    opt_out, opt_in = draws.indices(1, 12) == 0, draws.indices(1, 3) == 0
    client_lines = lines(
        ids, joined(_FIRST[first], b" ", _LAST[last]), email, phone, address, notes, created, created,
        np.where(opt_out, _TRUE, _FALSE), b"active", np.where(opt_in, _TRUE, _FALSE),
        np.where(opt_in, created, NULL), np.where(opt_in, SMS_CONSENT.encode(), NULL),
    )  # fmt: skip
    clients, pet_lines = _make_pets(draws, ids, PET_COUNTS[numbers % len(PET_COUNTS)], joined_on, calendar)
    return clients, client_lines, pet_lines


def _make_pets(
    draws: Draws, clients: Texts, counts: Numbers, joined_on: Numbers, calendar: Calendar
) -> tuple[Clients, bytes]:
    n = PETS_PER_CLIENT  # each client draws for as many as it may have
    ids = draws.uuids(n)
    name = draws.choices(n, _PET_NAMES)
    is_dog = draws.indices(n, 10) > 0
    dog, cat = draws.indices(n, len(_DOGS)), draws.indices(n, len(_CATS))
    breed = np.where(is_dog, dog, len(_DOGS) + cat)
    percent, age = draws.indices(n, 101), draws.randints(n, YOUNGEST, OLDEST)
    least, most = _WEIGHTS[breed, 0], _WEIGHTS[breed, 1]
    tenths = (least + (most - least) * percent // 100) * (365 + 3 * np.minimum(age, 365)) // (4 * 365)
    adult = 2 + (tenths >= 100) + (tenths > 250)
    there = np.arange(n) < counts[:, None]
    created = calendar.at(np.maximum(joined_on, EARLIEST_VISIT_AGE - age), OPENING_MINUTE + 600)
    columns = (
        ids, np.broadcast_to(clients, ids.shape), name, _SPECIES[is_dog.astype(np.intp)], _BREEDS[breed],
        _TENTHS[tenths], calendar.at(-age, 0), draws.choices(n, _GROOMING_NOTES), created, created,
        draws.choices(n, _HEALTH_ALERTS), draws.choices(n, _CUT_STYLES), draws.choices(n, _SHAMPOOS),
        draws.choices(n, _CARE_NOTES),
    )  # fmt: skip
    kinds = np.where(is_dog, np.where(age < 365, 1, adult), 0)
    return Clients(clients, counts, ids, kinds), lines(*(column[there] for column in columns), b"{}")
