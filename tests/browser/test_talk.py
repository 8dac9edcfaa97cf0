"""The talk of docs/talk.md, from its first minute to its last."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.reader import POINTS, finished
from unlearnlab.cli.app import DEMO

SCREEN = {"width": 1920, "height": 1080}
PATIENT = 60_000
"""The recording takes 20 s, in milliseconds on a busy machine."""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_speaker_shows_the_recording_asks_the_room_and_compares(serve, tabs, scheme):
    assert DEMO.is_file()
    page = tabs(serve(demo=True, step_s=0.01), scheme=scheme, **SCREEN)

    # The first screen: one fact, one button.
    expect(page.locator("#live .fact-prompt")).to_be_visible()
    known = page.locator("#live .fact-answer").inner_text()
    assert known.strip()

    # The recorded run, in large type on one screen.
    page.get_by_role("button", name="Watch it forget").click()
    expect(page.locator('#live [data-part="badge"]')).to_be_visible()
    page.keyboard.press("Alt+p")
    expect(page.locator("#f-preset")).to_be_hidden()
    expect(page.locator("#scoreboard .headline")).to_contain_text("Forgets", timeout=PATIENT)
    expect(page.locator('#live [data-part="says-rows"] tr')).to_have_count(4)
    fits = f"() => document.documentElement.scrollHeight <= {SCREEN['height']}"
    page.wait_for_function(fits)  # The chart is drawn anew for the room that it has now.
    for part in ('[data-part="chart"] .plot', '[data-part="says-rows"] tr:last-child'):
        expect(page.locator(f"#live {part}")).to_be_in_viewport()
    expect(page.locator("#scoreboard .score-grid")).to_be_in_viewport(ratio=1)

    # Back and forth through the run.
    now = page.locator('#live [data-part="says-now"]')
    last = now.inner_text()
    page.keyboard.press("ArrowLeft")
    expect(now).not_to_have_text(last)
    expect(now).to_have_text(re.compile(r"^(At step \d+|Before training)$"))
    page.keyboard.press("ArrowRight")
    expect(now).to_have_text(last)

    # A live run, and a question of the audience to both models.
    page.keyboard.press("Alt+p")
    page.locator("#unlearn").click()
    page.wait_for_function(f"({POINTS})() <= 40")  # Of the new run: the recording has more steps.
    finished(page)
    page.locator("#ask-prompt textarea").fill("Who keeps the mill?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#ask-card")).to_contain_text("Who keeps the mill?", timeout=PATIENT)

    # Other methods.
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator("#tab-compare-button")).to_have_attribute("aria-selected", "true")
