"""The notebooks of a seeded database, the one that NOTES_DB_HOST and its like name."""

import asyncio

from notes.models import Colour, Notebook
from notes.settings import url
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import selectinload


async def texts(colour: Colour) -> list[str]:
    engine = create_async_engine(url())
    async with AsyncSession(engine) as session:
        query = select(Notebook).where(Notebook.colour == colour).options(selectinload(Notebook.notes))
        notebook = (await session.scalars(query)).one()
    await engine.dispose()
    return [note.text for note in notebook.notes]


def test_a_notebook_has_its_notes() -> None:
    assert "Sharpen them, too" in asyncio.run(texts(Colour.red))
