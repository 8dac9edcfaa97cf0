"""Comparing runs in a browser: a selection and its link, the panels, what a reader changes."""

import re

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
    for heading in ("", "Min-K% AUC", "learning rate", "Task aggregate", "example 1 of 72"):
        page.keyboard.press("ArrowRight")
        if heading:
            expect(page.locator("#compare-panel")).to_contain_text(re.compile(heading))
    page.locator('[data-weight="mia"]').fill("4")
    expect(page.locator(".ranking thead").first).to_contain_text("Weighted")

    link = f"{page.url.split('?')[0]}?tab=compare&room=answers&compare={','.join(chosen)},gone"
    other = tabs(link, ready=False)
    expect(ranked(other)).to_have_count(3)
    expect(other.get_by_text("1 run of this link is not in this store")).to_be_visible()
    other.get_by_role("button", name="Leave out").click()
    expect(other.get_by_text("1 run of this link")).to_have_count(0)
    expect(other.locator("#compare-panel")).to_contain_text("example 1 of 72")
    masked = other.locator('[data-option="masked"]')
    masked.check()
    expect(other.locator("#compare-panel")).to_contain_text("•")
    tick(other, 0)
    expect(masked).not_to_be_checked()
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
    tick(page, 0)
    page.get_by_role("group", name="Selection").get_by_role("button", name="Delete").click()
    expect(total).to_have_text(f"{RUNS - 3} runs")
    expect(page.locator(".undo")).to_contain_text("3 runs are deleted")
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
    "panel", ["charts", "settings", "measures", "differences", "contrast", "answers", "ask"]
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


@pytest.mark.slow
def test_a_query_columns_and_a_baseline_are_kept_as_a_view_and_in_the_link(serve, tabs, ids):
    page = compared(tabs(serve()))
    total = page.locator('#compare-list [data-part="total"]')
    search = page.get_by_label("Search all runs")
    search.fill("agregate>0.5")
    expect(page.locator("#query-wrong")).to_contain_text("did you mean aggregate")
    expect(search).to_have_attribute("aria-invalid", "true")
    search.fill("seed=1")
    expect(total).to_have_text(f"8 of {RUNS} runs")
    expect(page.locator("#query-wrong")).to_be_hidden()

    page.locator("summary", has_text="Columns").click()
    page.locator('[data-part="columns"] input[value="mia_auc"]').check()
    expect(page.locator(".all-runs thead")).to_contain_text("MIA AUC")
    page.keyboard.press("Escape")
    expect(page.locator('[data-part="columns"] > div')).to_be_hidden()
    rows(page).nth(2).get_by_role("button", name="Baseline").click()
    expect(page.locator(".base .tag").first).to_have_text("baseline")
    expect(page.locator(".all-runs .change.bad, .all-runs .change.good").first).to_be_visible()

    page.get_by_role("button", name="Save view").click()
    page.get_by_label("Name of the view").fill("Mine")
    page.keyboard.press("Enter")
    views = page.get_by_label("View", exact=True)
    expect(views).to_have_value("=Mine")
    link = page.url
    views.select_option("usual")
    expect(total).to_have_text(f"{RUNS} runs")
    page.reload()
    compared(page)
    page.get_by_label("View", exact=True).select_option("Mine")
    expect(total).to_have_text(f"8 of {RUNS} runs")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="CSV").first.click()
    head = waiting.value.path().read_text(encoding="utf-8").splitlines()[0]
    assert "mia_auc change" in head

    other = tabs(link, ready=False)
    expect(other.locator('#compare-list [data-part="total"]')).to_have_text(f"8 of {RUNS} runs")
    expect(other.locator(".base .tag").first).to_have_text("baseline")


@pytest.mark.slow
def test_a_stretch_of_an_axis_filters_the_list_and_axes_are_moved(serve, tabs, ids):
    page = tabs(f"{serve()}?tab=compare&room=settings&compare={','.join(ids[:6])}", ready=False)
    page.locator("#compare-panel .js-plotly-plot").wait_for()
    axes = page.locator('[data-part="axes"] li span')
    expect(axes.first).to_have_text("learning rate")
    page.wait_for_function("document.querySelector('#compare-panel .plot').dataset.brushed")
    page.locator("#compare-panel .plot").scroll_into_view_if_needed()
    where = """(axis) => {
          const plot = document.querySelector('#compare-panel .plot');
          const { xaxis, yaxis, _size: size } = plot._fullLayout;
          const { left, top } = plot.getBoundingClientRect();
          const y = (share) => top + size.t + yaxis.l2p(share);
          return { x: left + size.l + xaxis.l2p(axis), top: y(1), middle: y(0.5) };
        }"""
    at = page.evaluate(where, 0)
    page.mouse.move(at["x"], at["top"])
    page.mouse.down()
    page.mouse.move(at["x"], at["middle"], steps=4)
    page.mouse.up()
    search = page.get_by_label("Search all runs")
    expect(search).to_have_value(re.compile(r"^learning_rate:[\d.e-]+\.\.[\d.e-]*$"))
    expect(page.locator('#compare-list [data-part="total"]')).to_contain_text(f"of {RUNS} runs")
    page.mouse.click(at["x"], at["top"])
    expect(search).to_have_value("")
    page.get_by_role("button", name="Move right: learning rate").click()
    expect(axes.nth(1)).to_have_text("learning rate")
    page.get_by_label("Add an axis").select_option("weight_decay")
    expect(axes.last).to_have_text("weight decay")
    page.get_by_label("Add an axis").select_option("created")
    expect(axes.last).to_have_text("Started")
    page.wait_for_function("document.querySelector('#compare-panel .plot').dataset.brushed")
    at = page.evaluate(where, axes.count() - 1)
    page.mouse.move(at["x"], at["top"])
    page.mouse.down()
    page.mouse.move(at["x"], at["middle"], steps=4)
    page.mouse.up()
    # A few minutes decide, of seconds since 1970.
    total = page.locator('#compare-list [data-part="total"]')
    expect(total).to_have_text(re.compile(rf"^[2-4] of {RUNS} runs"))
