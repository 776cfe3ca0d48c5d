"""Who may sign in, what staff looked at, and the salon's own settings."""

import datetime as dt
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, false, true
from sqlalchemy.orm import Mapped, mapped_column

from groombook.models.base import Base, BigInt, ImpersonationSessionStatus, Json, Key, Stamp, Zoned, ZonedStamp


class User(Base):
    """Somebody who can sign in."""

    __tablename__ = "user"
    __table_args__ = (UniqueConstraint("email"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    email_verified: Mapped[bool] = mapped_column(server_default=false())
    image: Mapped[str | None]
    created_at: Mapped[ZonedStamp]
    updated_at: Mapped[ZonedStamp]


class Session(Base):
    """A signed-in browser."""

    __tablename__ = "session"
    __table_args__ = (UniqueConstraint("token"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[Zoned]
    token: Mapped[str]
    ip_address: Mapped[str | None]
    user_agent: Mapped[str | None]
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    created_at: Mapped[ZonedStamp]
    updated_at: Mapped[ZonedStamp]


class Account(Base):
    """A user's account at an identity provider, or with a password here."""

    __tablename__ = "account"

    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str]
    provider_id: Mapped[str]
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    access_token: Mapped[str | None]
    refresh_token: Mapped[str | None]
    id_token: Mapped[str | None]
    access_token_expires_at: Mapped[Zoned | None]
    refresh_token_expires_at: Mapped[Zoned | None]
    scope: Mapped[str | None]
    password: Mapped[str | None]
    created_at: Mapped[ZonedStamp]
    updated_at: Mapped[ZonedStamp]


class Verification(Base):
    """A one-time value sent to prove an address."""

    __tablename__ = "verification"

    id: Mapped[str] = mapped_column(primary_key=True)
    identifier: Mapped[str]
    value: Mapped[str]
    expires_at: Mapped[Zoned]
    created_at: Mapped[ZonedStamp]
    updated_at: Mapped[ZonedStamp]


class AuthProviderConfig(Base):
    """An identity provider that staff may sign in with."""

    __tablename__ = "auth_provider_config"
    __table_args__ = (UniqueConstraint("provider_id", name="auth_provider_config_provider_id_unique"),)

    id: Mapped[Key]
    provider_id: Mapped[str]
    display_name: Mapped[str]
    issuer_url: Mapped[str]
    internal_base_url: Mapped[str | None]
    client_id: Mapped[str]
    client_secret: Mapped[str]
    scopes: Mapped[str] = mapped_column(server_default="openid profile email")
    enabled: Mapped[bool] = mapped_column(server_default=true())
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]


class ImpersonationSession(Base):
    """A member of staff looking at the portal as a client sees it."""

    __tablename__ = "impersonation_sessions"
    __table_args__ = (
        Index("impersonation_sessions_staff_id_status_idx", "staff_id", "status"),
        Index("impersonation_sessions_client_id_idx", "client_id"),
    )

    id: Mapped[Key]
    staff_id: Mapped[UUID] = mapped_column(
        ForeignKey("staff.id", ondelete="RESTRICT", name="impersonation_sessions_staff_id_staff_id_fk")
    )
    client_id: Mapped[UUID] = mapped_column(
        ForeignKey("clients.id", ondelete="RESTRICT", name="impersonation_sessions_client_id_clients_id_fk")
    )
    reason: Mapped[str | None]
    status: Mapped[ImpersonationSessionStatus] = mapped_column(server_default="active")
    started_at: Mapped[Stamp]
    ended_at: Mapped[dt.datetime | None]
    expires_at: Mapped[dt.datetime]
    created_at: Mapped[Stamp]


class ImpersonationAuditLog(Base):
    """What was looked at in such a session."""

    __tablename__ = "impersonation_audit_logs"
    __table_args__ = (Index("impersonation_audit_logs_session_id_idx", "session_id"),)

    id: Mapped[Key]
    session_id: Mapped[UUID] = mapped_column(
        ForeignKey(
            "impersonation_sessions.id",
            ondelete="CASCADE",
            name="impersonation_audit_logs_session_id_impersonation_sessions_id_f",
        )
    )
    action: Mapped[str]
    page_visited: Mapped[str | None]
    details: Mapped[Json | None] = mapped_column("metadata")
    created_at: Mapped[Stamp]


class BusinessSettings(Base):
    """The salon's name, logo and colours."""

    __tablename__ = "business_settings"

    id: Mapped[Key]
    business_name: Mapped[str] = mapped_column(server_default="GroomBook")
    logo_base64: Mapped[str | None]
    logo_mime_type: Mapped[str | None]
    primary_color: Mapped[str] = mapped_column(server_default="#4f8a6f")
    accent_color: Mapped[str] = mapped_column(server_default="#8b7355")
    created_at: Mapped[Stamp]
    updated_at: Mapped[Stamp]
    logo_key: Mapped[str | None]


class RateLimit(Base):
    """Requests counted under a key."""

    __tablename__ = "rate_limit"

    key: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    last_request: Mapped[BigInt]
