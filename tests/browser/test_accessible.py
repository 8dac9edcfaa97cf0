"""Everybody can use the page: axe-core finds nothing on any tab, and the keyboard reaches all."""

import pytest
from playwright.sync_api import expect

from tests.browser.reader import finished, turn, unfold

TABS = ("unlearn", "compare", "trace", "data", "methods")
DETAILS = ("answers", "terms", "measures", "published", "record", "export")


def violations(page):
    """Name what axe-core finds: rule, impact and the first element."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # Gradio's own frame has no landmarks of ours to rename, and draws its own tab lists.
    found = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:140]}"
        for one in found.response["violations"]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_on_any_tab(ran, tabs, scheme):
    page = tabs(ran, scheme=scheme)
    finished(page)
    unfold(page)
    told = {}
    for name in DETAILS:
        turn(page, name)
        page.wait_for_timeout(400)
        told[name] = violations(page)
    for name in TABS:
        page.locator(f"#tab-{name}-button").click()
        page.wait_for_timeout(1200)
        told[name] = violations(page)
    assert {name: found for name, found in told.items() if found} == {}


@pytest.mark.slow
def test_a_newcomer_takes_the_tour_and_the_stage_by_keyboard(ran, tabs):
    page = tabs(ran)
    finished(page)
    page.locator("#tour").focus()
    page.keyboard.press("Enter")
    tour = page.locator(".tour")
    for step in range(1, 7):
        expect(tour.locator("small")).to_have_text(f"{step} of 6")
        page.keyboard.press("Enter")
    expect(tour).to_be_hidden()
    expect(page.locator("#tour")).to_be_focused()

    page.keyboard.press("p")
    expect(page.locator("#f-preset")).to_be_visible()
    page.keyboard.press("Alt+p")
    expect(page.locator("#f-preset")).to_be_hidden()
    expect(page.locator("#scoreboard .headline")).to_be_visible()
    assert "present" in page.url
    page.keyboard.press("Escape")
    expect(page.locator("#f-preset")).to_be_visible()
    page.locator("#ask-prompt textarea").press("Alt+p")
    expect(page.locator("#f-preset")).to_be_visible()


@pytest.mark.slow
def test_the_tour_remembers_the_step_at_which_it_was_left(ran, tabs):
    page = tabs(ran)
    finished(page)
    page.locator("#tour").click()
    page.locator('[data-tour="next"]').click()
    page.locator('[data-tour="leave"]').click()
    page.reload()
    finished(page)
    page.locator("#tour").click()
    expect(page.locator(".tour small")).to_have_text("2 of 6")
