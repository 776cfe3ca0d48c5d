"""What all models share: naming, column types, and the enums."""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Enum, MetaData, Numeric, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column


class Base(DeclarativeBase):
    """The models' registry.

    Constraints without a name of their own get the one PostgreSQL would give them; the schema's older ones carry the
    names of the tool that made them.
    """

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
        }
    )
    type_annotation_map = {str: Text, dt.datetime: DateTime()}  # noqa: RUF012 - SQLAlchemy's own form


Key = Annotated[UUID, mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))]
Stamp = Annotated[dt.datetime, mapped_column(DateTime(), server_default=func.now())]
Zoned = Annotated[dt.datetime, mapped_column(DateTime(timezone=True))]
ZonedStamp = Annotated[dt.datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
TwoPlaces = Annotated[Decimal, mapped_column(Numeric(5, 2))]
Json = Annotated[dict[str, Any], mapped_column(JSONB)]
BigInt = Annotated[int, mapped_column(BigInteger)]

AppointmentStatus = Annotated[
    str,
    mapped_column(
        Enum("scheduled", "confirmed", "in_progress", "completed", "cancelled", "no_show", name="appointment_status")
    ),
]
ClientStatus = Annotated[str, mapped_column(Enum("active", "disabled", name="client_status"))]
ImpersonationSessionStatus = Annotated[
    str, mapped_column(Enum("active", "ended", "expired", name="impersonation_session_status"))
]
InvoiceStatus = Annotated[str, mapped_column(Enum("draft", "pending", "paid", "void", name="invoice_status"))]
PaymentMethod = Annotated[str, mapped_column(Enum("cash", "card", "check", "other", name="payment_method"))]
StaffRole = Annotated[str, mapped_column(Enum("groomer", "receptionist", "manager", name="staff_role"))]
WaitlistStatus = Annotated[
    str, mapped_column(Enum("active", "notified", "expired", "cancelled", name="waitlist_status"))
]
