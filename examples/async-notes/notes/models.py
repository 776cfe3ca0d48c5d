"""Two tables and an enum."""

import datetime as dt
import enum

from sqlalchemy import DateTime, ForeignKey, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Base of the models."""


class Colour(enum.Enum):
    """Colours of a notebook's cover."""

    red = "red"
    blue = "blue"


class Notebook(Base):
    """A notebook."""

    __tablename__ = "notebooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(unique=True)
    colour: Mapped[Colour]
    notes: Mapped[list["Note"]] = relationship()


class Note(Base):
    """A note in a notebook."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    notebook_id: Mapped[int] = mapped_column(ForeignKey("notebooks.id"))
    text: Mapped[str]
    written_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
