"""Comparing runs in a browser: a selection and its link, the panels, what a reader changes."""

import pytest
from playwright.sync_api import expect

from tests.stored_runs import fill

RUNS = 40


@pytest.fixture
def ids(tmp_path):
    """Fill the folder that pages are served on; ids, newest first."""
    return fill(tmp_path, RUNS, 20, models=5)[::-1]


def compared(page):
    page.get_by_role("tab", name="Compare").click()
    page.locator(".all-runs").wait_for()
    return page


def rows(page):
    return page.locator(".all-runs tbody tr[data-run]")


def tick(page, place, **how):
    rows(page).nth(place).locator("[data-pick]").click(**how)


def ranked(page):
    return page.locator(".ranking [data-drop]")


@pytest.mark.slow
def test_a_selection_is_compared_and_its_link_shows_it_elsewhere(serve, tabs, ids):
    page = compared(tabs(serve()))
    expect(page.get_by_text("Select runs to compare them")).to_be_visible()
    tick(page, 1)
    tick(page, 4, modifiers=["Shift"])
    tick(page, 2)
    expect(ranked(page)).to_have_count(3)
    expect(page.locator('[data-part="count"]')).to_have_text("3 selected")
    chosen = [ids[1], ids[3], ids[4]]
    assert f"compare={','.join(chosen)}" in page.url
    assert "tab=compare" in page.url
    expect(page.locator("#compare-panel .js-plotly-plot")).to_have_count(3)
    page.locator("#panel-charts").focus()
    for heading in ("adapter", "Min-K% AUC", "learning rate", "example 1 of 72"):
        page.keyboard.press("ArrowRight")
        if heading != "adapter":
            expect(page.locator("#compare-panel")).to_contain_text(heading)
    page.locator('[data-weight="mia"]').fill("4")
    expect(page.locator(".ranking thead").first).to_contain_text("Weighted")

    link = f"{page.url.split('?')[0]}?tab=compare&room=answers&compare={','.join(chosen)},gone"
    other = tabs(link, ready=False)
    expect(ranked(other)).to_have_count(3)
    expect(other.get_by_text("1 run of this link is not in this store")).to_be_visible()
    other.get_by_role("button", name="Leave out").click()
    expect(other.get_by_text("1 run of this link")).to_have_count(0)
    expect(other.locator("#compare-panel")).to_contain_text("example 1 of 72")
    other.get_by_role("tab", name="Unlearn").click()
    other.wait_for_function("!location.search.includes('tab=')")


@pytest.mark.slow
def test_runs_are_found_renamed_tagged_pinned_deleted_and_brought_back(serve, tabs, ids):
    page = compared(tabs(serve()))
    total = page.locator('#compare-list [data-part="total"]')
    search = page.get_by_label("Search all runs")
    search.fill(ids[7])
    expect(total).to_have_text(f"1 of {RUNS} runs")
    rows(page).get_by_role("button", name="Edit name").click()
    form = page.locator(".edit-form")
    form.get_by_label("Name").fill("<b>Best of all</b>")
    form.get_by_label("Tags").fill("paper, stage")
    form.get_by_label("Notes").fill("to be shown")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(rows(page)).to_contain_text("<b>Best of all</b>")
    expect(rows(page)).to_contain_text("to be shown")
    rows(page).get_by_role("button", name="Pin").click()
    expect(rows(page).locator(".pinned")).to_be_visible()

    search.fill("")
    expect(rows(page).first).to_contain_text("Best of all")
    page.get_by_label("Tag", exact=True).select_option("stage")
    expect(total).to_have_text(f"1 of {RUNS} runs")
    page.get_by_label("Tag", exact=True).select_option("")
    page.get_by_role("button", name="Final ↑").click()
    expect(page.locator('th[aria-sort="descending"]')).to_contain_text("Final")

    page.get_by_role("button", name=f"Select all {RUNS} found").click()
    expect(page.locator('[data-part="count"]')).to_have_text(f"{RUNS} selected")
    page.get_by_role("button", name="Clear").click()
    tick(page, 0)
    tick(page, 1)
    page.get_by_role("button", name="Report").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download as one HTML file").click()
    report = waiting.value.path().read_text(encoding="utf-8")
    assert "2 runs compared" in report
    assert "&lt;b&gt;Best of all" in report
    page.get_by_role("group", name="Selection").get_by_role("button", name="Delete").click()
    expect(total).to_have_text(f"{RUNS - 2} runs")
    page.reload()
    compared(page).get_by_role("button", name="Undo").click()
    expect(total).to_have_text(f"{RUNS} runs")
    expect(page.locator(".undo")).to_be_hidden()


@pytest.mark.slow
def test_up_to_four_models_answer_a_free_prompt(serve, tabs, ids):
    page = tabs(f"{serve()}?tab=compare&room=ask&compare={','.join(ids[:5])}", ready=False)
    boxes = page.get_by_role("group", name="Runs to ask")
    expect(boxes.locator("input:checked")).to_have_count(4)
    expect(boxes.locator("input:disabled")).to_have_count(1)
    boxes.locator("input").first.uncheck()
    page.get_by_label("Prompt to several runs").fill("Who is Yara Brock?")
    page.keyboard.press("Enter")
    expect(page.locator(".said").get_by_text("I do not know of her.")).to_have_count(3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "panel", ["charts", "settings", "measures", "differences", "answers", "ask"]
)
def test_every_panel_fits_a_phone(serve, tabs, ids, panel):
    address = f"{serve()}?tab=compare&room={panel}&compare={','.join(ids[:4])}"
    page = tabs(address, ready=False, width=390, height=800)
    expect(ranked(page)).to_have_count(4)
    page.wait_for_function("document.querySelector('#compare-panel').childElementCount")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.slow
def test_a_run_is_opened_and_a_new_one_appears_by_itself(serve, tabs, ids):
    page = compared(tabs(serve(step_s=0.01, steps=5)))
    rows(page).first.locator(".open").click()
    expect(page.locator('#live [data-part="status"] h2')).to_be_visible()
    page.locator("#unlearn").click()
    page.get_by_role("tab", name="Compare").click()
    total = page.locator('#compare-list [data-part="total"]')
    expect(total).to_have_text(f"{RUNS + 1} runs")
