"""The documentation as the page serves it, offline: `docs/*.md` as HTML, under `manual/`."""

import re
from itertools import pairwise

from markdown_it import MarkdownIt
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from unlearnlab.data.files import ASSETS, DOCS
from unlearnlab.ui.kit.html import escape
from unlearnlab.views.colours import TOKENS

FIRST = "measures.md"
"""The page that `manual/` opens."""


def routes() -> list[Route]:
    """Return what the server adds to Gradio's own addresses."""
    return [Route("/manual/", _answer), Route("/manual/{name}", _answer)]


def _answer(request: Request) -> Response:
    name = request.path_params.get("name", FIRST)
    if name in {path.name for path in DOCS.glob("*.md")}:
        return HTMLResponse(page(name))
    if name in {path.name for path in ASSETS.glob("*.png")}:
        return FileResponse(ASSETS / name)
    return HTMLResponse("There is no such page.", status_code=404)


def page(name: str) -> str:
    """Render a page with links to all others. HTML.

    Args:
        name: File name of a page in `docs/`.
    """
    links = "".join(
        f'<a href="{path.name}"{" aria-current=page" if path.name == name else ""}>'
        f"{escape(_title(path.read_text(encoding='utf-8')))}</a>"
        for path in sorted(DOCS.glob("*.md"))
    )
    text = (DOCS / name).read_text(encoding="utf-8")
    # The pages are our own, so their HTML is trusted: tables break lines with <br>.
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = markdown.parse(text)
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            slug = re.sub(r"[^\w -]", "", inline.content).lower().replace(" ", "-")
            heading.attrSet("id", slug)
    body = markdown.renderer.render(tokens, markdown.options, {})
    body = body.replace('src="../assets/', 'src="')  # Pictures are served beside the pages.
    style = TOKENS.read_text(encoding="utf-8") + (ASSETS / "manual.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(_title(text))} · unlearnlab</title><style>{style}</style>"
        f'<nav aria-label="Pages">{links}</nav>'
        f"<main>{body}</main></html>"
    )


def _title(text: str) -> str:
    """Return the first heading of a page."""
    return text.partition("\n")[0].removeprefix("# ")
