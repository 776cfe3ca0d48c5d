"""Customers, products and orders."""

from decimal import Decimal

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, Numeric
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Base of the models."""


db = SQLAlchemy(model_class=Base)


class Customer(db.Model):
    """Somebody who may order."""

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")


class Product(db.Model):
    """Something that can be ordered."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    price: Mapped[Decimal] = mapped_column(Numeric(8, 2))


class Order(db.Model):
    """An order of one product."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"), index=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"))
    customer: Mapped[Customer] = relationship(back_populates="orders")
    product: Mapped[Product] = relationship()
