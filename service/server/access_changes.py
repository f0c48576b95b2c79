"""Ends cached access and open streams when an event, or a failure, takes away what they rest on."""

from __future__ import annotations

from service.domain.events.event import Event
from service.domain.ports import Store
from service.realtime import close_reasons
from service.realtime.connection_registry import ConnectionRegistry
from service.realtime.hub import Hub
from service.realtime.rooms.rooms import AnyRooms
from service.security.authenticator import Authenticator
from service.security.keyring import Keyring


class AccessChanges:
    """Applies changes of access to cached principals, streams and the names in rooms.

    Args:
        spread_s: seconds over which streams that read rooms are closed when rooms fail.
    """

    def __init__(
        self, authenticator: Authenticator, connections: ConnectionRegistry, rooms: AnyRooms, spread_s: float
    ) -> None:
        self._authenticator = authenticator
        self._connections = connections
        self._rooms = rooms
        self._spread_s = spread_s

    def listen(self, store: Store, hub: Hub, keyring: Keyring) -> None:
        """Register with everything that reports a change of access."""
        # A response about a revocation waits for no log reader: the session is revoked in this process at commit.
        store.add_commit_listener(self._authenticator.invalidate)
        hub.add_principal_listener(self._apply)
        hub.add_failure_listener(self._on_feed_failure)
        keyring.add_loss_listener(self._on_key_loss)
        self._rooms.add_failure_listener(self._on_rooms_failure)

    def _apply(self, event: Event) -> None:
        self._authenticator.invalidate((event,))
        self._connections.follow(event)
        if "username" in event.changed and event.user is not None:
            self._rooms.rename(event.subject, event.user.username)

    def _on_feed_failure(self) -> None:
        self._authenticator.clear_cache()
        self._connections.end_all(close_reasons.FEED_FAILED)

    def _on_key_loss(self) -> None:
        self._authenticator.clear_cache()
        self._connections.end_all(close_reasons.EXPIRED)

    def _on_rooms_failure(self) -> None:
        self._connections.end_room_streams(self._spread_s)
