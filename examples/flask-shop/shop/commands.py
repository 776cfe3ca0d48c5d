"""Commands of the application: flask --app shop seed."""

import json
from pathlib import Path

import click
from flask.cli import with_appcontext
from werkzeug.security import generate_password_hash

from shop.models import Customer, Order, Product, db


@click.command()
@with_appcontext
def seed() -> None:
    """Fill an empty database with the products of a demonstration, two customers and their orders."""
    rows = json.loads((Path(__file__).parent / "products.json").read_text("utf-8"))
    products = [Product(**row) for row in rows]
    for name in ("ada", "grace"):
        customer = Customer(email=f"{name}@example.com", password_hash=generate_password_hash(f"{name}'s password"))
        customer.orders = [Order(product=product) for product in products]
        db.session.add(customer)
    db.session.commit()
