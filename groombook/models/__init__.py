"""The models of GroomBook, 23 tables. Importing this registers all of them on `Base.metadata`."""

from groombook.models.access import (
    Account,
    AuthProviderConfig,
    BusinessSettings,
    ImpersonationAuditLog,
    ImpersonationSession,
    RateLimit,
    Session,
    User,
    Verification,
)
from groombook.models.base import Base
from groombook.models.billing import Invoice, InvoiceLineItem, InvoiceTipSplit, Refund
from groombook.models.diary import (
    Appointment,
    AppointmentGroup,
    GroomingVisitLog,
    RecurringSeries,
    ReminderLog,
    Service,
    WaitlistEntry,
)
from groombook.models.people import Client, Pet, Staff

__all__ = [
    "Account",
    "Appointment",
    "AppointmentGroup",
    "AuthProviderConfig",
    "Base",
    "BusinessSettings",
    "Client",
    "GroomingVisitLog",
    "ImpersonationAuditLog",
    "ImpersonationSession",
    "Invoice",
    "InvoiceLineItem",
    "InvoiceTipSplit",
    "Pet",
    "RateLimit",
    "RecurringSeries",
    "Refund",
    "ReminderLog",
    "Service",
    "Session",
    "Staff",
    "User",
    "Verification",
    "WaitlistEntry",
]
