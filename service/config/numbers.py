"""Numbers of settings, each with both bounds: a value over the upper one starts well and breaks requests later."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

# asyncio, TCP options in milliseconds and 32-bit counters all take a day. Nothing that a client waits for takes longer.
Wait = Annotated[float, Field(gt=0, le=86_400)]
WaitOrNone = Annotated[float, Field(ge=0, le=86_400)]
# A hundred years from now is a moment that Python and both databases can represent.
Lifetime = Annotated[int, Field(gt=0, le=3_153_600_000)]
LifetimeOrNone = Annotated[int, Field(ge=0, le=3_153_600_000)]
Retention = Annotated[float, Field(gt=0, le=3_153_600_000)]
RetentionOrNone = Annotated[float, Field(ge=0, le=3_153_600_000)]

Count = Annotated[int, Field(gt=0, le=1_000_000)]
CountOrNone = Annotated[int, Field(ge=0, le=1_000_000)]
Threads = Annotated[int, Field(ge=0, le=1_024)]
Processes = Annotated[int, Field(gt=0, le=1_024)]
Rows = Annotated[int, Field(gt=0, le=1_000_000_000)]
Retries = Annotated[int, Field(ge=0, le=100)]

# Of one message, which is held in memory whole.
MessageBytes = Annotated[int, Field(gt=0, le=67_108_864)]
# Of one body, which is held in memory whole.
BodyBytes = Annotated[int, Field(gt=0, le=1_073_741_824)]
# Of all memory that something may take.
MemoryBytes = Annotated[int, Field(gt=0, le=1_099_511_627_776)]
