"""A page that needs no network, no script and no other file: the frame of every report."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from unlearnlab.views.colours import following_the_system

_SHEET = Path(__file__).with_name("report.css")


def page(title: str, parts: Iterable[str]) -> str:
    """Put a page around its parts.

    Args:
        title: Plain text.
        parts: HTML, everything in it escaped.
    """
    style = following_the_system() + _SHEET.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Whatever a model has said, the file loads nothing and runs nothing.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)} · unlearnlab</title>\n<style>\n{style}</style></head>\n"
        f"<body><main>\n{chr(10).join(parts)}\n</main></body></html>\n"
    )
