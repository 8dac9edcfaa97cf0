"""Colours can be told apart by everybody, and are declared once."""

import itertools
import re
from pathlib import Path

import pytest

import unlearnlab
from tests.vision import SIGHTS, contrast, distance
from unlearnlab.views.colours import RUNS, colours, following_the_system

PACKAGE = Path(unlearnlab.__file__).parent
ROLES = ("forget", "retain", "utility", "membership", "plain")
ALL_RUNS = [f"run-{number}" for number in range(1, RUNS + 1)]
THEMES = ("light", "dark")


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
