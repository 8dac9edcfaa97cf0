"""The scoreboard opens into its rows: filtered, sorted, saved."""

import csv
import re

import pytest
from playwright.sync_api import expect

from tests.browser.reader import finished, turn
from tests.browser.test_takeaway import downloaded

IN_SIGHT = """() => {
  const { top } = document.querySelector("#answers-card h2").getBoundingClientRect();
  return top >= 0 && top < innerHeight;
}"""


def ran(serve, tabs, **options):
    page = tabs(serve(step_s=0.01, steps=5), **options)
    page.locator("#unlearn").click()
    finished(page)
    page.locator("#scoreboard .score").first.wait_for()
    return page


def saved(page):
    name, path = downloaded(page, page.locator("#answers-csv").click)
    with path.open(encoding="utf-8", newline="") as lines:
        return name, list(csv.DictReader(lines))


@pytest.mark.slow
def test_a_term_opens_into_its_rows_which_are_sorted_filtered_and_saved(serve, tabs):
    page = ran(serve, tabs)
    card, rows = page.locator("#answers-card"), page.locator("#answers tbody tr")
    pager = page.locator("#answers .pager")
    page.get_by_label("Search answers").fill("nobody")
    expect(page.locator("#answers")).to_contain_text("No row passes")

    turn(page, "terms")
    page.locator("#strip").get_by_label(re.compile("^forget People recite")).press("Enter")
    expect(pager).to_contain_text("of 12")
    expect(page.get_by_label("Search answers")).to_have_value("")
    expect(card.locator("h2")).to_be_focused()
    page.wait_for_function(IN_SIGHT)
    expect(rows.filter(has_text="People · recite")).to_have_count(12)

    by_score = page.get_by_role("button", name="ROUGE-L recall")
    by_score.press("Enter")
    head = page.locator("#answers th.col-score")
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(by_score).to_be_focused()
    expect(rows.first.locator(".tag.bad").first).to_have_text("Leaked")
    by_score.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(rows.last.locator(".tag.bad").first).to_have_text("Leaked")

    card.get_by_text(re.compile(r"^Leaked \d+$")).click()
    expect(rows.filter(has_not_text="Leaked")).to_have_count(0)
    shown = rows.count()
    name, found = saved(page)
    assert name.endswith("-forget-Task2-sc-leaked.csv")
    assert len(found) == shown
    assert "Her number is 666-" in found[0]["unlearned"]
    page.get_by_label("Mask personal data", exact=True).check()
    expect(page.locator("#answers")).not_to_contain_text("666")
    name, found = saved(page)
    assert name.endswith("-masked.csv")
    assert not re.search(r"\d", found[0]["unlearned"])

    page.locator("#scoreboard .opens[data-term=all]").click()
    expect(pager).to_contain_text("1 to 20 of 144")


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1024])
def test_rows_are_cards_where_columns_have_no_room(serve, tabs, width):
    page = ran(serve, tabs, width=width, height=800)
    turn(page, "terms")
    page.locator("#strip td button").nth(3).click()
    page.wait_for_function(IN_SIGHT)
    cells = page.locator("#answers tbody tr").first.locator("td")
    expect(cells).to_have_count(6)
    widths = [cells.nth(place).bounding_box()["width"] for place in range(6)]
    assert min(widths) > 250
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.get_by_label("Sort by").click()
    page.get_by_role("option", name="by likelihood", exact=True).click()
    page.get_by_label("descending", exact=True).check()
    head = page.locator("#answers th.col-likelihood")
    expect(head).to_have_attribute("aria-sort", "descending")
