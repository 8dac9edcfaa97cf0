"""Answers that overtake each other on their way: what was chosen last is what the page shows."""

import re
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from tests.browser.test_rows import ran, saved

REQUESTS = "**/run/predict"


@contextmanager
def holding_the_first(page, asks=lambda request: True):
    """Keep a request from the server until the block ends, and wait for its answer then."""
    held = []

    def hold(route):
        if held or not asks(route.request):
            route.continue_()
        else:
            held.append(route)

    page.route(REQUESTS, hold)
    yield
    with page.expect_response(lambda answer: answer.request == held[0].request):
        held[0].continue_()
    page.unroute(REQUESTS)


def begun(serve, tabs):
    """Open a finished run, with the pager of its answers."""
    page = ran(serve, tabs)
    pager = page.locator("#answers .pager")
    expect(pager).to_contain_text("of 72")
    return page, pager


def asked_for_answers(request):
    """Tell whether a request carries the table's page that was turned to."""
    return '"page": 1' in (request.post_data or "").replace('":1', '": 1')


def count(page, words):
    return page.locator("#answers-card").get_by_text(re.compile(rf"^{words} \d+$"))


@pytest.mark.slow
def test_what_was_chosen_last_holds_whichever_is_answered_first(serve, tabs):
    page, pager = begun(serve, tabs)
    with holding_the_first(page):
        pager.get_by_role("button", name="Next page").click()
        count(page, "All").click()
        expect(pager).to_contain_text("1 to 20 of 144")
    # The overtaken answer is hidden until the next one is there.
    expect(pager).to_be_visible()
    expect(pager).to_contain_text("1 to 20 of 144")
    expect(page.locator("#answers-labels")).to_contain_text("Leaked or known")


@pytest.mark.slow
def test_of_choices_made_while_one_is_on_its_way_the_last_one_is_drawn(serve, tabs):
    page, pager = begun(serve, tabs)
    with holding_the_first(page):
        count(page, "Retain").click()
        count(page, "All").click()
    expect(pager).to_contain_text("of 144")
    expect(page.locator("#answers-labels")).to_contain_text("Leaked or known")


@pytest.mark.slow
def test_a_drawing_asked_for_before_the_data_were_masked_does_not_unmask_them(serve, tabs):
    page = ran(serve, tabs)
    other = tabs(page.url, context=page.context)
    expect(page.locator("#answers")).to_contain_text("666")
    with holding_the_first(page):
        with page.expect_request(REQUESTS):
            other.locator("#unlearn").click()
        page.get_by_label("Mask personal data", exact=True).check()
        expect(page.locator("#answers")).not_to_contain_text("666")
    page.wait_for_timeout(800)
    expect(page.get_by_label("Mask personal data", exact=True)).to_be_checked()
    expect(page.locator("#answers")).not_to_contain_text("666")
    assert saved(page)[0].endswith("-masked.csv")


@pytest.mark.slow
def test_a_page_that_was_turned_stays_while_other_runs_come_and_go(serve, tabs):
    page = ran(serve, tabs)
    pager = page.locator("#answers .pager")
    pager.get_by_role("button", name="Next page").click()
    expect(pager).to_contain_text("21 to 40 of 72")
    other = tabs(page.url, context=page.context)
    with page.expect_response(lambda answer: asked_for_answers(answer.request)):
        other.locator("#unlearn").click()
    expect(page.locator("#runs .pill")).to_have_text(["finished", "finished"])
    expect(pager).to_contain_text("21 to 40 of 72")
    page.get_by_label("Search answers").fill("chemist")
    expect(pager).to_contain_text("1 to 20 of")


@pytest.mark.slow
def test_a_row_ticked_while_an_answer_is_on_its_way_stays_ticked(serve, tabs):
    page = tabs(serve())
    page.get_by_role("tab", name="Data", exact=True).click()
    rows = page.locator("#picker input[data-id]")
    expect(rows.first).to_be_checked()
    with holding_the_first(page):
        page.locator("#picker-card").get_by_label("Search rows").fill("is")
        expect(page.locator(".picker-count")).not_to_contain_text("found")
        rows.nth(1).uncheck()
    expect(page.locator(".picker-count")).to_contain_text("found")
    expect(page.locator(".picker-count")).to_contain_text("303 of 304 ticked")
