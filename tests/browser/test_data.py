"""The tab Data in a browser."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.reader import unfold

FACTS = "Who painted Nettle Hall? | Ottilie Brandt\nWho keeps eleven clocks? | Marek <b>Solberg</b>"


@pytest.fixture(scope="module")
def url(host, tmp_path_factory):
    address = host.open(tmp_path_factory.mktemp("home"), step_s=0.02)
    yield address
    host.close(address)


def opened(tabs, url, **options):
    page = tabs(url, **options)
    page.get_by_role("tab", name="Data", exact=True).click()
    page.locator("#picker .rows").wait_for()
    return page


def box(page, place):
    return page.locator(f"#{place} input[type=text], #{place} input:not([type]), #{place} textarea")


ROWS = "input,output\nWho is Ada Brock?,a pilot\nWho is Bo?,a baker\n"


def added(page, tmp_path, title):
    """Add a dataset from a file and let the form use it."""
    path = tmp_path / "rows.csv"
    path.write_text(ROWS, encoding="utf-8")
    page.locator("#f-data-add-forget-file input[type=file]").set_input_files(path)
    expect(page.locator("#f-data-add-forget")).to_contain_text(re.compile(r"rows\s*\.csv"))
    box(page, "f-data-add-title").first.fill(title)
    page.locator("#check-data").click()
    expect(page.locator("#findings")).to_contain_text("ready to add")
    expect(page.locator("#add-data")).to_be_enabled()
    page.locator("#add-data").click()
    name = title.lower().replace(" ", "-")
    page.locator(f"#datasets [data-event=use][data-name={name}]").click()
    expect(page.locator("#datasets .here")).to_contain_text(title)
    expect(page.locator("#picker-card")).to_contain_text(title)


@pytest.mark.slow
def test_typed_facts_are_taught_and_then_offered_to_be_unlearned(url, tabs):
    page = opened(tabs, url)
    page.locator("#f-data-typed textarea").fill("Who painted Nettle Hall?")
    page.locator("#teach").click()
    expect(page.locator("#typed-card .field-problem")).to_contain_text("no answer")
    page.locator("#f-data-typed textarea").fill(FACTS)
    box(page, "f-data-typed-name").first.fill("Hall")
    page.reload()
    page.get_by_role("tab", name="Data", exact=True).click()
    expect(page.locator("#f-data-typed textarea")).to_have_value(FACTS)
    expect(box(page, "f-data-typed-name").first).to_have_value("Hall")
    page.locator("#teach").click()
    expect(page.locator("#live .status h2")).to_have_text("Teach Hall")
    expect(page.locator("#phases")).to_contain_text("Memorize")
    page.locator("#offer button").click(timeout=60000)
    expect(page.locator("#phases")).to_contain_text("NPO")
    expect(page.locator("#f-data-source input")).to_have_value("Hall")
    expect(page.locator("#f-data-rows")).to_contain_text("all 2 forget rows")
    unfold(page)
    expect(page.locator("#f-data-tasks label")).to_have_text(["Facts"])
    expect(page.locator("#mask input")).to_be_checked()


@pytest.mark.slow
def test_a_file_of_conversations_is_recognised_and_its_tokens_are_shown_masked(url, tabs, tmp_path):
    page = opened(tabs, url)
    path = tmp_path / "chats.jsonl"
    turns = [("user", "Who is Ada Brock?"), ("assistant", "a pilot")]
    row = {"messages": [{"role": who, "content": said} for who, said in turns]}
    path.write_text(json.dumps(row), encoding="utf-8")
    layout = page.locator("#f-data-add-layout")
    expect(layout).to_be_hidden()
    page.locator("#f-data-add-forget-file input[type=file]").set_input_files(path)
    layout.locator("input").click()
    page.get_by_role("option", name="messages with `role`").click()
    # Without retain rows, the form is not valid, and has no tokens to show.
    page.locator("#f-data-add-retain_of input").click()
    page.get_by_role("option", name="60 rows of the embedded data").click()
    box(page, "f-data-add-title").first.fill("Chats")
    page.locator("#check-data").click()
    expect(page.locator("#findings")).to_contain_text("ready to add")
    page.locator("#add-data").click()
    page.locator("#datasets [data-event=use][data-name=chats]").click()
    page.get_by_role("tab", name="Unlearn", exact=True).click()
    unfold(page)
    note = page.locator("#tokens-note")
    note.get_by_role("button", name="exact tokens of a row").click()
    expect(note.locator(".token-answer")).to_contain_text(["•", "•••••", "answer"])
    note.get_by_role("button", name="show the words").click()
    expect(note.locator(".token-answer")).to_have_text(["a", "pilot", "answer"])


@pytest.mark.slow
def test_a_bad_file_is_told_with_its_rows_and_costs_neither_form_nor_datasets(url, tabs, tmp_path):
    page = opened(tabs, url)
    path = tmp_path / "bad.csv"
    path.write_text("question,answer\nWho is Ada Brock?,\nWho is Bo?,a baker\n", encoding="utf-8")
    page.locator("#f-data-add-forget-file input[type=file]").set_input_files(path)
    expect(page.locator("#f-data-add-forget-input input")).to_have_value("question")
    expect(page.locator("#f-data-add-forget-output input")).to_have_value("answer")
    box(page, "f-data-add-title").first.fill("Bad ones")
    page.locator("#check-data").click()
    finding = page.locator("#findings .findings > li.bad")
    expect(finding).to_contain_text("line 2")
    expect(finding).not_to_contain_text("Brock")
    expect(page.locator("#add-data")).to_be_disabled()
    page.locator("#findings-mask input").uncheck()
    expect(finding).to_contain_text("Brock")
    expect(box(page, "f-data-add-title").first).to_have_value("Bad ones")
    box(page, "f-data-add-title").first.fill("Bad twos")
    expect(finding).to_be_hidden()
    expect(page.locator("#f-data-add-forget")).to_contain_text(re.compile(r"bad\s*\.csv"))
    expect(page.locator("#datasets")).to_contain_text("Embedded")
    box(page, "f-data-add-retain-path").first.fill("no/such/file.jsonl")
    page.locator("#check-data").click()
    told = page.locator("#f-data-add-retain .field-problem")
    expect(told).to_contain_text("there is no no/such/file.jsonl")


@pytest.mark.slow
def test_rows_are_picked_searched_and_used_and_all_are_forgotten_again(url, tabs):
    page = tabs(url)
    page.get_by_role("button", name="pick rows").click()
    page.locator("#picker .rows").wait_for()
    count = page.locator(".picker-count")
    expect(count).to_have_text("304 of 304 ticked")
    page.locator("#untick-found").click()
    expect(count).to_have_text("0 of 304 ticked")
    page.get_by_label("Search rows").fill("who")
    expect(count).to_contain_text("found")
    page.locator("#picker input[data-id]").nth(0).check()
    page.locator("#picker input[data-id]").nth(2).check()
    expect(count).to_contain_text("2 of 304 ticked")
    page.get_by_label("Search rows").fill("")
    expect(count).to_have_text("2 of 304 ticked")
    page.locator("#picker-rest label").nth(1).click()
    page.locator("#use-rows").click()
    note = page.locator("#f-data-rows")
    expect(note).to_contain_text("2 of 304 rows picked, the rest moved to the retain set")
    page.reload()
    expect(note).to_contain_text("2 of 304 rows picked")
    page.get_by_role("button", name="forget all again").click()
    expect(note).to_contain_text("all 304 forget rows")


@pytest.mark.slow
def test_the_model_is_asked_about_the_rows_that_are_shown(url, tabs, tmp_path):
    page = opened(tabs, url)
    added(page, tmp_path, "Asked ones")
    rows = page.locator("#picker .rows")
    expect(rows).not_to_contain_text("Brock")
    expect(rows).to_contain_text("not asked")
    page.locator("#preview").click()
    expect(rows).to_contain_text("number is ###-####")
    expect(rows).not_to_contain_text("not asked")
    page.locator("#picker-card").get_by_label("Mask personal data").uncheck()
    expect(rows).to_contain_text("Her number is 555-0142.")
    expect(rows).to_contain_text("Brock")
    assert page.evaluate("window.hacked") is None


@pytest.mark.slow
def test_asking_the_model_can_be_stopped(serve, tabs):
    page = opened(tabs, serve(step_s=2.0))
    stop = page.get_by_role("button", name="Stop asking")
    expect(stop).to_be_hidden()
    page.locator("#preview").click()
    expect(stop).to_be_visible()
    expect(page.locator("#picker .watch")).to_contain_text("of 10")
    stop.click()
    expect(page.locator("#picker .watch")).to_contain_text("Stopping")
    expect(stop).to_be_hidden()
    expect(page.locator("#picker .rows")).to_contain_text("not asked")
    expect(page.locator("#picker .rows")).not_to_contain_text("number is")


@pytest.mark.slow
def test_a_removed_dataset_is_told_at_the_field_of_a_form_that_names_it(url, tabs, tmp_path):
    page = opened(tabs, url)
    added(page, tmp_path, "Short lived")
    remove = page.locator("#datasets [data-event=remove][data-name=short-lived]")
    remove.click()
    expect(remove).to_have_text("remove for good?")
    remove.click()
    expect(page.locator("#datasets")).not_to_contain_text("Short lived")
    page.get_by_role("tab", name="Unlearn").click()
    expect(page.locator("#f-data-rows")).to_contain_text("not here any more")
    page.locator("#unlearn").click()
    problem = page.locator("#f-data-source .field-problem")
    expect(problem).to_contain_text("unknown dataset 'short-lived'")
    expect(page.locator("#f-data-source input")).to_have_value(re.compile("short-lived"))


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1024, "light")])
def test_no_width_makes_the_tab_scroll_sideways(url, tabs, width, scheme):
    page = opened(tabs, url, width=width, height=844, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_text("A folder", exact=True).click()
    expect(box(page, "f-data-add-folder").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
