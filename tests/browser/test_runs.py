"""A run watched from a browser: it starts, moves, can be held, and every page shows the same."""

import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import hosting
from tests.browser.reader import POINTS, fill_seed, finished, pill
from tests.browser.slow_lab import FAILING

RANGE = "() => document.querySelector('#live .plot').layout.xaxis.range.map(Number)"


def test_an_empty_page_says_what_to_do(serve, tabs):
    page = tabs(serve())
    expect(page.get_by_text("Nothing has run here yet")).to_be_visible()
    expect(page.locator("#chip-queue")).to_have_text("idle")
    expect(page.locator("#hold")).to_have_count(0)
    expect(page.locator("#stop")).to_have_count(0)
    expect(page.locator("#answers-card, #ask-card, #runs-card")).to_have_count(0)


def test_the_first_point_comes_within_three_seconds(serve, tabs):
    page = tabs(serve())
    page.locator("#unlearn").click()
    began = time.monotonic()
    page.wait_for_function(f"({POINTS})() > 0")
    assert time.monotonic() - began < 3


@pytest.mark.slow
def test_a_model_is_scored_without_training_and_compared(serve, tabs):
    page = tabs(serve())
    page.locator("#score").click()
    finished(page)
    expect(page.locator("#live h2").nth(1)).to_have_text("Scores of tiny-olmo (embedded)")
    expect(page.locator("#scoreboard")).to_contain_text("Scores only")
    expect(page.locator("#scoreboard .pale")).to_have_count(0)
    expect(page.locator("#live [data-part=chart]")).to_be_hidden()
    expect(page.locator("#answers th")).to_have_count(5)
    expect(page.locator("#ask-card h2")).to_have_text("Ask the model")
    listed = page.locator("#runs li, #runs tr").filter(has_text="Scores of tiny-olmo")
    expect(listed.first).to_be_visible()
    page.locator(".runs .quiet").first.click()
    expect(page.locator("#f-phase-method input")).to_have_value("Gradient difference")
    page.get_by_role("tab", name="Compare", exact=True).click()
    row = page.locator("#compare-list tbody tr").filter(has_text="Scores of")
    expect(row).to_contain_text("scored")


@pytest.mark.slow
def test_buttons_follow_the_state_of_the_run(serve, tabs):
    page = tabs(serve(step_s=0.05, steps=6000))
    unlearn, hold, stop = (page.locator(f"#{name}") for name in ("unlearn", "hold", "stop"))
    expect(unlearn).to_have_text("Unlearn")
    unlearn.click()
    expect(unlearn).to_have_text("Queue")
    page.wait_for_function(f"({POINTS})() > 3")
    hold.click()
    expect(hold).to_have_text("Resume")
    expect(pill(page)).to_have_text("paused")
    held = page.evaluate(POINTS)
    for _ in range(2):
        page.wait_for_event("response", lambda answer: "component_server" in answer.url)
    assert page.evaluate(POINTS) <= held + 2
    hold.click()
    expect(hold).to_have_text("Pause")
    expect(pill(page)).to_have_text("running")
    unlearn.click()
    expect(page.get_by_text("Queued: it starts after the running one.")).to_be_visible()
    expect(page.locator("#chip-queue")).to_have_text("1 running · 1 queued")
    expect(page.locator(".verdict")).to_contain_text("Verdict to come")
    stop.click()
    expect(pill(page)).to_have_text("stopped")
    expect(stop).to_have_count(0)
    expect(page.locator(".verdict")).to_contain_text("No verdict")
    expect(page.locator("#answers tbody")).to_contain_text("not scored")


@pytest.mark.slow
def test_training_is_ended_early_and_the_model_is_scored_as_it_is(serve, tabs):
    page = tabs(serve(step_s=0.05, steps=6000))
    cut = page.get_by_role("button", name="Stop and score")
    page.locator("#unlearn").click()
    cut.click()
    finished(page)
    expect(cut).to_be_hidden()
    verdict = page.locator("#scoreboard .verdict")
    expect(verdict).to_contain_text(re.compile(r"Training was stopped at step \d+ of 6,000"))


@pytest.mark.slow
def test_a_queued_run_can_be_removed(serve, tabs):
    page = tabs(serve(step_s=0.2, steps=300))
    page.locator("#unlearn").click()
    expect(pill(page)).to_have_text("running")
    page.locator("#unlearn").click()
    expect(page.locator("#runs .pill").first).to_have_text("queued")
    page.locator("#runs .open").first.click()
    expect(pill(page)).to_have_text("queued")
    expect(page.locator("#stop")).to_have_text("Remove")
    page.locator("#stop").click()
    expect(pill(page)).to_have_text("stopped")
    expect(page.locator("#chip-queue")).to_have_text("1 running")


@pytest.mark.slow
def test_the_readers_zoom_survives_new_points(serve, tabs):
    page = tabs(serve(step_s=0.1, steps=300))
    page.locator("#unlearn").click()
    page.wait_for_function(f"({POINTS})() > 6")
    box = page.locator("#live .plot .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 120, steps=6)
    page.mouse.up()
    zoomed = page.evaluate(RANGE)
    assert zoomed[1] < 100
    seen = page.evaluate(POINTS)
    page.wait_for_function(f"({POINTS})() > {seen + 8}")
    assert page.evaluate(RANGE) == pytest.approx(zoomed)


@pytest.mark.slow
def test_a_second_browser_and_a_reload_show_the_run_as_it_goes_and_ends(serve, tabs):
    url = serve(step_s=0.05, steps=6000)
    page, other = tabs(url), tabs(url)
    page.locator("#unlearn").click()
    page.wait_for_function(f"({POINTS})() > 4")
    page.reload()
    for one in (page, other):
        expect(pill(one)).to_have_text("running")
        one.wait_for_function(f"({POINTS})() > 4")
    expect(other.locator("#unlearn")).to_have_text("Queue")
    expect(other.locator("#runs .pill")).to_have_text("running")
    page.locator("#stop").click()
    for one in (page, other):
        expect(pill(one)).to_have_text("stopped")
        expect(one.locator("#unlearn")).to_have_text("Unlearn")
    steps = [one.locator('[data-part="detail"]').inner_text() for one in (page, other)]
    assert steps[0] == steps[1]


@pytest.mark.slow
def test_six_tabs_of_one_browser_all_follow(serve, tabs):
    url = serve(step_s=0.2, steps=300)
    first = tabs(url)
    first.locator("#unlearn").click()
    expect(pill(first)).to_have_text("running")
    pages = [first, *(tabs(url, context=first.context, ready=False) for _ in range(5))]
    for page in pages:
        page.bring_to_front()
        expect(pill(page)).to_have_text("running")
        page.wait_for_function(f"({POINTS})() > 0")
    first.locator("#stop").click()
    for page in pages:
        page.bring_to_front()
        expect(pill(page)).to_have_text("stopped")


@pytest.mark.slow
def test_a_failed_run_stays_red_and_gives_advice(serve, tabs):
    page = tabs(serve())
    fill_seed(page, FAILING)
    page.locator("#unlearn").click()
    card = page.locator('#live [data-part="status"]')
    expect(pill(page)).to_have_text("failed")
    expect(card).to_contain_text("the forget loss is not finite at step 7")
    expect(card).to_contain_text("take a smaller learning rate")
    expect(page.locator("#unlearn")).to_have_text("Unlearn")
    page.reload()
    expect(pill(page)).to_have_text("failed")
    expect(page.locator("#runs .pill")).to_have_text("failed")


@pytest.mark.slow
def test_a_killed_program_leaves_an_interrupted_run_and_a_new_one_works(host, tmp_path, tabs):
    with hosting() as mortal:
        url = mortal.open(tmp_path, step_s=0.05, steps=6000)
        page = tabs(url)
        page.locator("#unlearn").click()
        page.wait_for_function(f"({POINTS})() > 2")
        mortal.kill()
        lost = page.locator('#live [data-part="lost"]')
        expect(lost).to_contain_text("Connection lost, retrying", timeout=20000)
        expect(lost).to_be_visible()
    page.evaluate("window.before = true")
    # Its parts have other numbers than those of the page that is open.
    host.close(host.open(tmp_path / "other"))
    assert host.open(tmp_path, port=int(re.findall(r":(\d+)", url)[0]), step_s=0.01) == url
    expect(pill(page)).to_have_text("interrupted", timeout=90000)
    assert page.evaluate("window.before") is None, "the page has loaded itself again"
    assert page.evaluate(POINTS) > 2
    page.locator("#unlearn").click()
    finished(page)
    host.close(url)


@pytest.mark.slow
def test_polls_are_answered_quickly_while_a_run_trains(serve, tabs):
    page = tabs(serve(step_s=0.02, steps=120))
    page.locator("#unlearn").click()
    finished(page)
    spans = page.evaluate(
        "() => performance.getEntriesByType('resource')"
        ".filter(e => e.name.includes('component_server')).map(e => e.duration)"
    )
    assert len(spans) >= 4
    spans.sort()
    assert spans[int(0.95 * (len(spans) - 1))] < 500


@pytest.mark.slow
def test_a_late_drawing_leaves_the_run_that_was_opened_since(serve, tabs):
    url = serve(step_s=0.01)
    page, other = tabs(url), tabs(url)
    for count in (1, 2):
        page.locator("#unlearn").click()
        expect(page.locator("#runs .pill")).to_have_text(["finished"] * count)
        expect(page.locator("#scoreboard .verdict")).to_be_visible()
    newer, older = (page.locator("#runs .open").nth(n).get_attribute("data-open") for n in (0, 1))
    drawn = page.locator("#scoreboard [data-drawn]")
    expect(drawn).to_have_attribute("data-drawn", re.compile(newer))
    late = []

    def hold_the_first(route):
        if late:
            route.continue_()
        else:
            late.append(route)

    page.route("**/run/predict", hold_the_first)
    with page.expect_request("**/run/predict"):
        other.locator("#unlearn").click()
    page.locator(f'.runs .open[data-open="{older}"]').click()
    expect(drawn).to_have_attribute("data-drawn", re.compile(older))
    with page.expect_response("**/run/predict"):
        late[0].continue_()
    page.wait_for_timeout(1500)
    for _ in range(2):  # The second time after a reload.
        expect(page.locator(f'.runs .here .open[data-open="{older}"]')).to_be_visible()
        expect(drawn).to_have_attribute("data-drawn", re.compile(older))
        page.reload()
