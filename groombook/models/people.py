"""Clients, their pets, and the people who work for them."""

import datetime as dt
from uuid import UUID

from sqlalchemy import ForeignKey, UniqueConstraint, false, true
from sqlalchemy.orm import Mapped, mapped_column

from groombook.models.base import Base, ClientStatus, Json, Key, StaffRole, Stamp, TwoPlaces


class Client(Base):
    """A person who owns pets and pays for them."""

    __tablename__ = "clients"
    __table_args__ = (UniqueConstraint("stripe_customer_id", name="idx_clients_stripe_customer_id"),)

    id: Mapped[Key]
    name: Mapped[str]
    email: Mapped[str | None]
    phone: Mapped[str | None]
    address: Mapped[str | None]
    notes: Mapped[str | None]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]
    email_opt_out: Mapped[bool] = mapped_column(server_default=false())
    status: Mapped[ClientStatus] = mapped_column(server_default="active")
    disabled_at: Mapped[dt.datetime | None]
    stripe_customer_id: Mapped[str | None]
    sms_opt_in: Mapped[bool] = mapped_column(server_default=false())
    sms_consent_date: Mapped[dt.datetime | None]
    sms_opt_out_date: Mapped[dt.datetime | None]
    sms_consent_text: Mapped[str | None]


class Pet(Base):
    """An animal, and what its groomer has to know."""

    __tablename__ = "pets"

    id: Mapped[Key]
    client_id: Mapped[UUID] = mapped_column(
        ForeignKey("clients.id", ondelete="CASCADE", name="pets_client_id_clients_id_fk")
    )
    name: Mapped[str]
    species: Mapped[str]
    breed: Mapped[str | None]
    weight_kg: Mapped[TwoPlaces | None]
    date_of_birth: Mapped[dt.datetime | None]
    grooming_notes: Mapped[str | None]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]
    health_alerts: Mapped[str | None]
    cut_style: Mapped[str | None]
    shampoo_preference: Mapped[str | None]
    special_care_notes: Mapped[str | None]
    custom_fields: Mapped[Json] = mapped_column(server_default="{}")
    photo_key: Mapped[str | None]
    photo_uploaded_at: Mapped[dt.datetime | None]
    image: Mapped[str | None]


class Staff(Base):
    """Somebody who works in the salon; a bather is a groomer by role."""

    __tablename__ = "staff"
    __table_args__ = (
        UniqueConstraint("email", name="staff_email_unique"),
        UniqueConstraint("ical_token"),
        UniqueConstraint("oidc_sub", name="staff_oidc_sub_unique"),
    )

    id: Mapped[Key]
    name: Mapped[str]
    email: Mapped[str]
    oidc_sub: Mapped[str | None]
    role: Mapped[StaffRole] = mapped_column(server_default="groomer")
    active: Mapped[bool] = mapped_column(server_default=true())
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]
    ical_token: Mapped[str | None]
    user_id: Mapped[str | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))
    is_super_user: Mapped[bool] = mapped_column(server_default=false())
