"""Colours can be told apart by everybody, and are declared once.

Simulation of colour-blind readers: Machado, Oliveira and Fernandes 2009, IEEE TVCG 15(6), severity
1. Distance: CIE 1976.
"""

import itertools
import math
import re
from pathlib import Path

import pytest

import unlearnlab
from unlearnlab.views.colours import RUNS, colours, following_the_system

PACKAGE = Path(unlearnlab.__file__).parent
ROLES = ("forget", "retain", "utility", "membership", "plain")
ALL_RUNS = [f"run-{number}" for number in range(1, RUNS + 1)]
THEMES = ("light", "dark")

SIGHTS = {
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
}
TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.95047, 1.0, 1.08883)


def linear(colour):
    """Turn #rrggbb into linear light."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]


def times(matrix, vector):
    return [sum(m * v for m, v in zip(row, vector, strict=True)) for row in matrix]


def lab(light):
    clipped = [min(1.0, max(0.0, one)) for one in light]
    scaled = [one / white for one, white in zip(times(TO_XYZ, clipped), WHITE, strict=True)]
    x, y, z = (math.cbrt(s) if s > 0.008856 else 7.787 * s + 16 / 116 for s in scaled)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance(one, other, sight):
    seen = (lab(times(SIGHTS[sight], linear(colour))) for colour in (one, other))
    return math.dist(*seen)


def contrast(one, other):
    """Return the WCAG contrast ratio, from 1 to 21."""
    low, high = sorted(times(TO_XYZ, linear(colour))[1] for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("names", [ROLES, ALL_RUNS], ids=["roles", "runs"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_that_mean_something_are_told_apart(theme, names, sight):
    known = colours(theme)
    pairs = itertools.combinations(names, 2)
    near = {pair: distance(*(known[name] for name in pair), sight) for pair in pairs}
    assert min(near.values()) > 16, min(near, key=near.get)


@pytest.mark.parametrize("theme", THEMES)
def test_lines_stand_out_from_their_card_and_words_can_be_read_on_it(theme):
    known = colours(theme)
    lines = [contrast(known[name], known["card"]) for name in (*ROLES, *ALL_RUNS)]
    assert min(lines) >= 3
    assert min(contrast(known[name], known["card"]) for name in ("ink", "mute", "bad")) >= 4.5


def test_both_themes_name_the_same_colours():
    assert set(colours("light")) == set(colours("dark"))


def test_a_report_has_the_light_colours_and_the_dark_ones_on_dark_screens():
    light, _, dark = following_the_system().partition("@media screen and (prefers-color-scheme")
    assert colours("light")["forget"] in light
    assert colours("dark")["forget"] in dark


SHEETS = sorted(path for path in PACKAGE.rglob("*.css") if path.parent.name != "assets")


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: path.name)
def test_no_other_sheet_declares_a_colour_of_its_own(sheet):
    text = sheet.read_text(encoding="utf-8")
    assert not [one for one in colours("light") if re.search(rf"--{one}:", text)]
