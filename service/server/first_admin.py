"""Creates the first administrator, who can create other users."""

from __future__ import annotations

import logging
import secrets

from service.domain.auth.password_policy import reject_common
from service.domain.errors import AlreadyExists, Invalid
from service.domain.users import accounts
from service.domain.users.accounts import NewUser
from service.http.services import Services

log = logging.getLogger("roster")


async def create_first_admin(services: Services) -> None:
    """Create the administrator of the settings unless one exists; set `admin_state` and `generated_password`.

    The service starts without an administrator if another user has that username or e-mail address. Raises `Unavailable`.
    """
    settings = services.settings
    configured = settings.admin_password.get_secret_value()
    password = configured or secrets.token_urlsafe(12)
    admin = NewUser(settings.admin_username, settings.admin_email, role="admin", password=password)
    try:
        is_created = await accounts.ensure_admin(services.store, services.hasher, services.clock, admin)
    except AlreadyExists as error:
        is_created = False
        services.admin_state = "missing"
        log.error("no administrator exists; set another ROSTER_ADMIN_USERNAME or ROSTER_ADMIN_EMAIL; %s", error)
    else:
        services.admin_state = "created" if is_created else "found"
    if is_created and _is_common(admin):
        log.warning("the administrator's password is a common one; change it")
    # A generated password is shown once; a configured one is known already.
    services.generated_password = password if is_created and not configured else None


def _is_common(admin: NewUser) -> bool:
    try:
        reject_common(admin.password or "", admin.username, admin.email)
    except Invalid:
        return True
    return False
