"""What stands before every request: whose it is, what it may ask for, and how it is answered.

A browser also sends requests that another site made, with the user's cookies and from the user's
machine. Gradio answers them, so this does not let them through. What is not listed here is closed.
"""

import base64
import hashlib
import ipaddress
import os
import re
import socket
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from gradio.context import LocalContext
from gradio.utils import get_upload_folder
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unlearnlab.data.files import ask_before_naming, size
from unlearnlab.data.reading import MAX_BYTES
from unlearnlab.ui.login import Login

MAX_UPLOAD = MAX_BYTES
"""Largest file that can be uploaded, in bytes: the largest data file."""

Kind = Literal["page", "file", "api", "startup", "json", "upload", "login", "logout"]


@dataclass(frozen=True, slots=True)
class _Route:
    """Addresses that are open, all others are closed."""

    kind: Kind
    methods: tuple[str, ...]
    path: re.Pattern[str]
    content: str = ""
    """Content type that the request must have."""
    most: int = 0
    """Largest body, in bytes."""


_READ, _SEND = ("GET", "HEAD"), ("POST",)
_MIB = 2**20
_FORM = "application/x-www-form-urlencoded"

ROUTES: Sequence[_Route] = (
    _Route("page", _READ, re.compile(r"/(manual/([\w.-]+)?)?")),
    _Route("file", _READ, re.compile(r"/(assets|static)/[^\0]+")),
    _Route("file", _READ, re.compile(r"/(gradio_api/)?theme\.css|/favicon\.ico|/manifest\.json")),
    _Route("file", _READ, re.compile(r"/gradio_api/file=(?!\s*https?:)[^\0]+", re.IGNORECASE)),
    _Route("api", _READ, re.compile(r"/gradio_api/(app_id|queue/data|upload_progress)")),
    _Route("api", _READ, re.compile(r"/gradio_api/heartbeat/\w+")),
    # Asked once by the program itself as it starts; says only whether it was asked before.
    _Route("startup", _READ, re.compile(r"/gradio_api/startup-events")),
    _Route(
        "json",
        _SEND,
        # A form with 10,000 picked rows takes about 1 MB.
        re.compile(r"/gradio_api/(queue/join|run/predict/?|component_server/?|cancel|reset/?)"),
        "application/json",
        8 * _MIB,
    ),
    _Route(
        "upload",
        _SEND,
        re.compile(r"/gradio_api/upload"),
        "multipart/form-data",
        MAX_UPLOAD + _MIB,
    ),
    _Route("login", _SEND, re.compile(r"/login"), _FORM, 8192),
    _Route("logout", _SEND, re.compile(r"/logout"), _FORM, 8192),
)
"""What the page asks for. A test in the browser finds out what is missing here."""

_CLOSED = "default-src 'none'; base-uri 'none'; form-action {forms}; frame-ancestors {frames}"

PAGE_POLICY = (
    "default-src 'none'; "
    # Gradio makes functions of the scripts of our components and events, which is called eval.
    "script-src 'self' 'unsafe-eval'{scripts}; "
    # Gradio and Plotly write style elements and attributes.
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; manifest-src 'self'; "
    "base-uri 'self'; form-action {forms}; frame-ancestors {frames}"
)
"""Content-Security-Policy of the page: scripts of this program only, by address or by digest."""

_INLINE = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)

PASSED, MAY_NAME = "unlearnlab.passed", "unlearnlab.may_name"
"""Keys of a request's scope: its path, as the guard let it through; what paths it may name, if
not all."""

_FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers of a request that came through a proxy."""


class Guard:
    """Stands before one application; see `before`."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        names: Collection[str] = (),
        root_path: str = "",
        login: Login | None = None,
        paths: bool = False,
        folders: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        """Say who may ask.

        Args:
            host: Address that the program listens on.
            names: Further hosts by which browsers reach it, such as that of a proxy.
            root_path: Where a proxy serves the page: a path or a whole address.
            login: Who may come in; everybody if none.
            paths: Whether visitors may name files and folders of this machine, as its owner may.
            folders: Lists the model folders that visitors may use all the same.
        """
        self.login = login
        self._away = urlsplit(root_path)
        self._path = self._away.path.rstrip("/")
        self._listens_to_others = not _is_loopback(host)
        self._names = {name.lower() for name in (host, *names, self._away.hostname or "") if name}
        if self._listens_to_others:
            self._names |= _own_names()
        self._space = bool(os.environ.get("SPACE_ID"))
        if self._space:
            self._names.add(os.environ.get("SPACE_HOST", "").lower())
        self._forms = "'self'" if login else "'none'"
        self._frames = "'self' https://huggingface.co" if self._space else "'none'"
        self._paths = paths
        self._scripts: list[str] = []
        self._folders = folders

    def allow(self, name: str) -> None:
        """Let browsers reach the program by a further host."""
        self._names.add(name.lower())

    def sign(self, script: str) -> None:
        """Let the page run a script that it adds to itself."""
        self._scripts.append(_digest(script.encode()))

    @asynccontextmanager
    async def before(self, app: Any) -> AsyncGenerator[None]:
        """Stand before all that answers in `app`. To be used as its lifespan.

        Gradio puts middleware of its own before that of `app_kwargs`, which would answer first.
        """
        ask_before_naming(_why_not)
        behind = app.middleware_stack

        async def front(scope: Scope, receive: Receive, send: Send) -> None:
            await self._front(behind, scope, receive, send)

        app.middleware_stack = front
        yield

    def inside(self, app: ASGIApp) -> ASGIApp:
        """Return what answers behind Gradio's middleware, where the page is not yet compressed.

        It refuses what did not come through the front, and signs the page's scripts.
        """

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await app(scope, receive, send)
            elif not scope.get(PASSED):
                await _refusal(503, "the guard is not in its place")(scope, receive, send)
            elif scope[PASSED] == "/":
                await app(scope, receive, self._signing(send))
            else:
                await app(scope, receive, send)

        return answer

    async def _front(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        if scope["type"] != "http":  # The page opens no websocket.
            await send({"type": "websocket.close", "code": 1008})
            return
        path = self._inner(scope["path"])
        route = next((one for one in ROUTES if one.path.fullmatch(path)), None)
        sent = self._dressed(route, path, send)
        refused = await self._refused(route, path, scope, receive)
        if refused is not None:
            await refused(scope, receive, sent)
            return
        assert route is not None, "an unknown address is refused"
        taken = [(name, value) for name, value in scope["headers"] if name != b"x-gradio-server"]
        passed = {**scope, "headers": taken, PASSED: path}
        if not self._is_owner(scope):
            passed[MAY_NAME] = self._may_name
        limited = _limited(receive, route.most) if route.most else receive
        await app(passed, limited, sent)

    def _inner(self, path: str) -> str:
        inside = self._path and (path == self._path or path.startswith(f"{self._path}/"))
        return (path.removeprefix(self._path) or "/") if inside else path

    # ---- whether a request may pass

    async def _refused(
        self, route: _Route | None, path: str, scope: Scope, receive: Receive
    ) -> Response | None:
        """Return the answer to a request that may not pass, and to a login; none if it may."""
        headers = Headers(scope=scope)
        if refused := self._wrong_host(headers):
            return refused
        if self._foreign(headers) and not self._is_visit(route, scope, headers):
            return _refusal(
                403,
                "this request was made by another site: if it was not, a proxy hides the page's "
                "address, which --root-path can name",
            )
        if route is not None and route.most and scope["method"] == "POST":
            if route.kind == "login":
                return _wrong_body(route, headers) or await self._log_in(route, scope, receive)
            if route.kind == "logout" and self.login:
                return _wrong_body(route, headers) or self._log_out(scope)
        if refused := await self._logged_out(route, path, scope, headers):
            return refused
        if route is None or (route.kind == "logout" and self.login is None):
            return _refusal(404, "there is no such page")
        if scope["method"] not in route.methods:
            return _refusal(405, f"{scope['method']} is not taken here")
        return _wrong_body(route, headers) if route.most else None

    def _wrong_host(self, headers: Headers) -> Response | None:
        """Refuse hosts by which nobody reaches this program: a site may have given it its name."""
        hosts = headers.getlist("host")
        forwarded = [headers.get("x-forwarded-host", "").partition(",")[0].strip()]
        if len(hosts) != 1:
            return _refusal(400, "name one host")
        for host in (*hosts, *filter(None, forwarded)):
            name = _name(host)
            if not self._is_ours(name):
                said = name if re.fullmatch(r"[\w.:-]{1,253}", name) else "this one"
                return _refusal(
                    403,
                    f"this program is not reached by the host {said}: if it should be, start it "
                    f"with --allow-host and the host's name",
                )
        return None

    def _is_ours(self, name: str) -> bool:
        if name in self._names or name == "localhost" or name.endswith(".localhost"):
            return bool(name)
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # No site can have its name point here and the browser call it by its address.
        return address.is_loopback or self._listens_to_others

    def _foreign(self, headers: Headers) -> bool:
        """Tell whether a browser says that another site made a request.

        Old browsers, and all on plain http beyond this machine, only tell the origin. What is no
        browser tells neither.
        """
        if (site := headers.get("sec-fetch-site")) is not None:
            return site not in ("same-origin", "none")
        if (origin := headers.get("origin")) is None:
            return False
        forwarded = headers.get("x-forwarded-host", "").partition(",")[0]
        here = {_place(host) for host in (headers.get("host", ""), forwarded, self._away.netloc)}
        return _place(origin.partition("://")[2]) not in here - {""}

    def _is_visit(self, route: _Route | None, scope: Scope, headers: Headers) -> bool:
        """Tell whether a user followed a link to a page, which changes nothing."""
        shown = ("document", "iframe") if self._space else ("document",)
        return (
            route is not None
            and route.kind == "page"
            and scope["method"] in route.methods
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") in shown
        )

    # ---- login

    async def _logged_out(
        self, route: _Route | None, path: str, scope: Scope, headers: Headers
    ) -> Response | None:
        """Answer who has not logged in, or comes with a token; none to all others."""
        if self.login is None or (route is not None and route.kind == "startup"):
            return None
        known = self.login.knows(HTTPConnection(scope).cookies.get(self.login.cookie))
        page = route is not None and route.kind == "page" and scope["method"] in _READ
        pairs = scope["query_string"].decode("latin-1").split("&")
        others = "&".join(pair for pair in pairs if not pair.startswith("token="))
        wanted = path[1:] + (f"?{others}" if others else "")
        token = next((unquote(pair[6:]) for pair in pairs if pair.startswith("token=")), "")
        if page and token and self.login.token:
            return await self._entered(scope, path, wanted, "", token, known=known)
        if known:
            return None
        if not page:
            return JSONResponse({"error": "Not authenticated"}, status_code=401)
        # The page itself becomes the login page.
        return self._login_page(path, wanted, "", 200 if path == "/" else 401)

    async def _log_in(self, route: _Route, scope: Scope, receive: Receive) -> Response:
        """Answer the form of the login page."""
        try:
            body = await Request(scope, _limited(receive, route.most)).body()
            told = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=16)
        except (ValueError, HTTPException, ClientDisconnect):
            return _refusal(400, "this is no login")
        user, password, wanted = (
            told.get(key, [""])[0] for key in ("username", "password", "wanted")
        )
        path = "/" + wanted.partition("?")[0]
        if not ROUTES[0].path.fullmatch(path) or re.search(r"[^!-~]", wanted):
            path, wanted = "/", ""
        if self.login is None:
            return _moved("./" + wanted)
        return await self._entered(scope, "/login", wanted, user, password)

    async def _entered(
        self,
        scope: Scope,
        path: str,
        wanted: str,
        user: str,
        password: str,
        *,
        known: bool = False,
    ) -> Response:
        """Move whoever logs in to what they wanted; show the others the login page again."""
        assert self.login is not None, "there is something to log in to"
        moved = _moved(_up(path) + wanted)
        if known:
            return moved
        client = scope["client"] or ("", 0)
        session, refused = await self.login.attempt(client[0], user, password)
        if refused:
            shown = "/" if path == "/login" else path
            answer = self._login_page(shown, wanted, refused, 429 if refused == "busy" else 401)
            if refused == "busy":
                answer.headers["retry-after"] = "4"
            return answer
        moved.headers["set-cookie"] = self._cookie(scope, session)
        return moved

    def _log_out(self, scope: Scope) -> Response:
        """End a session, and move to the login page."""
        assert self.login is not None, "there is something to log out of"
        self.login.forget(HTTPConnection(scope).cookies.get(self.login.cookie))
        moved = _moved("./")
        moved.headers["set-cookie"] = self._cookie(scope, "", "; Max-Age=0")
        return moved

    def _cookie(self, scope: Scope, session: str, age: str = "") -> str:
        assert self.login is not None, "there is something to log in to"
        # A Space is shown in a frame of another site, to which a lax cookie is not sent.
        lax = "SameSite=None; Partitioned" if self._space else "SameSite=Lax"
        secure = "; Secure" if self._space or self._is_https(scope) else ""
        where = quote(self._path, safe="/%") or "/"
        return f"{self.login.cookie}={session}; Path={where}; HttpOnly; {lax}{secure}{age}"

    def _login_page(self, path: str, wanted: str, refused: Any, status: int) -> Response:
        assert self.login is not None, "there is something to log in to"
        return HTMLResponse(self.login.page(_up(path), wanted, refused), status_code=status)

    def _is_https(self, scope: Scope) -> bool:
        forwarded = Headers(scope=scope).get("x-forwarded-proto", "").partition(",")[0].strip()
        return "https" in (scope.get("scheme"), forwarded, self._away.scheme)

    # ---- what a visitor may name

    def _is_owner(self, scope: Scope) -> bool:
        """Tell whether a request comes from this machine, not through a proxy or a tunnel to it."""
        if self._paths:
            return True
        headers = Headers(scope=scope)
        client = scope["client"] or ("", 0)
        if self._path or self._away.netloc or any(name in headers for name in _FORWARDING):
            return False
        return _is_loopback(client[0]) and _is_loopback(_name(headers["host"]))

    def _may_name(self, path: str) -> bool:
        """Tell whether a visitor may name a path: an uploaded file, or what a run has used."""
        if path in self._folders():
            return True
        try:
            named = Path(path).resolve()
            return named.is_file() and named.is_relative_to(Path(get_upload_folder()).resolve())
        except (OSError, ValueError, RuntimeError):
            return False

    # ---- how it is answered

    def _dressed(self, route: _Route | None, path: str, send: Send) -> Send:
        """Add the headers that tell browsers what an answer may do, and take away Gradio's CORS."""
        policy = _CLOSED.format(forms=self._forms, frames=self._frames)
        if route is None or route.kind != "page":
            policy += "; sandbox"  # A file that is opened runs nothing.
        else:
            policy += "; img-src 'self'; style-src 'unsafe-inline'"
        headers = {
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
        }
        if not self._space:
            headers["x-frame-options"] = "DENY"

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(raw=list(message.get("headers", ())))
                for name in [key for key in found if key.startswith("access-control-")]:
                    del found[name]
                for name, value in headers.items():
                    # The signed policy of the page came from `inside`.
                    if not (name == "content-security-policy" and path == "/" and name in found):
                        found[name] = value
                message = {**message, "headers": found.raw}
            await send(message)

        return sent

    def _signing(self, send: Send) -> Send:
        """Let the page run the scripts that it was written with, and no other."""
        start: Message | None = None
        parts: list[bytes] = []

        async def sent(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                found = Headers(raw=list(message.get("headers", ())))
                if found.get("content-type", "").startswith("text/html"):
                    start = message
                    return
            if start is None or message["type"] != "http.response.body":
                await send(message)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body"):
                return
            body = b"".join(parts)
            digests = [_digest(text) for text in _INLINE.findall(body)] + self._scripts
            scripts = "".join(f" 'sha256-{digest}'" for digest in dict.fromkeys(digests))
            headers = MutableHeaders(raw=list(start.get("headers", ())))
            headers["content-security-policy"] = PAGE_POLICY.format(
                scripts=scripts, forms=self._forms, frames=self._frames
            )
            await send({**start, "headers": headers.raw})
            await send({"type": "http.response.body", "body": body})

        return sent


def _digest(script: bytes) -> str:
    return base64.b64encode(hashlib.sha256(script).digest()).decode()


def _refusal(status: int, told: str, kind: Kind = "page") -> Response:
    if kind == "json":  # As the page's scripts read it.
        return JSONResponse({"error": told, "detail": told}, status_code=status)
    return PlainTextResponse(f"{told}\n", status_code=status)


def _moved(where: str) -> Response:
    return Response(status_code=303, headers={"location": where, "cache-control": "no-store"})


def _up(path: str) -> str:
    """Return the relative address of the page's root from one of its paths."""
    return "../" * (path.count("/") - 1) or "./"


def _wrong_body(route: _Route, headers: Headers) -> Response | None:
    """Refuse a body of another type, which a form of another site could send, or one too large."""
    content = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content != route.content:
        return _refusal(415, f"send {route.content}", route.kind)
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > route.most:
        told = f"this is too large: {size(route.most)} is the most"
        return _refusal(413, told, route.kind)
    return None


def _limited(receive: Receive, most: int) -> Receive:
    """Stop reading a body that is larger than it says."""
    taken = 0

    async def received() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise HTTPException(413, f"this is too large: {size(most)} is the most")
        return message

    return received


def _name(host: str) -> str:
    """Return the name in a Host header, in small letters, without port; empty if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        plain = parts.username is None and not (parts.path or parts.query or parts.fragment)
        return (parts.hostname or "").rstrip(".") if plain else ""
    except ValueError:
        return ""


def _place(host: str) -> str:
    """Return a host with its port, as all headers write it: a usual port is left out."""
    return host.strip().lower().removesuffix(":80").removesuffix(":443")


def _is_loopback(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _own_names() -> set[str]:
    """Return the names by which this machine's network may know it."""
    whole = socket.gethostname().lower()
    short = whole.partition(".")[0]
    return {whole, short, f"{short}.local"} - {""}


def _why_not(path: str) -> str:
    """Say why whoever the present request is of may not name a path; empty if they may."""
    asked = LocalContext.request.get(None)
    scope: Mapping[str, Any] = getattr(getattr(asked, "request", asked), "scope", {})
    allowed = scope.get(MAY_NAME)
    if allowed is None or allowed(path):
        return ""
    return (
        "visitors may not name files and folders of the machine that runs this program: upload "
        "the file, or have the program started with --allow-paths"
    )
