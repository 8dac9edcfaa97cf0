"""HTML from Jinja templates: whatever a template inserts is escaped."""

import re
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined
from jinja2.ext import Extension

from unlearnlab.views.answers import hidden_spans


class _DropLineBreaks(Extension):
    """Removes line breaks between tags from a template's source.

    Templates can be indented without putting blanks between inline elements of the page. Inserted
    text keeps its line breaks.
    """

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return re.sub(r"(?<=[>}])\s*\n\s*(?=[<{])", "", source)


def environment(folder: str) -> Environment:
    """Return the environment of the templates in a folder of the package, such as `ui`.

    `views/NAME` is a template of this folder, for what several rooms draw alike.
    """
    own, shared = PackageLoader("unlearnlab", folder), PackageLoader("unlearnlab", "views")
    found: Any = Environment(
        loader=ChoiceLoader([own, PrefixLoader({"views": shared})]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_DropLineBreaks],
    )
    found.filters |= {hidden_spans.__name__: hidden_spans}
    return found
