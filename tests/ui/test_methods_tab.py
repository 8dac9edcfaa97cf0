"""What the cards of the methods say."""

import pytest

from unlearnlab.spec.methods import METHODS, NPO
from unlearnlab.spec.presets import presets
from unlearnlab.ui.methods.tab import body_html, broken, head_html, preset_of
from unlearnlab.views.benchmarks import measurements


def measured(preset):
    return measurements().get((preset.name, "train"))


@pytest.mark.parametrize("kind", METHODS)
def test_a_card_tells_all_of_a_method(kind):
    cls, preset = METHODS[kind], preset_of(kind)
    text = head_html(kind, cls) + body_html(kind, cls, preset, preset and measured(preset))
    for said in ("<h2>", "When it fails", "Memory", "Defaults", "Source", f'"#method-{kind}"'):
        assert said in text
    assert ("data-preset" in text) == (preset is not None)


def test_a_card_shows_what_the_preset_did():
    preset = preset_of("npo")
    found = measured(preset)
    text = body_html("npo", NPO, preset, found)
    assert "embedded-npo, train fold, mean of 3 seeds" in text
    assert found.verdicts[0] in text
    assert text.count("1.00 →") == 4


def test_without_a_measurement_or_a_preset_a_card_says_so():
    assert "No measurement." in body_html("npo", NPO, preset_of("npo"), None)
    text = body_html("npo", NPO, None, None)
    assert "No measurement." in text
    assert "data-preset" not in text


def test_a_default_that_the_preset_changes_is_shown_beside_it():
    text = body_html("npo", NPO, presets()["embedded-npo"], None)
    assert "Retain weight α</span> <b>1</b> <small>preset 10</small>" in text


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
