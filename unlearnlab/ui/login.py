"""Who may come in: whoever has the printed link, or knows the password."""

import asyncio
import hmac
import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from unlearnlab.data.files import ASSETS
from unlearnlab.ui.kit.html import render
from unlearnlab.views.colours import TOKENS

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 4.0
"""Wait after the first wrong login of an address, in seconds; it doubles up to the longest."""

WAITING = 16
"""Logins that may wait at once, of all addresses."""

ADDRESSES = 4096
"""Addresses whose wrong logins are counted; the oldest are forgotten beyond that."""

Refusal = Literal["", "wrong", "busy"]
"""Why nobody was let in: wrong password or token, or too many logins at once."""

TOLD: dict[Refusal, str] = {
    "": "",
    "wrong": "That is wrong. Each further try waits longer for its answer.",
    "busy": "Another login of this address is still waiting for its answer: try again then.",
}


def fresh_token() -> str:
    """Return a random token of 256 bits, for the link that the program prints."""
    return secrets.token_urlsafe(32)


@dataclass
class Login:
    """One token, or one user with a password, and who has logged in since the program started."""

    token: str = ""
    """Opens the page as `?token=`; empty where a password does."""
    user: str = ""
    password: str = ""
    tell: Callable[[str], object] = field(default=lambda _: None)
    """Gets a line at the 1st, 10th, 100th … wrong login of an address."""
    first_wait_s: float = FIRST_WAIT_S
    cookie: str = field(default_factory=lambda: f"unlearnlab-{secrets.token_hex(8)}")
    """Name of the cookie: cookies do not know ports, so each program has its own."""
    _single: set[str] = field(default_factory=set[str])
    """Tokens that let somebody in once."""
    _sessions: set[str] = field(default_factory=set[str])
    _wrong: dict[str, int] = field(default_factory=dict[str, int])
    """Wrong logins since the last right one, by address."""
    _waiting: set[str] = field(default_factory=set[str])

    def single_use(self) -> str:
        """Return a token that opens the page once: others may read an address that is opened."""
        self._single.add(token := fresh_token())
        return token

    def knows(self, session: str | None) -> bool:
        """Tell whether a cookie's value is of somebody who has logged in."""
        return session in self._sessions

    def forget(self, session: str | None) -> None:
        """End a session, if there is one of this value."""
        self._sessions.discard(session or "")

    async def attempt(self, address: str, user: str, password: str) -> tuple[str, Refusal]:
        """Check a login, later and later after wrong ones.

        Args:
            address: Where it comes from. One login of an address is checked at a time, so that
                many at once are no faster.
            user: Name; of no importance where there is a token.
            password: The password, or the token.

        Returns:
            Value of the new session's cookie, empty if it was refused, and why it was.
        """
        who = _network(address)
        if who in self._waiting or len(self._waiting) >= WAITING:
            return "", "busy"
        self._waiting.add(who)
        try:
            if wrong := self._wrong.get(who, 0):
                await asyncio.sleep(min(LONGEST_WAIT_S, self.first_wait_s * 2 ** min(wrong - 1, 9)))
            if self._matches(user, password):
                self._wrong.pop(who, None)
                self._sessions.add(session := fresh_token())
                return session, ""
            self._count(who, wrong + 1)
            return "", "wrong"
        finally:
            self._waiting.discard(who)

    def _matches(self, user: str, password: str) -> bool:
        if self.token:
            if used := next((one for one in self._single if _same(password, one)), ""):
                self._single.discard(used)
            return bool(used) or _same(password, self.token)
        return bool(_same(user.strip(), self.user) & _same(password, self.password))

    def _count(self, who: str, wrong: int) -> None:
        self._wrong.pop(who, None)  # So that the newest are last.
        self._wrong[who] = wrong
        if len(self._wrong) > ADDRESSES:
            self._wrong.pop(next(iter(self._wrong)))
        if set(str(wrong)[1:]) <= {"0"} and str(wrong)[0] == "1":
            self.tell(f"wrong login from {who}: {wrong} so far")

    def page(self, up: str, wanted: str, refused: Refusal = "") -> str:
        """Render the page that asks for the login. HTML.

        Args:
            up: Relative address of the page's root, such as `../`.
            wanted: What to open then, relative to the page's root.
            refused: Why the last login was refused.
        """
        style = TOKENS.read_text(encoding="utf-8")
        style += (ASSETS / "manual.css").read_text(encoding="utf-8")
        shown = {"by_token": bool(self.token), "told": TOLD[refused], "style": style}
        return render("login.html", up=up, wanted=wanted, **shown)


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())


def _network(address: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 one, which one household has whole."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if known.version == 4:
        return str(known)
    return str(ipaddress.ip_network((int(known), 64), strict=False))
