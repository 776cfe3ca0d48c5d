"""A shop, as Flask-SQLAlchemy's and Flask-Migrate's documentation have it."""

import enum
import os

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import URL

db = SQLAlchemy()
migrate = Migrate()


class State(enum.Enum):
    """What became of an order."""

    open = 1
    paid = 2


class Customer(db.Model):
    """A customer."""

    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(80), nullable=False, unique=True)


class Order(db.Model):
    """An order of a customer."""

    __tablename__ = "orders"
    id = db.Column(db.Integer, primary_key=True)
    customer_id = db.Column(db.ForeignKey("customer.id"), nullable=False, index=True)
    state = db.Column(db.Enum(State), nullable=False, server_default="open")
    notes = db.Column(db.JSON)


def create_app() -> Flask:
    """Return the application; its database is in variables of its own."""
    app = Flask(__name__)
    parts = {name: os.environ[f"SHOP_DB_{name.upper()}"] for name in ("host", "port", "user", "password", "name")}
    app.config["SQLALCHEMY_DATABASE_URI"] = URL.create(
        "postgresql+psycopg2", parts["user"], parts["password"], parts["host"], int(parts["port"]), parts["name"]
    )
    db.init_app(app)
    migrate.init_app(app, db)

    @app.cli.command("seed")
    def seed() -> None:
        for name in ("ada", "grace"):
            customer = Customer(name=name)
            db.session.add(customer)
            db.session.flush()
            db.session.add_all(Order(customer_id=customer.id, state=state, notes={"by": name}) for state in State)
        db.session.commit()

    return app
