"""The page with a password: whoever has not logged in gets the login page and nothing else."""

import re

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_OPEN = re.compile(
    r"/(login/?|assets/.*|static/.*|svelte/.*|favicon\.ico|manifest\.json|theme\.css|robots\.txt"
    r"|gradio_api/(theme\.css|startup-events/?))?"
)
"""The login page with Gradio's own files, and what Gradio asks itself as it starts."""


class LoginGuard:
    """Middleware that answers 401 to whoever has not logged in, where the page has a password.

    Gradio guards its own addresses one by one; this guards them all, with those that we add.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Guard an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] not in ("http", "websocket") or _may_pass(scope):
            await self._app(scope, receive, send)
            return
        refused = JSONResponse({"error": "Not authenticated"}, status_code=401)
        await refused(scope, receive, send)


def _may_pass(scope: Scope) -> bool:
    gradio = scope["app"]
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if gradio.auth is None or _OPEN.fullmatch(path or "/"):
        return True
    cookies = HTTPConnection(scope).cookies
    names = (f"access-token-{gradio.cookie_id}", f"access-token-unsecure-{gradio.cookie_id}")
    return any(gradio.tokens.get(cookies.get(name)) is not None for name in names)
