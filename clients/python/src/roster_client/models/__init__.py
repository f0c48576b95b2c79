"""The values of the API, as frozen dataclasses."""

from roster_client.models.account import (
    IssuedTicket,
    Session,
    SessionTokens,
    Token,
    TokenMade,
    TotpSecret,
    TotpStatus,
)
from roster_client.models.aggregate import Aggregate
from roster_client.models.decode import Model
from roster_client.models.events import Entry, Event
from roster_client.models.rooms import Member, Message, RoomSummary, Sender
from roster_client.models.users import Role, User, UserChanges

__all__ = [
    "Aggregate",
    "Entry",
    "Event",
    "IssuedTicket",
    "Member",
    "Message",
    "Model",
    "Role",
    "RoomSummary",
    "Sender",
    "Session",
    "SessionTokens",
    "Token",
    "TokenMade",
    "TotpSecret",
    "TotpStatus",
    "User",
    "UserChanges",
]
