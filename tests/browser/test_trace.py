"""The tab Trace in a browser."""

import pytest
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def url(host, tmp_path_factory):
    address = host.open(tmp_path_factory.mktemp("home"), step_s=0.02)
    yield address
    host.close(address)


def opened(tabs, url, **options):
    page = tabs(url, **options)
    page.get_by_role("tab", name="Trace").click()
    page.locator("#trace").wait_for()
    return page


CURVES = "#trace-found .plot path.js-line"

SHOWN = "document.querySelector('#traces .here [data-open]')?.dataset.open"


def traced(page):
    """Trace what the form says, and wait for that trace, not for an earlier one."""
    expect(page.locator("#trace")).to_be_enabled()
    before = page.evaluate(SHOWN)
    page.locator("#trace").click()
    page.wait_for_function(f"before => {SHOWN} !== before", arg=before)
    expect(page.locator("#trace-live .pill")).to_have_text("finished", timeout=30000)
    expect(page.locator("#trace-found .heat")).to_have_count(3)


@pytest.mark.slow
def test_a_fact_is_traced_and_the_map_stays_after_a_reload(url, tabs):
    page = opened(tabs, url)
    traced(page)
    expect(page.locator("#trace-found")).to_contain_text("Total effect")
    expect(page.locator(CURVES).first).to_be_attached()
    page.reload()
    page.get_by_role("tab", name="Trace").click()
    expect(page.locator("#trace-found .heat")).to_have_count(3)


@pytest.mark.slow
def test_layers_dragged_over_in_a_map_are_taken_to_the_form(url, tabs):
    page = opened(tabs, url)
    traced(page)
    head = page.locator("#trace-found .heat").nth(1).locator("thead th")
    start, end = head.nth(2).bounding_box(), head.nth(5).bounding_box()
    page.mouse.move(start["x"] + 5, start["y"] + 40)
    page.mouse.down()
    page.mouse.move(end["x"] + 5, end["y"] + 60, steps=5)
    page.mouse.up()
    expect(page.get_by_label("First block")).to_have_value("2")
    expect(page.get_by_label("Last block")).to_have_value("5")
    page.get_by_role("button", name="Use these layers").click()
    expect(page.locator("#f-phase-layers output")).to_have_text("Blocks 2 to 5")
    expect(page.get_by_role("tab", name="Unlearn")).to_have_attribute("aria-selected", "true")


@pytest.mark.slow
def test_a_subject_that_is_not_in_the_prompt_is_told_at_its_field(url, tabs):
    page = opened(tabs, url)
    page.get_by_text("A prompt", exact=True).click()
    page.get_by_label("Prompt", exact=True).fill("Who is Ada <b>Brock</b>?")
    page.get_by_label("Subject", exact=True).fill("Bob")
    page.locator("#trace").click()
    told = page.locator("#f-trace-subject .field-problem")
    expect(told).to_contain_text("'Bob' is not in the prompt")
    page.get_by_label("Subject", exact=True).fill("<b>Brock</b>")
    traced(page)
    expect(page.locator("#trace-live h2")).to_have_text("Who is Ada <b>Brock</b>?")
    expect(page.locator("#traces li").first).to_contain_text("own prompt")
    page.reload()
    page.get_by_role("tab", name="Trace").click()
    expect(page.get_by_label("Subject", exact=True)).to_have_value("<b>Brock</b>")


@pytest.mark.slow
def test_what_was_asked_for_outlives_two_reloads(url, tabs):
    page = opened(tabs, url)
    page.get_by_text("A prompt", exact=True).click()
    page.get_by_label("Subject", exact=True).fill("Ada")
    page.get_by_text("Average", exact=True).click()
    page.locator("#f-trace-count input").fill("7")
    for _ in range(2):
        page.reload()
        page.get_by_role("tab", name="Trace").click()
        expect(page.locator("#f-trace-count input")).to_have_value("7")
    page.get_by_text("A prompt", exact=True).click()
    expect(page.get_by_label("Subject", exact=True)).to_have_value("Ada")


@pytest.mark.slow
def test_personal_data_are_masked_on_request_and_the_curves_stay(url, tabs):
    page = opened(tabs, url)
    traced(page)
    said = page.locator("#trace-live h2").inner_text()
    page.get_by_label("Mask personal data").last.check()
    expect(page.locator("#trace-live h2")).to_contain_text("•")
    expect(page.locator("#traces")).not_to_contain_text(said)
    expect(page.locator(CURVES).first).to_be_attached()


@pytest.mark.slow
def test_an_earlier_trace_is_opened_again_and_the_phone_has_no_side_scroll(url, tabs):
    page = opened(tabs, url, width=390, height=844, scheme="dark")
    page.get_by_text("Average", exact=True).click()
    traced(page)
    expect(page.locator("#trace-found")).to_contain_text("Mean of 2 facts")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#traces [data-open]").last.click()
    expect(page.locator("#trace-found")).to_contain_text("measured at")
    expect(page.locator(CURVES).first).to_be_attached()
