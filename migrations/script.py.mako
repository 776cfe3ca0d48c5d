"""${message}"""

from __future__ import annotations

% if "sa." in (upgrades or "") + (downgrades or ""):
import sqlalchemy as sa
% endif
from alembic import op
% if imports:
${imports}
% endif

revision = "${up_revision}"
down_revision = ${f'"{down_revision}"' if down_revision else None}
% if not upgrades:

UP = """
"""
DOWN = """
"""
% endif


def upgrade() -> None:
    ${upgrades or "op.execute(UP)"}


def downgrade() -> None:
    ${downgrades or "op.execute(DOWN)"}
