"""Who may open the page: options of `app`, and what they ask for."""

import argparse
import getpass
import ipaddress
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from unlearnlab.cli.commands import tell
from unlearnlab.data.files import expanded, read_regular
from unlearnlab.spec.errors import SpecError

AUTH = "UNLEARNLAB_AUTH"
"""Environment variable that holds USER:PASSWORD."""

LONGEST = 4096
"""Most bytes of a file with a password."""


@dataclass(frozen=True, slots=True)
class Access:
    """What the page asks for. At most one of the two."""

    password: tuple[str, str] | None = None
    """User and password."""
    by_link: bool = False
    """Whether only the printed link opens it."""


def add_options(options: argparse.ArgumentParser) -> None:
    """Add the options that say who may come in."""
    options.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="host by which browsers reach the page, besides this machine and --host; may be "
        "repeated",
    )
    asked = options.add_mutually_exclusive_group()
    asked.add_argument(
        "--auth-file", metavar="FILE", help="ask visitors for the USER:PASSWORD in this file"
    )
    asked.add_argument(
        "--ask-password", metavar="USER", help="type the password of this user at the start"
    )
    asked.add_argument(
        "--auth",
        metavar="USER:PASSWORD",
        help=f"the same as {AUTH}, but anybody on this machine can read it in the list of "
        "processes",
    )
    asked.add_argument(
        "--no-auth",
        action="store_true",
        help="ask nobody for anything: whoever reaches the page may use it",
    )
    options.add_argument(
        "--allow-paths",
        action="store_true",
        help="let visitors from other machines name data files and model folders of this one",
    )


def access(args: argparse.Namespace) -> Access:
    """Find out what the page asks for, and tell what is unsafe about it.

    Raises:
        SpecError: A password is malformed, or cannot be read.
    """
    others = args.share or open_to_others(args.host)
    password = _password(args)
    if args.no_auth and others:
        tell(
            "--no-auth: whoever reaches this page can read its runs, data and answers, start, "
            "change and delete runs, and upload files"
        )
    elif password is None and not others and (args.allow_host or "://" in args.root_path):
        tell(
            "whoever reaches this page through the proxy needs no password: give one with "
            "--auth-file if the proxy asks for none"
        )
    return Access(password, by_link=others and password is None and not args.no_auth)


def _password(args: argparse.Namespace) -> tuple[str, str] | None:
    if args.no_auth:
        return None
    if args.auth_file is not None:
        return _from_file(Path(args.auth_file))
    if args.ask_password is not None:
        return _typed(args.ask_password)
    if args.auth is not None:
        found = credentials(args.auth)
        tell(
            "--auth shows the password in the list of processes: prefer --auth-file, "
            f"--ask-password or {AUTH}"
        )
        return found
    return credentials(os.environ.get(AUTH), AUTH)


def credentials(auth: str | None, where: str = "--auth") -> tuple[str, str] | None:
    """Split USER:PASSWORD.

    Args:
        auth: The text; none gives none.
        where: Where it was given.

    Raises:
        SpecError: There is no colon, or nothing on one side of it.
    """
    if auth is None:
        return None
    user, _, password = auth.partition(":")
    user = user.strip()  # As it is read from the login page.
    if not user or not password:
        raise SpecError([("", f"{where} takes USER:PASSWORD, both not empty")])
    return user, password


def _from_file(path: Path) -> tuple[str, str] | None:
    where, path = "--auth-file", expanded(path)
    try:
        text, mode = read_regular(path, LONGEST).decode(), path.stat().st_mode
    except OSError as error:
        raise SpecError([("", f"{where}: {path} cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise SpecError([("", f"{where}: {path} cannot be read: it is no text")]) from None
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
        tell(f"{where}: others on this machine can read {path}: chmod 600 keeps it to you")
    return credentials(text.partition("\n")[0].rstrip("\r"), f"the first line of {path}")


def _typed(user: str) -> tuple[str, str] | None:
    if not sys.stdin.isatty():
        told = f"--ask-password needs a terminal: use --auth-file or {AUTH}"
        raise SpecError([("", told)])
    try:
        return credentials(f"{user}:{getpass.getpass(f'Password for {user}: ')}", "--ask-password")
    except EOFError:
        raise SpecError([("", "--ask-password: no password was typed")]) from None


def open_to_others(host: str) -> bool:
    """Tell whether other machines can reach the page."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
