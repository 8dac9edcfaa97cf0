"""Taking the results of a run away, from the page."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.reader import fill_seed, finished, turn
from tests.browser.slow_lab import FULL_DISK
from unlearnlab.spec.run import parse_spec


def downloaded(page, click):
    with page.expect_download() as waiting:
        click()
    return waiting.value.suggested_filename, waiting.value.path()


@pytest.mark.slow
def test_results_are_taken_away_after_the_run_and_not_before(serve, tabs):
    page = tabs(serve(step_s=0.05, steps=200))
    expect(page.locator(".takeaway")).to_be_hidden()
    page.locator("#unlearn").click()
    turn(page, "export")
    expect(page.get_by_text("when the run has ended")).to_be_visible()
    expect(page.locator(".takeaway-item")).to_have_count(0)
    finished(page)
    expect(page.locator(".takeaway-item")).to_have_count(12)

    item = page.locator(".takeaway-item").filter
    name, path = downloaded(page, item(has_text="All settings").click)
    assert re.fullmatch(r"\d{6}-\d{6}-\d{3}-spec\.json", name)
    parse_spec(json.loads(path.read_text(encoding="utf-8")))

    report = item(has_text="One HTML file")
    _, path = downloaded(page, report.click)
    assert "Brock" not in path.read_text(encoding="utf-8")
    page.get_by_label("mask personal data in the report").uncheck()
    _, path = downloaded(page, report.click)
    assert "Brock" in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_merged_model_is_written_as_a_job_that_a_reload_does_not_lose(serve, tabs):
    page = tabs(serve(step_s=0.02, steps=10))
    page.locator("#unlearn").click()
    finished(page)
    turn(page, "export")
    page.locator('.takeaway-item[data-what="model"]').click()
    told = page.locator(".takeaway-model")
    expect(told).to_have_attribute("data-state", "busy")
    expect(told).to_have_attribute("data-state", "there")
    expect(told.locator("code")).to_contain_text("/exports/")
    page.reload()
    turn(page, "export")
    expect(told).to_have_attribute("data-state", "there")
    name, _ = downloaded(page, told.get_by_role("button", name="Download").click)
    assert name.endswith("-model.zip")
    place = told.locator("code").inner_text()
    told.get_by_role("button", name="Use in the form").click()
    expect(page.locator("#f-model-name input")).to_have_value(place)


@pytest.mark.slow
def test_writing_the_model_tells_how_far_it_is_and_can_be_stopped(serve, tabs):
    page = tabs(serve(step_s=0.9, steps=3))
    page.locator("#unlearn").click()
    finished(page)
    turn(page, "export")
    page.locator('.takeaway-item[data-what="model"]').click()
    told = page.locator(".takeaway-model")
    expect(told).to_contain_text(re.compile(r"Being written, [1-9]0%"))
    told.get_by_role("button", name="Stop").click()
    expect(told).to_have_attribute("data-state", "failed")
    expect(told).to_contain_text("it was cancelled before it was complete")
    expect(told.get_by_role("button", name="Stop")).to_be_hidden()


@pytest.mark.slow
def test_a_full_disk_is_told_at_the_model(serve, tabs):
    page = tabs(serve(step_s=0.02, steps=10))
    fill_seed(page, FULL_DISK)
    page.locator("#unlearn").click()
    finished(page)
    turn(page, "export")
    page.locator('.takeaway-item[data-what="model"]').click()
    told = page.locator(".takeaway-model")
    expect(told).to_have_attribute("data-state", "failed")
    expect(told).to_contain_text("Not written: not enough room on the disk: 5.1 GB are needed")


@pytest.mark.slow
def test_the_card_fits_a_phone(serve, tabs):
    page = tabs(serve(step_s=0.01, steps=5), width=390, height=800)
    page.locator("#unlearn").click()
    finished(page)
    turn(page, "export")
    page.locator(".takeaway-item").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
