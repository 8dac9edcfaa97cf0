"""The tab Methods in a real browser."""

import pytest
from playwright.sync_api import expect

from tests.browser.reader import unfold
from unlearnlab.spec.methods import METHODS


@pytest.mark.slow
def test_every_method_has_a_card_whose_formula_is_drawn_without_another_host(serve, tabs):
    page = tabs(serve(), width=390, height=844, scheme="dark")
    page.evaluate("() => { location.hash = '#method-rmu' }")
    expect(page.locator("#method-rmu")).to_be_in_viewport()
    cards = page.locator(".method")
    expect(cards).to_have_count(len(METHODS))
    expect(page.locator(".method .katex-display")).to_have_count(len(METHODS))
    expect(page.locator(".katex-error")).to_have_count(0)
    page.wait_for_function("() => document.fonts.check('16px KaTeX_Math')")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    search = page.get_by_label("Filter methods")
    search.fill("npo zhang")
    expect(page.locator(".method:visible h2")).to_have_text(["NPO #"])
    search.fill("nothing at all")
    expect(page.get_by_text("No method matches.")).to_be_visible()
    search.fill("")
    expect(page.locator(".method:visible")).to_have_count(len(METHODS))


@pytest.mark.slow
def test_the_preset_of_a_card_fills_the_form_by_keyboard(serve, tabs):
    page = tabs(serve())
    page.get_by_role("tab", name="Methods").click()
    page.get_by_role("button", name="Use this preset for NPO").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#unlearn")).to_be_visible()
    expect(page.locator("#f-preset input")).to_have_value("Methods · NPO")
    expect(page.locator("#f-phase-method input")).to_have_value("NPO")
    expect(page.get_by_role("tab", name="Unlearn")).to_be_focused()
    unfold(page)
    expect(page.locator("#f-npo-retain_weight input")).to_have_value("20")
    page.reload()
    expect(page.locator("#f-preset input")).to_have_value("Methods · NPO")
