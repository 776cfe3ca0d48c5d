"""The shop on a seeded database, the one that FLASK_SQLALCHEMY_DATABASE_URI names."""

from shop import create_app
from shop.models import Customer, db
from werkzeug.security import check_password_hash


def test_the_products_are_listed() -> None:
    listed = create_app().test_client().get("/products").json
    assert {"name": "Teapot", "price": "24.50"} in listed


def test_the_customers_can_log_in_and_have_ordered() -> None:
    with create_app().app_context():
        ada = db.session.scalars(db.select(Customer).filter_by(email="ada@example.com")).one()
        assert check_password_hash(ada.password_hash, "ada's password")
        assert "Teapot" in {order.product.name for order in ada.orders}
