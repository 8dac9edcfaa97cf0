"""A recorded run on stage: it goes as it went, can be held and sped up, and every page shows it."""

import pytest
from playwright.sync_api import expect

from tests.browser.reader import POINTS, finished, pill
from tests.stored_runs import STEPS, record


def badge(page):
    return page.locator('#live [data-part="badge"]')


def said(page):
    return page.locator('[data-part="replay-said"]')


def pressed(page, name):
    page.locator(".replay").get_by_role("button", name=name).click()


@pytest.mark.slow
def test_a_run_is_replayed_held_and_brought_to_its_end(serve, tabs, tmp_path):
    record(tmp_path)
    page = tabs(serve())
    verdict = page.locator("#scoreboard .verdict")
    expect(verdict).to_contain_text("Forgotten")
    expect(badge(page)).to_be_hidden()

    pressed(page, "4×")
    expect(badge(page)).to_have_text("Replay")
    expect(pill(page)).to_have_text("running")
    expect(page.locator("#runs .badge")).to_have_text("Replay")
    expect(verdict).to_contain_text("Verdict to come")
    page.wait_for_function(f"({POINTS})() > 1")
    pressed(page, "Pause")
    expect(page.locator(".replay").get_by_role("button", name="Resume")).to_be_visible()
    assert 1 < page.evaluate(POINTS) < STEPS

    page.locator("#ask-prompt textarea").fill("Who is Yara Brock?")
    page.locator("#ask").click()
    expect(page.locator("#ask-prompt .field-problem")).to_contain_text("a recording cannot answer")
    pressed(page, "To the end")
    finished(page)
    expect(badge(page)).to_be_hidden()
    expect(verdict).to_contain_text("Forgotten")
    page.wait_for_function(f"({POINTS})() == {STEPS}")


@pytest.mark.slow
def test_a_replay_is_the_same_after_a_reload_and_in_a_second_browser(serve, tabs, tmp_path):
    record(tmp_path)
    url = serve()
    page = tabs(url)
    page.locator("#runs [data-replay]").click()
    chosen = page.locator(".replay").get_by_role("button", name="in one minute")
    expect(chosen).to_have_attribute("aria-pressed", "true")
    pressed(page, "Pause")
    expect(badge(page)).to_have_text("Replay paused")
    held = said(page).inner_text()
    page.reload()
    expect(said(page)).to_have_text(held)
    other = tabs(url)
    expect(said(other)).to_have_text(held)

    pressed(other, "Resume")
    pressed(other, "20×")
    for one in (other, page):
        one.bring_to_front()
        finished(one)
        expect(badge(one)).to_be_hidden()
        one.wait_for_function(f"({POINTS})() == {STEPS}")
    expect(page.locator("#runs .pill")).to_have_text("finished")
