"""What the cards of the methods say."""

from html import unescape

import pytest

from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.methods.preference import NPO
from unlearnlab.ui.methods.tab import body_html, broken, head_html, preset_of
from unlearnlab.views.benchmarks import measurements


def measured(preset):
    return measurements().get((preset.name, "train"))


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_has_a_card_with_the_button_of_its_preset(kind):
    cls, preset = METHODS[kind], preset_of(kind)
    text = head_html(kind, cls) + body_html(kind, cls, preset, preset and measured(preset))
    assert cls.card.title in unescape(text)
    assert ("data-preset" in text) == (preset is not None)


def test_without_a_measurement_a_card_says_so():
    assert "No measurement." in body_html("npo", NPO, preset_of("npo"), None)


def test_the_preset_of_a_method_shows_it_alone_if_it_can_on_the_embedded_model():
    assert preset_of("gradient_difference").name == "embedded-difference"
    assert preset_of("ties_merge").name == "embedded-ties-merge"
    for kind in METHODS:
        preset = preset_of(kind)
        assert preset is None or preset.spec.model.known.folder is not None


def test_a_long_formula_breaks_between_its_terms_and_not_within():
    term = r"\left(a + b + c + d + e + f + g + h + i + j\right)"
    assert broken("a + b") == "a + b"
    long = broken(f"{term} + {term},\\quad x = y")
    lines = long.removeprefix(r"\begin{gathered} ").removesuffix(r" \end{gathered}")
    assert lines.split(r" \\[2pt] ") == [term, rf"+\;{term}", "x = y"]
