"""GroomBook's rows: a pure function of profile, seed and as-of date.

All draws, and with them all identifiers, come from one Mulberry32 stream in the order of the code, and no
draw depends on the date: another as-of date gives the same rows with other dates. The functions it is
made of stand in the modules named generate_….
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.dataset import Dataset, TableRows
from groombook.generate_billing import make_invoices
from groombook.generate_dates import Days
from groombook.generate_people import make_clients, make_pets, make_services, make_staff
from groombook.generate_rows import COLUMNS, Row
from groombook.generate_test_clients import LETTERS, make_test_clients
from groombook.generate_visits import make_appointments, make_visit_logs
from groombook.prng import Mulberry32
from groombook.profiles import PROFILES

if TYPE_CHECKING:
    import datetime as dt

    from groombook.profiles import Profile


def generate(profile: str, seed: int, as_of: dt.date) -> Dataset:
    """Return the rows of a profile. Reads no clock, no environment and no locale.

    What is over ends before the as-of date begins; what is to come starts on that date or later.

    Raises:
        KeyError: There is no such profile.
        ConfigurationError: The as-of date leaves no room for the dates around it.
    """
    sizes = PROFILES[profile]
    rng = Mulberry32(seed)
    days = Days(as_of)

    staff, groomers, bathers = make_staff(sizes, rng, days)
    clients, client_ids, joined = make_clients(sizes, rng, days)
    pets, visitors = make_pets(sizes, rng, days, client_ids, joined)
    appointments, visits = make_appointments(sizes, rng, days, visitors, groomers, bathers)
    invoices, line_items, splits = make_invoices(rng, days, visits)
    rows: dict[str, list[Row]] = {
        "staff": staff,
        "services": make_services(days),
        "clients": clients,
        "pets": pets,
        "appointments": appointments,
        "invoices": invoices,
        "invoice_line_items": line_items,
        "invoice_tip_splits": splits,
        "grooming_visit_logs": make_visit_logs(rng, days, visits),
    }
    if sizes.test_clients:
        # Drawn last, so that every other row is the same with and without them.
        for table, more in make_test_clients(rng, days, groomers[0]).items():
            rows[table] += more
    tables = tuple(TableRows(table, tuple(columns.split()), rows[table]) for table, columns in COLUMNS.items())
    return Dataset(tables, _summary(sizes))


def _summary(profile: Profile) -> tuple[str, ...]:
    roles = [
        f"{count} {role}{'s' if count > 1 else ''}"
        for role, count in (
            ("manager", profile.managers),
            ("receptionist", profile.receptionists),
            ("groomer", profile.groomers),
            ("bather", profile.bathers),
        )
        if count
    ]
    lines = [
        f"Created {profile.staff} staff ({', '.join(roles)})",
        "Created 10 services",
        f"Created {profile.clients} clients with {profile.pets} pets",
        f"Created {profile.completed} invoices with line items and tip splits",
        f"Created {profile.completed} grooming visit logs",
    ]
    if profile.test_clients:
        lines.insert(3, f"Created {len(LETTERS)} UAT test clients with guaranteed pending invoices")
    return tuple(lines)
