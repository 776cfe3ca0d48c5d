"""The rules of GroomBook's seeded data as SQL: every query returns the rows that break one.

They hold for each profile, with users of the environment added, and for the known users alone. Tables are
named without a schema: the search path says which database content is meant. Numbers are written out here
and not taken from the generator: a rule that reads its limits from what it judges would follow a mistake.
"""

from __future__ import annotations

from dbtools.application import Invariant

INVARIANTS = (
    Invariant(
        "the tax is the subtotal's percentage, rounded half up, and the total adds up",
        """
        SELECT id, subtotal_cents, tax_cents, tip_cents, total_cents FROM invoices
        WHERE tax_cents <> (subtotal_cents * 8 + 50) / 100
           OR total_cents <> subtotal_cents + tax_cents + tip_cents
           OR subtotal_cents <= 0 OR tip_cents < 0
        """,
    ),
    Invariant(
        "the subtotal is the appointment's own price, or else the service's",
        """
        SELECT i.id, i.subtotal_cents, a.price_cents, s.base_price_cents
        FROM invoices i JOIN appointments a ON a.id = i.appointment_id JOIN services s ON s.id = a.service_id
        WHERE i.subtotal_cents <> coalesce(a.price_cents, s.base_price_cents)
        """,
    ),
    Invariant(
        "the line items add up to the subtotal, each quantity times unit price",
        """
        SELECT i.id, i.subtotal_cents, sum(l.total_cents) AS items_cents
        FROM invoices i LEFT JOIN invoice_line_items l ON l.invoice_id = i.id
        GROUP BY i.id
        HAVING i.subtotal_cents IS DISTINCT FROM sum(l.total_cents)
            OR bool_or(l.total_cents <> l.quantity * l.unit_price_cents)
        """,
    ),
    Invariant(
        "a completed appointment has one invoice, any other has none",
        """
        SELECT a.id, a.status, count(i.id) AS invoices
        FROM appointments a LEFT JOIN invoices i ON i.appointment_id = a.id
        GROUP BY a.id
        HAVING count(i.id) <> CASE WHEN a.status = 'completed' THEN 1 ELSE 0 END
        """,
    ),
    Invariant(
        "an invoice has an appointment and one line item",
        """
        SELECT i.id, i.appointment_id, count(l.id) AS line_items
        FROM invoices i LEFT JOIN invoice_line_items l ON l.invoice_id = i.id
        GROUP BY i.id
        HAVING i.appointment_id IS NULL OR count(l.id) <> 1
        """,
    ),
    Invariant(
        "a completed appointment has one visit log, any other has none",
        """
        SELECT a.id, a.status, count(g.id) AS visit_logs
        FROM appointments a LEFT JOIN grooming_visit_logs g ON g.appointment_id = a.id
        GROUP BY a.id
        HAVING count(g.id) <> CASE WHEN a.status = 'completed' THEN 1 ELSE 0 END
        """,
    ),
    Invariant(
        "a visit log belongs to an appointment and speaks of its pet and its groomer",
        """
        SELECT g.id, g.appointment_id, g.pet_id, a.pet_id AS appointment_pet_id
        FROM grooming_visit_logs g LEFT JOIN appointments a ON a.id = g.appointment_id
        WHERE a.id IS NULL OR g.pet_id <> a.pet_id OR g.staff_id IS DISTINCT FROM a.staff_id
        """,
    ),
    Invariant(
        "a client has 1 to 3 pets",
        """
        SELECT c.id, count(p.id) AS pets
        FROM clients c LEFT JOIN pets p ON p.client_id = c.id
        GROUP BY c.id
        HAVING count(p.id) NOT BETWEEN 1 AND 3
        """,
    ),
    Invariant(
        # The demo client is there to be signed in as; the mode that creates it creates no appointments.
        "every client but the demo client has an appointment",
        """
        SELECT c.id FROM clients c
        WHERE c.id <> '00000000-0000-0000-0000-000000000002'
          AND NOT EXISTS (SELECT FROM appointments a WHERE a.client_id = c.id)
        """,
    ),
    Invariant(
        "an appointment's pet belongs to its client",
        """
        SELECT a.id, a.client_id, p.client_id AS owner_id FROM appointments a JOIN pets p ON p.id = a.pet_id
        WHERE p.client_id <> a.client_id
        """,
    ),
    Invariant(
        "an invoice goes to its appointment's client",
        """
        SELECT i.id, i.client_id, a.client_id AS appointment_client_id
        FROM invoices i JOIN appointments a ON a.id = i.appointment_id
        WHERE i.client_id <> a.client_id
        """,
    ),
    Invariant(
        "an appointment starts on a quarter hour from 08:00 to 16:45",
        """
        SELECT id, start_time FROM appointments
        WHERE start_time::time NOT BETWEEN '08:00' AND '16:45'
           OR start_time <> date_bin('15 minutes', start_time, '2000-01-01')
        """,
    ),
    Invariant(
        "an appointment ends when the service's minutes are over",
        """
        SELECT a.id, a.start_time, a.end_time, s.duration_minutes
        FROM appointments a JOIN services s ON s.id = a.service_id
        WHERE a.end_time <> a.start_time + make_interval(mins => s.duration_minutes)
        """,
    ),
    Invariant(
        "what is scheduled or confirmed lies on a later day than what is over",
        """
        SELECT id, status, start_time FROM appointments
        WHERE status IN ('scheduled', 'confirmed')
          AND start_time::date <= (
              SELECT max(end_time)::date FROM appointments
              WHERE status IN ('completed', 'cancelled', 'no_show'))
        """,
    ),
    Invariant(
        "no pet has two appointments at once",
        """
        SELECT a.id, b.id AS other_id, a.pet_id, a.start_time
        FROM appointments a JOIN appointments b ON b.pet_id = a.pet_id AND a.id < b.id
        WHERE a.start_time < b.end_time AND b.start_time < a.end_time
        """,
    ),
    Invariant(
        "the shares of a tip sum to it on paid invoices, and there are none on others",
        """
        SELECT i.id, i.status, i.tip_cents, coalesce(sum(t.share_cents), 0) AS shares_cents
        FROM invoices i LEFT JOIN invoice_tip_splits t ON t.invoice_id = i.id
        GROUP BY i.id
        HAVING coalesce(sum(t.share_cents), 0) <> CASE WHEN i.status = 'paid' THEN i.tip_cents ELSE 0 END
            OR (count(t.id) > 0) <> (i.status = 'paid' AND i.tip_cents > 0)
            OR sum(t.share_pct) <> 100
        """,
    ),
    Invariant(
        "a tip's shares go to the groomer and, where one took part, the bather",
        """
        SELECT t.id, t.staff_id, t.staff_name, t.share_pct, t.share_cents
        FROM invoice_tip_splits t
        JOIN invoices i ON i.id = t.invoice_id
        JOIN appointments a ON a.id = i.appointment_id
        LEFT JOIN staff s ON s.id = t.staff_id
        WHERE t.staff_name IS DISTINCT FROM s.name
           OR t.share_pct IS DISTINCT FROM CASE
                  WHEN t.staff_id = a.staff_id AND a.bather_staff_id IS NULL THEN 100
                  WHEN t.staff_id = a.staff_id THEN 60
                  WHEN t.staff_id = a.bather_staff_id THEN 40 END
           OR abs(t.share_cents * 100 - i.tip_cents * t.share_pct) > 50
        """,
    ),
    Invariant(
        "an invoice is paid 5 to 30 minutes after the appointment's end, by a method, or it is pending",
        """
        SELECT i.id, i.status, i.payment_method, i.paid_at, a.end_time
        FROM invoices i JOIN appointments a ON a.id = i.appointment_id
        WHERE i.status NOT IN ('paid', 'pending')
           OR (i.status = 'paid') <> (i.payment_method IS NOT NULL)
           OR (i.status = 'paid') <> (i.paid_at IS NOT NULL)
           OR (i.status = 'paid') <> (i.stripe_payment_intent_id IS NOT NULL)
           OR i.paid_at NOT BETWEEN a.end_time + interval '5 minutes' AND a.end_time + interval '30 minutes'
        """,
    ),
    Invariant(
        "no two invoices share a payment intent",
        """
        SELECT stripe_payment_intent_id, count(*) AS invoices FROM invoices
        WHERE stripe_payment_intent_id IS NOT NULL
        GROUP BY stripe_payment_intent_id
        HAVING count(*) > 1
        """,
    ),
)
