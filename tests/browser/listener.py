"""A stream that a page of the service opens by its own script, and what the browser makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from service.domain.events.event import EVENT_TYPES
from tests.support.wait import until

if TYPE_CHECKING:  # it is an extra of its own
    from playwright.async_api import Page

_TICKET: Final = """async ([login, password]) => {
    const post = async (path, init) => {
        const answer = await fetch(path, {method: "POST", ...init});
        if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
        return answer.json();
    };
    const {access_token} = await post("/v1/auth/login", {
        headers: {"Content-Type": "application/json"}, body: JSON.stringify({login, password}),
    });
    return (await post("/v1/auth/ticket", {headers: {Authorization: `Bearer ${access_token}`}})).ticket;
}"""

# `message` is what an event without a name would be dispatched as. An error after which the browser comes back is its
# own affair; after one that leaves the source closed it never does.
_EVENT_SOURCE: Final = """([url, types]) => {
    const source = window.stream = new EventSource(url);
    for (const type of [...types, "message"])
        source.addEventListener(type, event => window.hear(type, event.lastEventId, JSON.parse(event.data)));
    source.onerror = () => source.readyState === EventSource.CLOSED && window.hear("given up", "", null);
}"""

_WEBSOCKET: Final = """url => {
    const socket = window.stream = new WebSocket(url, "roster.v1");
    socket.onopen = () => window.hear("open", "", socket.protocol);
    socket.onmessage = event => {
        const frame = JSON.parse(event.data);
        window.hear(frame.type, "", frame);
    };
    socket.onclose = ({code, reason, wasClean}) => window.hear("close", "", {code, reason, wasClean});
}"""


@dataclass(frozen=True, slots=True)
class Heard:
    """One event that the page's script was handed.

    Attributes:
        id: the `lastEventId` of an EventSource then; empty in a WebSocket.
    """

    event: str
    id: str
    data: Any


class Listener:
    """Records the messages of a page's script, in order. One per tab."""

    def __init__(self, page: Page) -> None:
        self.heard: list[Heard] = []
        self._page = page
        self._next = 0

    @classmethod
    async def event_source(cls, page: Page, url: str) -> Listener:
        listener = await cls._installed(page)
        await page.evaluate(_EVENT_SOURCE, [url, ["hello", *EVENT_TYPES, "reset", "closing"]])
        return listener

    @classmethod
    async def websocket(cls, page: Page, url: str) -> Listener:
        listener = await cls._installed(page)
        await page.evaluate(_WEBSOCKET, url)
        return listener

    async def send(self, frame: dict[str, Any]) -> None:
        """Have the page's WebSocket send a frame."""
        await self._page.evaluate("frame => window.stream.send(JSON.stringify(frame))", frame)

    async def next(self, timeout_s: float = 10.0) -> Heard:
        """The next messages; the longest reconnect time of a browser is 4 seconds."""
        await until(lambda: len(self.heard) > self._next, timeout_s)
        self._next += 1
        return self.heard[self._next - 1]

    async def expect(self, event: str) -> Heard:
        """The next message, which must be this one."""
        heard = await self.next()
        assert heard.event == event, f"{heard} instead of {event}"
        return heard

    async def until(self, event: str) -> Heard:
        """The next of these, whatever is heard before it."""
        while (heard := await self.next()).event != event:
            pass
        return heard

    @classmethod
    async def _installed(cls, page: Page) -> Listener:
        listener = cls(page)
        await page.expose_function("hear", lambda *heard: listener.heard.append(Heard(*heard)))
        return listener


async def ticket(page: Page, login: str, password: str) -> str:
    """Log in and get a ticket as a page does, by fetch; the browser keeps the cookie that comes with it."""
    text: str = await page.evaluate(_TICKET, [login, password])
    return text
