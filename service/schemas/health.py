"""The response of a health check."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.schemas.fields import ResponseModel


class Health(ResponseModel):
    """The response of a healthy service; otherwise the response is a problem document."""

    status: Annotated[Literal["ok"], Field(examples=["ok"])]
