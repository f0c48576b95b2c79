"""An HTTP client that is usable alone, for any API."""

from roster_client.http.client import ApiClient
from roster_client.http.response import Response
from roster_client.http.retries import RetryBudget, RetryPolicy

__all__ = ["ApiClient", "Response", "RetryBudget", "RetryPolicy"]
