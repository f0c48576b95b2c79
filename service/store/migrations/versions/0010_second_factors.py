"""Second factors, and the codes that stand in for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_id = sa.Uuid().with_variant(sa.String(36), "sqlite")
_moment = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")


def upgrade() -> None:
    op.add_column("users", sa.Column("totp_secret", sa.String(32)))
    op.add_column("users", sa.Column("totp_since", _moment))
    op.add_column("users", sa.Column("totp_step", sa.Integer()))
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", _id, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "digest", name=op.f("pk_recovery_codes")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_recovery_codes_user_id"), ondelete="CASCADE"),
    )


def downgrade() -> None:
    op.drop_table("recovery_codes")
    for column in ("totp_step", "totp_since", "totp_secret"):
        op.drop_column("users", column)
