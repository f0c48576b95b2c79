"""The agreement on permessage-deflate (RFC 7692, 7.1): which offer is accepted, and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LARGEST_WINDOW: Final = 15  # bits
_SMALLEST_WINDOW: Final = 9  # zlib cannot compress with a window of 8 bits
_BITS: Final = {str(bits): bits for bits in range(8, 16)}
_NAME: Final = "permessage-deflate"


@dataclass(frozen=True, slots=True)
class Agreement:
    """An accepted offer.

    Attributes:
        window: bits of the window with which the server compresses.
        no_takeover: whether the server compresses each message by itself.
        header: value of `Sec-WebSocket-Extensions` in the answer.
    """

    window: int
    no_takeover: bool
    header: str


def accept_offer(offers: str) -> Agreement | None:
    """The agreement on the first offer that can be kept; None where there is none.

    An offer with a parameter that is unknown, stands twice or has a wrong value is declined. A `server_max_window_bits`
    that was asked for stands in the answer, whatever its value: without it the client has to fail (7.1.2.1).
    """
    for offer in offers.split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name == _NAME and (agreement := _agree(parameters)) is not None:
            return agreement
    return None


def _agree(parameters: list[str]) -> Agreement | None:
    window, names = LARGEST_WINDOW, set[str]()
    answer = [_NAME]
    for parameter in parameters:
        name, has_value, quoted = (part.strip() for part in parameter.partition("="))
        bits = _BITS.get(quoted[1:-1] if len(quoted) > 1 and quoted[0] == quoted[-1] == '"' else quoted)
        if name in names:
            return None
        names.add(name)
        match name:
            case "server_max_window_bits" if bits is not None and bits >= _SMALLEST_WINDOW:
                window = bits
                answer.append(f"server_max_window_bits={bits}")
            case "client_max_window_bits" if bits is not None or not has_value:
                pass  # the largest window inflates what any smaller one has compressed
            case "server_no_context_takeover" if not has_value:
                answer.append(name)
            case "client_no_context_takeover" if not has_value:
                pass
            case _:
                return None
    return Agreement(window, "server_no_context_takeover" in names, "; ".join(answer))
