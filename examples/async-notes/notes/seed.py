"""Fill an empty database with the notes of a demonstration: python -m notes.seed."""

import asyncio
import csv
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from notes.models import Colour, Note, Notebook
from notes.settings import url


async def main() -> None:
    """Insert the notebooks and the notes in notes.csv."""
    engine = create_async_engine(url())
    async with AsyncSession(engine) as session:
        notebooks = {colour.name: Notebook(title=f"The {colour.name} one", colour=colour) for colour in Colour}
        with (Path(__file__).parent / "notes.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                notebooks[row["notebook"]].notes.append(Note(text=row["text"]))
        session.add_all(notebooks.values())
        await session.commit()
    await engine.dispose()


asyncio.run(main())
