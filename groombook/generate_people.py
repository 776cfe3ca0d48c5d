"""The staff, the services, the clients and their pets."""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from groombook import breeds, names
from groombook.generate_rows import Row, client_row, pet_row, service_row, staff_row

if TYPE_CHECKING:
    from groombook.generate_dates import Days
    from groombook.prng import Mulberry32
    from groombook.profiles import Profile

T = TypeVar("T")

OPENED = -1500  # the day the salon opened, counted from the as-of date
NEWEST_CLIENT = -60  # before the first appointment of any window was booked
OPENING_MINUTE = 8 * 60
PETS_PER_CLIENT = 3
EARLIEST_VISIT_AGE = 56  # days; no salon takes a younger puppy


class Service(NamedTuple):
    """What the salon offers; the price is in cents."""

    id: str
    name: str
    price: int
    minutes: int
    with_bath: bool
    description: str


# Fixed ids, names, prices and minutes: other programs rely on them.
SERVICES = tuple(
    Service(f"b0000001-0000-0000-0000-{number:012x}", *rest)
    for number, rest in enumerate(
        (
            ("Bath & Brush", 4500, 45, True, "Bath, blow-dry and a thorough brushing."),
            ("Full Groom — Small", 6500, 60, True, "Bath, cut and finish for dogs under 10 kg, and cats."),
            ("Full Groom — Medium", 8000, 75, True, "Bath, cut and finish for dogs of 10 to 25 kg."),
            ("Full Groom — Large", 9500, 90, True, "Bath, cut and finish for dogs over 25 kg."),
            ("Nail Trim", 1500, 15, False, "Nails clipped and filed."),
            ("Teeth Brushing", 1000, 10, False, "Enzymatic paste and a new brush."),
            ("De-shedding Treatment", 5500, 60, True, "Undercoat removed with shampoo and rake."),
            ("Puppy First Groom", 4000, 30, True, "A gentle first visit for puppies under a year."),
            ("Flea & Tick Treatment", 5000, 45, True, "Medicated bath and a comb-through."),
            ("Sanitary Trim", 2500, 20, False, "Paws, face and hygiene areas tidied."),
        ),
        start=1,
    )
)
BATH, SMALL, MEDIUM, LARGE, NAILS, TEETH, SHEDDING, PUPPY, FLEAS, SANITARY = SERVICES

DECK_SIZE = 20


class Pet(NamedTuple):
    """A pet that visits; `deck` holds the services it is likely to get, each as often as it is likely."""

    id: str
    client_id: str
    deck: tuple[Service, ...]


class Member(NamedTuple):
    """A member of staff who takes part in visits."""

    id: str
    name: str


def one_in(n: int, pool: tuple[T, ...]) -> tuple[T | None, ...]:
    """Return the pool diluted with None, so that one choice in n is an item of it."""
    return (*pool, *(None,) * (len(pool) * (n - 1)))


def make_staff(profile: Profile, rng: Mulberry32, days: Days) -> tuple[list[Row], list[Member], list[Member]]:
    """Return the staff's rows, the groomers and the bathers; in the database a bather's role is groomer."""
    roles = ["manager"] * profile.managers + ["receptionist"] * profile.receptionists
    office = len(roles)
    roles += ["groomer"] * (profile.groomers + profile.bathers)
    members = [Member(*pair) for pair in zip(rng.uuid4s(len(roles)), names.STAFF_NAMES, strict=False)]
    created = days.at(OPENED, OPENING_MINUTE)
    rows = [
        staff_row(
            member.id,
            member.name,
            f"{slug(member.name)}@groombook.dev",
            None,
            role,
            created,
            super_user=profile.super_user and position == 0,
        )
        for position, (member, role) in enumerate(zip(members, roles, strict=True))
    ]
    bathers = office + profile.groomers
    return rows, members[office:bathers], members[bathers:]


def make_services(days: Days) -> list[Row]:
    """Return the ten services."""
    created = days.at(OPENED, OPENING_MINUTE)
    return [service_row(s.id, s.name, s.description, s.price, s.minutes, created) for s in SERVICES]


def make_clients(profile: Profile, rng: Mulberry32, days: Days) -> tuple[list[Row], list[str], list[int]]:
    """Return the clients' rows, their ids and the days they were created on."""
    n = profile.clients
    ids = rng.uuid4s(n)
    joined = rng.randints(n, OPENED + 1, NEWEST_CLIENT)
    drawn = zip(
        ids,
        joined,
        rng.randints(n, OPENING_MINUTE, OPENING_MINUTE + 599),
        rng.choices(n, names.FIRST_NAMES),
        rng.choices(n, names.SURNAMES),
        rng.choices(n, names.EMAIL_DOMAINS),
        # Exchanges from 200 on, as in real numbers: (555) 100-0001 and so on belong to the test clients.
        rng.randints(n, 200, 999),
        rng.indices(n, 10000),
        rng.randints(n, 1, 980),
        rng.choices(n, names.STREETS),
        rng.choices(n, names.CITIES),
        rng.choices(n, one_in(3, names.CLIENT_NOTES)),
        rng.indices(n, 12),
        rng.indices(n, 3),
        strict=True,
    )
    namesakes: Counter[str] = Counter()
    rows = []
    for (
        id_, day, minute, first, last, domain, exchange, line, number, street, city, notes, opt_out, opt_in
    ) in drawn:  # fmt: skip
        address = slug(f"{first} {last}")
        namesakes[address] += 1
        suffix = namesakes[address] if namesakes[address] > 1 else ""
        rows.append(
            client_row(
                id_,
                f"{first} {last}",
                f"{address}{suffix}@{domain}",
                f"(555) {exchange}-{line:04}",
                f"{number} {street}, {city}",
                notes,
                days.at(day, minute),
                email_opt_out=opt_out == 0,
                sms_opt_in=opt_in == 0,
            )
        )
    return rows, ids, joined


def make_pets(
    profile: Profile, rng: Mulberry32, days: Days, clients: list[str], joined: list[int]
) -> tuple[list[Row], list[Pet]]:
    """Return the pets' rows and what their visits need to know: one to three pets a client."""
    n = profile.pets
    everyone = range(len(clients))
    further = rng.shuffled([owner for owner in everyone for _ in range(PETS_PER_CLIENT - 1)])
    owners = sorted([*everyone, *further[: n - len(clients)]])
    drawn = zip(
        rng.uuid4s(n),
        owners,
        rng.choices(n, breeds.PET_NAMES),
        rng.indices(n, 10),
        rng.choices(n, breeds.DOG_BREEDS),
        rng.choices(n, breeds.CAT_BREEDS),
        rng.indices(n, 101),
        rng.randints(n, 120, 5000),
        rng.choices(n, one_in(3, breeds.GROOMING_NOTES)),
        rng.choices(n, one_in(8, breeds.HEALTH_ALERTS)),
        rng.choices(n, breeds.CUT_STYLES),
        rng.choices(n, one_in(2, breeds.SHAMPOOS)),
        rng.choices(n, one_in(6, breeds.CARE_NOTES)),
        strict=True,
    )
    rows = []
    pets = []
    for id_, owner, name, kind, dog, cat, percent, age, notes, alerts, cut, shampoo, care in drawn:
        species, (breed, least, most) = ("Cat", cat) if kind == 0 else ("Dog", dog)
        # A puppy starts at a quarter of its grown weight and reaches it at one year.
        tenths = (least + (most - least) * percent // 100) * (365 + 3 * min(age, 365)) // (4 * 365)
        rows.append(
            pet_row(
                id_,
                clients[owner],
                name,
                species,
                breed,
                f"{tenths // 10}.{tenths % 10}0",
                days.at(-age, 0),
                days.at(max(joined[owner], EARLIEST_VISIT_AGE - age), OPENING_MINUTE + 600),
                grooming_notes=notes,
                health_alerts=alerts,
                cut_style=cut,
                shampoo=shampoo,
                care_notes=care,
            )
        )
        pets.append(Pet(id_, clients[owner], deck(species, tenths, age)))
    return rows, pets


def deck(species: str, tenths: int, age: int) -> tuple[Service, ...]:
    """Return the services that a pet of this weight (in tenths of a kilogram) and age (in days) is likely to get."""
    if species == "Cat":
        return (BATH,) * 6 + (SMALL,) * 6 + (NAILS,) * 5 + (SHEDDING,) * 2 + (FLEAS,)
    full = SMALL if tenths < 100 else MEDIUM if tenths <= 250 else LARGE
    if age < 365:
        return (PUPPY,) * 9 + (BATH,) * 4 + (NAILS,) * 4 + (TEETH,) * 2 + (SANITARY,)
    return (BATH,) * 4 + (full,) * 6 + (NAILS,) * 3 + (TEETH,) * 2 + (SHEDDING,) * 2 + (FLEAS,) + (SANITARY,) * 2


def slug(name: str) -> str:
    """Return a name as it stands in an address: "Renée O'Hara" is renee.ohara."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return ".".join("".join(filter(str.isalnum, word)).lower() for word in plain.split())
