"""The rows of each table: what varies goes in, a row with every value that the table needs comes out.

`COLUMNS` names the columns of each table in the order its rows are filled, and lists the tables in an
order in which they can be loaded. Columns with a default are given a value here: no now() and no
gen_random_uuid() of the server can make two databases differ. Columns left out have no default, so they
are null.
"""

from __future__ import annotations

from typing import TypeAlias

from dbtools.dataset import Value

Row: TypeAlias = tuple[Value, ...]

TAX_PERCENT = 8
SMS_CONSENT = "I agree to receive reminders about my appointments by text message."

COLUMNS = {
    "staff": "id name email oidc_sub role active created_at updated_at is_super_user",
    "services": "id name description base_price_cents duration_minutes active created_at updated_at",
    "clients": "id name email phone address notes created_at updated_at email_opt_out status"
    " sms_opt_in sms_consent_date sms_consent_text",
    "pets": "id client_id name species breed weight_kg date_of_birth grooming_notes created_at updated_at"
    " health_alerts cut_style shampoo_preference special_care_notes custom_fields",
    "appointments": "id client_id pet_id service_id staff_id status start_time end_time notes price_cents"
    " created_at updated_at bather_staff_id confirmation_status confirmed_at cancelled_at customer_notes",
    "invoices": "id appointment_id client_id subtotal_cents tax_cents tip_cents total_cents status"
    " payment_method paid_at created_at updated_at stripe_payment_intent_id",
    "invoice_line_items": "id invoice_id description quantity unit_price_cents total_cents created_at",
    "invoice_tip_splits": "id invoice_id staff_id staff_name share_pct share_cents created_at",
    "grooming_visit_logs": "id pet_id appointment_id staff_id cut_style products_used notes groomed_at created_at",
}


def staff_row(
    id_: str, name: str, email: str, oidc_sub: str | None, role: str, created: str, *, super_user: bool
) -> Row:
    """Return a row of staff."""
    return (id_, name, email, oidc_sub, role, True, created, created, super_user)


def service_row(id_: str, name: str, description: str, price: int, minutes: int, created: str) -> Row:
    """Return a row of services."""
    return (id_, name, description, price, minutes, True, created, created)


def client_row(
    id_: str,
    name: str,
    email: str,
    phone: str,
    address: str | None,
    notes: str | None,
    created: str,
    *,
    email_opt_out: bool = False,
    sms_opt_in: bool = False,
) -> Row:
    """Return a row of clients; consent to text messages was given when the client was created."""
    consent = (created, SMS_CONSENT) if sms_opt_in else (None, None)
    return (
        id_, name, email, phone, address, notes, created, created, email_opt_out, "active",
        sms_opt_in, *consent,
    )  # fmt: skip


def pet_row(
    id_: str,
    client_id: str,
    name: str,
    species: str,
    breed: str,
    weight_kg: str,
    born: str,
    created: str,
    *,
    grooming_notes: str | None = None,
    health_alerts: str | None = None,
    cut_style: str | None = None,
    shampoo: str | None = None,
    care_notes: str | None = None,
) -> Row:
    """Return a row of pets."""
    return (
        id_, client_id, name, species, breed, weight_kg, born, grooming_notes, created, created,
        health_alerts, cut_style, shampoo, care_notes, "{}",
    )  # fmt: skip


def invoice_row(
    id_: str,
    appointment_id: str,
    client_id: str,
    subtotal: int,
    tip: int,
    created: str,
    payment: tuple[str, str, str] | None,
) -> Row:
    """Return a row of invoices: paid if there is a payment (method, paid at, intent id), else pending."""
    # Half up, in whole cents. (At 8 % no half occurs, since 8 times a whole number is even.)
    tax = (subtotal * TAX_PERCENT + 50) // 100
    method, paid_at, intent = payment or (None, None, None)
    return (
        id_, appointment_id, client_id, subtotal, tax, tip, subtotal + tax + tip,
        "paid" if payment else "pending", method, paid_at, created, paid_at or created, intent,
    )  # fmt: skip


def line_item_row(id_: str, invoice_id: str, description: str, price: int, created: str) -> Row:
    """Return a row of invoice_line_items: one of a kind."""
    return (id_, invoice_id, description, 1, price, price, created)


def visit_log_row(
    id_: str,
    pet_id: str,
    appointment_id: str,
    staff_id: str,
    cut_style: str,
    products: str,
    notes: str | None,
    groomed: str,
) -> Row:
    """Return a row of grooming_visit_logs."""
    return (id_, pet_id, appointment_id, staff_id, cut_style, products, notes, groomed, groomed)
