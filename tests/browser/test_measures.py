"""The attack with its threshold, further measures and published results, on the page."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.reader import fill_seed, finished, turn
from unlearnlab.metrics.measures import MEASURES


@pytest.mark.slow
def test_scores_tell_their_noise_and_the_attack_is_taken_apart(serve, tabs):
    page = tabs(serve(step_s=0.01, steps=8))
    page.locator("#unlearn").click()
    finished(page)
    board = page.locator("#scoreboard")
    expect(board.locator(".score .range").first).to_have_text(re.compile(r"0\.\d\d to \d\.\d\d"))
    turn(page, "terms")
    expect(page.locator("#strip")).to_contain_text("≈ moved within noise")
    board.locator(".thresholds summary").click()
    expect(board.locator(".thresholds [aria-current]")).to_contain_text("Forgotten:")

    turn(page, "measures")
    card = page.locator("#membership")
    expect(card.locator(".reading[role=status]")).to_contain_text("still remembered")
    expect(card.locator(".rates tbody tr")).to_have_count(2)
    card.scroll_into_view_if_needed()
    bars = card.locator(".plot").first.locator(".bars .point path")
    expect(bars.first).to_be_attached()
    expect(card.locator(".wrong section").first).to_contain_text("Members missed")
    slider = card.get_by_label("Threshold")
    slider.focus()
    page.keyboard.press("Home")
    unlearned = card.locator(".rates tbody tr").last
    expect(unlearned.locator("td").nth(1)).to_have_text("0.00")
    expect(card.locator(".wrong section").first).to_contain_text("104 of 104")
    expect(card.locator(".wrong section").last).to_contain_text("0 of 104")
    expect(card.locator(".wrong")).not_to_contain_text("•")
    turn(page, "answers")
    page.locator("#mask input").check()
    turn(page, "measures")
    expect(card.locator(".wrong")).to_contain_text("•")
    expect(unlearned.locator("td").nth(1)).to_have_text("0.00")

    card.get_by_role("button", name="More measures").click()
    expect(card.locator(".measures:not(.documents) tbody tr")).to_have_count(len(MEASURES))
    expect(card.locator(".measures .missing").first).to_contain_text("not taken:")
    expect(slider).to_be_hidden()

    turn(page, "published")
    page.locator("#published summary").click()
    expect(page.locator("#published .own")).to_contain_text("This run")
    # A second seed of the same spec; what was opened and chosen stays while it is drawn.
    fill_seed(page, 1)
    page.locator("#unlearn").click()
    expect(board).to_contain_text("2 seeds of this spec: task aggregate")
    expect(page.locator("#published .own")).to_be_visible()
    turn(page, "measures")
    expect(card.locator(".measures:not(.documents)")).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_all_of_it_fits_the_width(serve, tabs, scheme):
    page = tabs(serve(step_s=0.01, steps=8), width=390, height=844, scheme=scheme)
    page.locator("#unlearn").click()
    finished(page)
    turn(page, "published")
    page.locator("#published summary").click()
    turn(page, "measures")
    page.get_by_role("button", name="More measures").click()
    expect(page.locator("#membership .measures:not(.documents)")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
