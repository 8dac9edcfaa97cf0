"""The queue in a browser: reordered and cancelled by keyboard, with a run on each device."""

import pytest
from playwright.sync_api import expect


@pytest.mark.slow
def test_waiting_runs_are_moved_and_cancelled_by_keyboard(serve, tabs):
    page = tabs(serve(step_s=0.2, steps=600, devices=["cuda:0", "cpu"]))
    expect(page.locator("#queue .card")).to_have_count(0)
    page.locator("#unlearn").click()
    expect(page.locator("#unlearn")).to_have_text("Queue")
    waiting = page.locator("#queue .waiting li")
    for count in (1, 2, 3):
        page.locator("#unlearn").click()
        expect(waiting).to_have_count(count)
    expect(page.locator("#chip-queue")).to_have_text("1 running · 3 queued")
    ids = [one.locator('[data-event="cancel"]').get_attribute("data-run") for one in waiting.all()]
    waiting.nth(1).locator("button").nth(1).focus()
    page.keyboard.press("Enter")
    moved = page.locator(f'#queue .waiting li:nth-child(3) [data-run="{ids[1]}"]')
    expect(moved.first).to_be_visible()
    focused = "document.activeElement.dataset.run + document.activeElement.dataset.event"
    page.wait_for_function(f"{focused} === '{ids[1]}move'")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(waiting).to_have_count(2)
    expect(page.locator(f'#queue [data-run="{ids[1]}"]')).to_have_count(0)
    expect(page.locator("#chip-queue")).to_have_text("1 running · 2 queued")
