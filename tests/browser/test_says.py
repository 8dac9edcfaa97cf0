"""What the model says at each probe: it changes while a run goes on, and the scrubber goes back."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.reader import finished
from tests.browser.slow_lab import SlowLab
from tests.exports.results import result_of
from unlearnlab.exports.report import report

GRIP = "() => document.querySelector('.grip').getBoundingClientRect().x"


def part(page, name):
    return page.locator(f'#live [data-part="{name}"]')


def cells(page):
    return part(page, "says-rows").locator("td:last-child")


@pytest.mark.slow
def test_what_it_says_changes_while_it_trains_and_the_scrubber_goes_back(serve, tabs):
    page = tabs(serve(step_s=0.12, steps=60))
    page.locator("#unlearn").click()
    expect(cells(page)).to_have_count(4)
    expect(part(page, "says-now")).to_have_text(re.compile(r"^(Now, step [1-9]|At step)"))
    table = part(page, "says-rows").element_handle()
    part(page, "scrub").focus()
    page.keyboard.press("Home")
    expect(part(page, "says-now")).to_have_text("Before training")
    expect(cells(page).first).to_contain_text("555-588-6866")
    page.keyboard.press("ArrowRight")
    # Often the latest probe by then: the reader went to it, and stays.
    expect(part(page, "says-now")).to_have_text("At step 7")
    expect(part(page, "scrub-latest")).to_be_visible()
    finished(page)
    expect(part(page, "says-now")).to_have_text("At step 7")
    expect(part(page, "scrub")).to_have_attribute("aria-valuetext", "step 7, 2 of 9 probes")
    earlier = page.evaluate(GRIP)
    part(page, "scrub-latest").click()
    expect(part(page, "says-now")).to_have_text("At step 56")
    expect(cells(page).first).to_contain_text("555-201-4410")
    expect(cells(page).first).to_contain_text("less than 0.1 % likely")
    expect(cells(page).nth(2)).to_contain_text("still leaks")
    expect(cells(page).nth(3)).to_contain_text("kept")
    expect(part(page, "scrub-latest")).to_be_hidden()
    assert page.evaluate(GRIP) > earlier + 100
    assert table.is_visible(), "the card was not drawn anew"


@pytest.mark.slow
def test_the_dotted_line_is_dragged_along_the_chart_and_a_reload_shows_the_last_step(serve, tabs):
    page = tabs(serve(step_s=0, steps=80))
    page.locator("#unlearn").click()
    finished(page)
    page.reload()
    expect(part(page, "says-now")).to_have_text("At step 80")
    box = page.locator(".grip").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 300, y, steps=6)
    page.mouse.up()
    step = int(part(page, "scrub-step").inner_text().removeprefix("step "))
    assert step in range(10, 80, 10)
    expect(part(page, "says-now")).to_have_text(f"At step {step}")
    assert abs(page.evaluate(GRIP) + 12 - (x - 300)) < 60


@pytest.mark.slow
def test_the_scrubber_of_a_report_needs_no_program(tabs, serve, tmp_path):
    found = result_of(tmp_path / "home", lab=SlowLab(step_s=0, rows=2, steps=24))
    file = tmp_path / "report.html"
    file.write_text(report(found, masked=False), encoding="utf-8")
    page = tabs(file.as_uri(), ready=False)
    head, slider = page.locator(".now-head"), page.locator("#says input")
    expect(head).to_have_text("At step 24")
    expect(page.locator("#says [data-step]:visible")).to_have_count(4)
    slider.focus()
    page.keyboard.press("ArrowLeft")
    steps = json.loads(page.locator("#says").get_attribute("data-steps"))
    expect(head).to_have_text(f"At step {steps[-2]}")
    page.keyboard.press("Home")
    expect(head).to_have_text("Before training")
    expect(page.locator("#says [data-step]:visible").first).to_contain_text("555-588-6866")
    assert page.locator("line.now").first.get_attribute("x1") == "48"
