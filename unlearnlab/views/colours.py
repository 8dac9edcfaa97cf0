"""The colours of all that is shown, read from the one style sheet that declares them."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Literal

from unlearnlab.data.files import ASSETS

TOKENS = ASSETS / "tokens.css"

Theme = Literal["light", "dark"]

RUNS = 6
"""Colours that tell runs apart; further ones begin anew, with another dash and mark."""


@cache
def _blocks() -> tuple[str, str]:
    """Return the declarations of the light block and of the dark one."""
    light, dark = re.findall(r"\{(.*?)\}", TOKENS.read_text(encoding="utf-8"), re.DOTALL)
    return light, dark


@cache
def colours(theme: Theme) -> Mapping[str, str]:
    """Map the names of the colours, such as `forget`, to what they are in a theme."""
    light, dark = (dict(re.findall(r"--([\w-]+): (.*?);", block)) for block in _blocks())
    return light if theme == "light" else light | dark


def following_the_system() -> str:
    """Return a style sheet that is dark on screens whose reader asks for it, and light in print."""
    light, dark = _blocks()
    dark_screen = "@media screen and (prefers-color-scheme: dark)"
    return f":root {{{light}}}\n{dark_screen} {{ :root {{{dark}}} }}\n"
