"""The profile `load`: millions of invoices, computed in blocks of clients that do not depend on each other.

All draws come from the one Mulberry32 stream, but each client's from a place of its own (see `groombook.load_draws`),
so a block is a pure function of its number, the seed and the as-of date. What is dealt in exact numbers elsewhere is
dealt here so that each block of clients has its exact share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtools.dataset import Dataset, TableRows, TableText
from dbtools.errors import UNCHANGED, ConfigurationError
from groombook.generate_dates import Days
from groombook.generate_people import OPENED, make_services, make_staff
from groombook.generate_rows import COLUMNS
from groombook.load_billing import make_invoices
from groombook.load_dates import Calendar
from groombook.load_draws import Draws
from groombook.load_people import OLDEST, PET_COUNTS, make_people
from groombook.load_visits import AHEAD, APPOINTMENTS, DAYS_APART_AHEAD, VISITS, Staff, make_appointments, make_logs
from groombook.prng import BYTES_OF_UUID, Mulberry32
from groombook.profiles import DEMO

if TYPE_CHECKING:
    import datetime as dt

CLIENTS_A_BLOCK = 1000
PERIOD = 2**32
"""Outputs after which the stream repeats itself, and with it every id."""
STAFF_DRAWS = DEMO.staff * BYTES_OF_UUID
CLIENT_DRAWS = 1460
"""Outputs between the places of two clients: what one of them draws."""
LARGEST_SCALE = (PERIOD - STAFF_DRAWS) // (CLIENT_DRAWS * CLIENTS_A_BLOCK)


class Load:
    """The rows of the profile: for each unit of scale a block of 1,000 clients with 10,000 invoices.

    Blocks of another size have the same clients: `clients` of them, a multiple of 100, so that each has its share.

    Raises:
        ConfigurationError: The scale asks for more draws than the stream has before it repeats itself, or the as-of
            date leaves no room for the dates around it.
    """

    def __init__(self, scale: int, seed: int, as_of: dt.date, clients: int = CLIENTS_A_BLOCK) -> None:
        if scale > LARGEST_SCALE:
            raise ConfigurationError(
                f"Scale {scale} needs more random numbers than there are.",
                f"A client draws {CLIENT_DRAWS} of them, and after 2^32 the stream begins again: ids would repeat.",
                f"Choose a scale of {LARGEST_SCALE} or less.",
                UNCHANGED,
            )
        self.blocks = scale
        self._clients = clients
        self._seed = seed
        days = Days(as_of)
        self._calendar = Calendar(days, min(OPENED, -OLDEST), DAYS_APART_AHEAD * len(AHEAD))
        rows, groomers, bathers = make_staff(DEMO, Mulberry32(seed), days)
        self._staff = Staff.of(groomers, bathers)
        tables = {"staff": rows, "services": make_services(days)}
        self.base = Dataset(tuple(TableRows(name, tuple(COLUMNS[name].split()), tables[name]) for name in tables))

    def block(self, number: int) -> tuple[TableText, ...]:
        """Return the rows of a block, the first one being 0."""
        n = self._clients
        numbers = np.arange(number * n, (number + 1) * n)
        draws = Draws(self._seed, STAFF_DRAWS + numbers * CLIENT_DRAWS)
        clients, client_lines, pet_lines = make_people(draws, numbers, self._calendar)
        visits, appointment_lines = make_appointments(draws, numbers, clients, self._staff, self._calendar)
        billing = make_invoices(draws, numbers, clients, visits, self._staff, self._calendar)
        log_lines = make_logs(draws, visits, self._staff)
        assert draws.taken == CLIENT_DRAWS
        return (
            _table("clients", n, client_lines),
            _table("pets", int(PET_COUNTS[numbers % len(PET_COUNTS)].sum()), pet_lines),
            _table("appointments", n * APPOINTMENTS, appointment_lines),
            _table("invoices", n * VISITS, billing.invoices),
            _table("invoice_line_items", n * VISITS, billing.line_items),
            _table("invoice_tip_splits", billing.splits, billing.tip_splits),
            _table("grooming_visit_logs", n * VISITS, log_lines),
        )


def _table(name: str, count: int, lines: bytes) -> TableText:
    return TableText(name, tuple(COLUMNS[name].split()), count, lines)
