"""Invoices, tips and refunds. Amounts are in cents."""

import datetime as dt
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from groombook.models.base import Base, InvoiceStatus, Key, PaymentMethod, Stamp, TwoPlaces


class Invoice(Base):
    """What a client owes for an appointment. Amounts are in cents."""

    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("stripe_payment_intent_id", name="idx_invoices_stripe_payment_intent_id"),
        Index("idx_invoices_client_id", "client_id"),
        Index("idx_invoices_status", "status"),
        Index("idx_invoices_created_at", "created_at"),
    )

    id: Mapped[Key]
    appointment_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("appointments.id", ondelete="RESTRICT", name="invoices_appointment_id_appointments_id_fk")
    )
    client_id: Mapped[UUID] = mapped_column(
        ForeignKey("clients.id", ondelete="RESTRICT", name="invoices_client_id_clients_id_fk")
    )
    subtotal_cents: Mapped[int]
    tax_cents: Mapped[int] = mapped_column(server_default="0")
    tip_cents: Mapped[int] = mapped_column(server_default="0")
    total_cents: Mapped[int]
    status: Mapped[InvoiceStatus] = mapped_column(server_default="draft")
    payment_method: Mapped[PaymentMethod | None]
    paid_at: Mapped[dt.datetime | None]
    notes: Mapped[str | None]
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]
    stripe_payment_intent_id: Mapped[str | None]
    stripe_refund_id: Mapped[str | None]
    payment_failure_reason: Mapped[str | None]


class InvoiceLineItem(Base):
    """One line of an invoice."""

    __tablename__ = "invoice_line_items"
    __table_args__ = (Index("idx_invoice_line_items_invoice_id", "invoice_id"),)

    id: Mapped[Key]
    invoice_id: Mapped[UUID] = mapped_column(
        ForeignKey("invoices.id", ondelete="CASCADE", name="invoice_line_items_invoice_id_invoices_id_fk")
    )
    description: Mapped[str]
    quantity: Mapped[int] = mapped_column(server_default="1")
    unit_price_cents: Mapped[int]
    total_cents: Mapped[int]
    created_at: Mapped[Stamp]


class InvoiceTipSplit(Base):
    """One person's share of a tip."""

    __tablename__ = "invoice_tip_splits"
    __table_args__ = (Index("idx_invoice_tip_splits_invoice_id", "invoice_id"),)

    id: Mapped[Key]
    invoice_id: Mapped[UUID] = mapped_column(
        ForeignKey("invoices.id", ondelete="CASCADE", name="invoice_tip_splits_invoice_id_invoices_id_fk")
    )
    staff_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("staff.id", ondelete="SET NULL", name="invoice_tip_splits_staff_id_staff_id_fk")
    )
    staff_name: Mapped[str]
    share_pct: Mapped[TwoPlaces]
    share_cents: Mapped[int]
    created_at: Mapped[Stamp]


class Refund(Base):
    """Money given back, once for each idempotency key."""

    __tablename__ = "refunds"
    __table_args__ = (
        UniqueConstraint("idempotency_key"),
        Index("idx_refunds_invoice_id", "invoice_id"),
        Index("idx_refunds_idempotency_key", "idempotency_key"),
    )

    id: Mapped[Key]
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id", ondelete="RESTRICT"))
    stripe_refund_id: Mapped[str]
    idempotency_key: Mapped[str | None]
    amount_cents: Mapped[int | None]
    created_at: Mapped[Stamp]
