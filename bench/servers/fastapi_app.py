"""The same request in FastAPI on uvicorn, written as FastAPI's own guide does. Argument: port; stdin: `World` as JSON.

A bearer token (HS256, with exp, iss and aud) is checked on every request, an unknown or foreign user is 404, the answer
goes through a response model and has an ETag, uvicorn writes its access log. It has no metrics, limits, request ids,
revocation or problem documents.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel


class User(BaseModel):
    id: UUID
    username: str
    email: str
    name: str
    age: int | None
    role: Literal["member", "admin"]
    active: bool
    created_at: datetime
    updated_at: datetime
    version: int


class World(BaseModel):
    """The signing key and the claims of the load's tokens, and the only user."""

    secret: str
    issuer: str
    audience: str
    epoch: str
    user: User


app = FastAPI()
users: dict[UUID, User] = {}


async def signed_in(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> User:
    try:
        claims = jwt.decode(
            credentials.credentials,
            world.secret,
            algorithms=["HS256"],
            audience=world.audience,
            issuer=world.issuer,
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )
        return users[UUID(claims["sub"])]
    except (jwt.InvalidTokenError, ValueError, KeyError):
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}) from None


@app.get("/v1/users/{user_id}")
async def read_user(user_id: UUID, caller: Annotated[User, Depends(signed_in)], response: Response) -> User:
    user = users.get(user_id)
    if user is None or (caller.role != "admin" and caller.id != user.id):
        raise HTTPException(404)
    response.headers["ETag"] = f'"{world.epoch}-{user.version}"'
    response.headers["Cache-Control"] = "private, no-cache"
    return user


if __name__ == "__main__":
    world = World.model_validate_json(sys.stdin.read())
    users[world.user.id] = world.user
    # Workers named: else WEB_CONCURRENCY decides.
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", workers=1)
