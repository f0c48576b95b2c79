"""Clients cannot tell rooms in Redis from rooms in memory: tests of the latter, run again on Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.http.services import SERVICES
from tests.http.test_idempotency import (  # noqa: F401  # collected here too, with the fixture of this module
    test_malformed_key_sends_nothing,
    test_message_sent_twice_is_heard_once,
)
from tests.realtime.test_rooms import (  # noqa: F401  # collected here too, with the fixture of this module
    test_admin_rooms_answer_members_like_absent_ones,
    test_cut_off_member_misses_nothing_and_hears_nothing_twice,
    test_joining_twice_is_harmless,
    test_joins_and_leaves_are_announced,
    test_leaving_takes_nothing_that_was_sent_before,
    test_lost_position_of_a_room_is_a_reset,
    test_members_are_listed,
    test_members_are_shown_by_their_present_names,
    test_messages_of_all_senders_come_in_one_order,
    test_only_members_receive_a_message,
    test_renamed_member_speaks_by_its_new_name,
)
from tests.support.redis import RedisServer
from tests.support.server import Server, serve
from tests.support.wait import until
from tests.views.test_rooms import (  # noqa: F401  # collected here too, with the fixture of this module
    test_history_is_read_in_pages,
    test_many_readers_of_a_room_see_one_order,
    test_members_are_users_with_a_websocket_in_the_room,
    test_message_sent_over_http_is_the_frame_that_members_get,
    test_reader_goes_on_where_it_was,
    test_rooms_are_listed_by_name_in_pages,
    test_stream_of_a_room_ends_after_its_limit,
    test_stream_of_a_room_ends_with_the_session,
    test_who_sends_need_not_be_in_the_room,
)


@pytest.fixture
async def server(valkey: RedisServer) -> AsyncIterator[Server]:
    """A running service whose rooms are in Valkey."""
    valkey.command("FLUSHALL")
    async with serve(redis_url=valkey.url) as running:
        rooms = running.app[SERVICES].rooms
        await until(lambda: rooms.is_ready)
        yield running
