"""How much a seeded database holds: three profiles, every count exact."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Profile:
    """The counts of one profile.

    Windows are in days: what is over happened on one of the `days_back` days before the as-of date, and what
    is to come lies on one of the `days_ahead` days that begin with it.
    """

    name: str
    managers: int
    receptionists: int
    groomers: int
    bathers: int
    clients: int
    pets: int
    completed: int
    """Completed appointments; each has one invoice, one line item and one visit log."""
    cancelled: int
    no_show: int
    scheduled: int
    confirmed: int
    days_back: int
    days_ahead: int
    super_user: bool = False
    """The first manager is a super user."""
    test_clients: bool = False
    """Five clients with a pending invoice each, for billing tests, on top of the counts."""

    @property
    def staff(self) -> int:
        """All members of staff."""
        return self.managers + self.receptionists + self.groomers + self.bathers

    @property
    def behind(self) -> int:
        """Appointments that are over before the as-of date."""
        return self.completed + self.cancelled + self.no_show

    @property
    def ahead(self) -> int:
        """Appointments on the as-of date and later."""
        return self.scheduled + self.confirmed


# Four in eleven ordinary appointments are not completed: round(completed * 4 / 7) of them. Three in ten of
# those are scheduled, three confirmed, a quarter cancelled, and to the rest nobody came.
DEV = Profile(
    name="dev",
    managers=1,
    receptionists=1,
    groomers=2,
    bathers=0,
    clients=100,
    pets=176,
    completed=1000,
    cancelled=143,
    no_show=86,
    scheduled=171,
    confirmed=171,
    days_back=7,
    days_ahead=30,
)
UAT = Profile(
    name="uat",
    managers=1,
    receptionists=1,
    groomers=3,
    bathers=3,
    clients=500,
    pets=880,
    completed=4000,
    cancelled=571,
    no_show=343,
    scheduled=686,
    confirmed=686,
    days_back=30,
    days_ahead=90,
    super_user=True,
    test_clients=True,
)
DEMO = replace(UAT, name="demo", super_user=False)

PROFILES = {profile.name: profile for profile in (DEV, UAT, DEMO)}
"""By name; the first one is the default."""
