"""Services, appointments and everything around them."""

import datetime as dt
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text, true
from sqlalchemy.orm import Mapped, mapped_column

from groombook.models.base import AppointmentStatus, Base, Key, Stamp, WaitlistStatus, Zoned, ZonedStamp


class Service(Base):
    """What the salon offers, with its usual price and time."""

    __tablename__ = "services"
    __table_args__ = (UniqueConstraint("name", name="services_name_unique"),)

    id: Mapped[Key]
    name: Mapped[str]
    description: Mapped[str | None]
    base_price_cents: Mapped[int]
    duration_minutes: Mapped[int]
    active: Mapped[bool] = mapped_column(server_default=true())
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class RecurringSeries(Base):
    """Appointments that repeat every so many weeks."""

    __tablename__ = "recurring_series"

    id: Mapped[Key]
    frequency_weeks: Mapped[int]
    created_at: Mapped[Stamp]


class AppointmentGroup(Base):
    """Appointments of one client that belong together."""

    __tablename__ = "appointment_groups"

    id: Mapped[Key]
    client_id: Mapped[UUID] = mapped_column(ForeignKey("clients.id", ondelete="RESTRICT"))
    notes: Mapped[str | None]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class Appointment(Base):
    """A pet, a service, a groomer and a time."""

    __tablename__ = "appointments"
    __table_args__ = (
        UniqueConstraint("confirmation_token"),
        Index(
            "idx_appointments_confirmation_token",
            "confirmation_token",
            postgresql_where=text("confirmation_token IS NOT NULL"),
        ),
        Index("idx_appointments_customer_notes", "client_id", postgresql_where=text("customer_notes IS NOT NULL")),
    )

    id: Mapped[Key]
    client_id: Mapped[UUID] = mapped_column(
        ForeignKey("clients.id", ondelete="RESTRICT", name="appointments_client_id_clients_id_fk")
    )
    pet_id: Mapped[UUID] = mapped_column(
        ForeignKey("pets.id", ondelete="RESTRICT", name="appointments_pet_id_pets_id_fk")
    )
    service_id: Mapped[UUID] = mapped_column(
        ForeignKey("services.id", ondelete="RESTRICT", name="appointments_service_id_services_id_fk")
    )
    staff_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("staff.id", ondelete="SET NULL", name="appointments_staff_id_staff_id_fk")
    )
    status: Mapped[AppointmentStatus] = mapped_column(server_default="scheduled")
    start_time: Mapped[dt.datetime]
    end_time: Mapped[dt.datetime]
    notes: Mapped[str | None]
    price_cents: Mapped[int | None]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]
    series_id: Mapped[UUID | None] = mapped_column(ForeignKey("recurring_series.id", ondelete="SET NULL"))
    series_index: Mapped[int | None]
    group_id: Mapped[UUID | None] = mapped_column(ForeignKey("appointment_groups.id", ondelete="SET NULL"))
    bather_staff_id: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id", ondelete="SET NULL"))
    confirmation_status: Mapped[str] = mapped_column(server_default="pending")
    confirmed_at: Mapped[Zoned | None]
    cancelled_at: Mapped[Zoned | None]
    confirmation_token: Mapped[str | None]
    customer_notes: Mapped[str | None]


class GroomingVisitLog(Base):
    """What was done at a visit."""

    __tablename__ = "grooming_visit_logs"

    id: Mapped[Key]
    pet_id: Mapped[UUID] = mapped_column(
        ForeignKey("pets.id", ondelete="CASCADE", name="grooming_visit_logs_pet_id_pets_id_fk")
    )
    appointment_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("appointments.id", ondelete="SET NULL", name="grooming_visit_logs_appointment_id_appointments_id_fk")
    )
    staff_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("staff.id", ondelete="SET NULL", name="grooming_visit_logs_staff_id_staff_id_fk")
    )
    cut_style: Mapped[str | None]
    products_used: Mapped[str | None]
    notes: Mapped[str | None]
    groomed_at: Mapped[Stamp]
    created_at: Mapped[Stamp]


class ReminderLog(Base):
    """A reminder that went out, once for each type and channel."""

    __tablename__ = "reminder_logs"
    __table_args__ = (
        UniqueConstraint(
            "appointment_id",
            "reminder_type",
            "channel",
            name="reminder_logs_appointment_id_reminder_type_channel_unique",
        ),
    )

    id: Mapped[Key]
    appointment_id: Mapped[UUID] = mapped_column(ForeignKey("appointments.id", ondelete="CASCADE"))
    reminder_type: Mapped[str]
    sent_at: Mapped[Stamp]
    channel: Mapped[str] = mapped_column(server_default="email")


class WaitlistEntry(Base):
    """A client's wish for a slot."""

    __tablename__ = "waitlist_entries"
    __table_args__ = (
        Index("idx_waitlist_client_id", "client_id"),
        Index("idx_waitlist_preferred_date", "preferred_date"),
        Index("idx_waitlist_status", "status", postgresql_where=text("status = 'active'")),
        Index(
            "idx_waitlist_active_unique",
            "client_id",
            "pet_id",
            "service_id",
            "preferred_date",
            "preferred_time",
            unique=True,
            postgresql_where=text("status = 'active'"),
        ),
    )

    id: Mapped[Key]
    client_id: Mapped[UUID] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"))
    pet_id: Mapped[UUID] = mapped_column(ForeignKey("pets.id", ondelete="CASCADE"))
    service_id: Mapped[UUID] = mapped_column(ForeignKey("services.id", ondelete="CASCADE"))
    preferred_date: Mapped[dt.date]
    preferred_time: Mapped[dt.time]
    status: Mapped[WaitlistStatus] = mapped_column(server_default="active")
    notified_at: Mapped[Zoned | None]
    expires_at: Mapped[Zoned | None]
    created_at: Mapped[ZonedStamp]
    updated_at: Mapped[ZonedStamp]
