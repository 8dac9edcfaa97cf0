"""A recorded run on stage: it goes as it went, can be held and sped up, and every page shows it."""

from playwright.sync_api import expect

from tests.browser.recorded_run import STEPS, record
from tests.browser.test_runs import POINTS, finished, pill


def test_a_run_is_replayed_held_sped_up_and_brought_to_its_end(serve, tabs, tmp_path):
    record(tmp_path)
    url = serve()
    page = tabs(url)
    badge, bar = page.locator('#live [data-part="badge"]'), page.locator(".replay")
    verdict, said = page.locator("#scoreboard .verdict"), page.locator('[data-part="replay-said"]')
    finished(page)
    expect(verdict).to_contain_text("Forgotten")
    expect(badge).to_be_hidden()

    bar.get_by_role("button", name="4×").click()
    expect(badge).to_be_visible()
    expect(pill(page)).to_have_text("running")
    expect(page.locator("#runs .badge")).to_have_text("Replay")
    expect(page.locator("#live [data-part='facts']")).to_contain_text("replay at 4×")
    expect(verdict).to_contain_text("Verdict to come")
    page.wait_for_function(f"({POINTS})() > 1")
    bar.get_by_role("button", name="Pause").click()
    expect(page.locator("#hold")).to_have_text("Resume")
    held = said.inner_text()
    assert 1 < page.evaluate(POINTS) < STEPS

    page.locator("#ask-prompt textarea").fill("Who is Yara Brock?")
    page.locator("#ask").click()
    expect(page.locator("#ask-prompt .field-problem")).to_contain_text("a recording cannot answer")
    page.reload()
    expect(said).to_have_text(held)
    other = tabs(url)
    expect(other.locator('[data-part="replay-said"]')).to_have_text(held)
    expect(other.locator('#live [data-part="badge"]')).to_be_visible()

    other.locator("#hold").click()
    other.locator(".replay").get_by_role("button", name="20×").click()
    for one in (page, other):
        one.bring_to_front()
        finished(one)
        expect(one.locator('#live [data-part="badge"]')).to_be_hidden()
        expect(one.locator("#scoreboard .verdict")).to_contain_text("Forgotten")
        one.wait_for_function(f"({POINTS})() == {STEPS}")

    page.bring_to_front()
    page.locator("#runs [data-replay]").click()
    chosen = bar.get_by_role("button", name="in one minute")
    expect(chosen).to_have_attribute("aria-pressed", "true")
    page.locator("#stop").click()
    expect(page.locator("#runs .pill")).to_have_text("finished")
