"""A shop, in little: an application factory as Flask's documentation has it."""

import tomllib

from flask import Flask
from flask_migrate import Migrate

from shop.commands import seed
from shop.models import Product, db


def create_app() -> Flask:
    """Return the application, with the settings of config.toml and of variables that begin with FLASK_."""
    app = Flask(__name__)
    app.config.from_file("../config.toml", load=tomllib.load, text=False)
    app.config.from_prefixed_env()
    db.init_app(app)
    Migrate(app, db)
    app.cli.add_command(seed)

    @app.get("/products")
    def products() -> list[dict[str, str]]:
        found = db.session.scalars(db.select(Product).order_by(Product.name))
        return [{"name": product.name, "price": str(product.price)} for product in found]

    return app
