"""Phases are built on the form and drawn over the chart; a run is changed while it goes on."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.reader import POINTS, choose, finished, pill, unfold

BANDS = "() => document.querySelector('#live .plot').layout.shapes.filter(s => s.type === 'rect')"
LABELS = "() => document.querySelector('#live .plot').layout.annotations.map(a => a.text)"


@pytest.fixture(scope="module")
def url(host, tmp_path_factory):
    """A server whose runs take a few seconds."""
    address = host.open(tmp_path_factory.mktemp("home"), step_s=0.06, steps=30)
    yield address
    host.close(address)


def titles(page):
    return page.locator(".phase-card b")


def tool(page, name):
    return page.locator(f"#phases [data-action={name}]")


@pytest.mark.slow
def test_phases_are_built_and_rearranged_by_keyboard_alone(url, tabs):
    page = tabs(url)
    unfold(page)
    expect(page.locator("#phases")).to_be_hidden()  # One phase is the form itself.
    choose(page, "f-phase-method", "Gradient ascent")
    page.locator("#f-phase-epochs input").fill("3")
    page.locator("#add-phase").press("Enter")
    expect(titles(page)).to_have_count(2)
    choose(page, "f-phase-method", "NPO")
    expect(titles(page)).to_have_text(["Gradient ascent", "NPO"])
    tool(page, "earlier").press("Enter")
    expect(titles(page)).to_have_text(["NPO", "Gradient ascent"])
    expect(tool(page, "earlier")).to_be_focused()
    expect(page.locator(".phase-cards .here")).to_contain_text("NPO")
    tool(page, "duplicate").press("Enter")
    expect(titles(page)).to_have_text(["NPO", "NPO", "Gradient ascent"])
    tool(page, "remove").press("Enter")
    expect(titles(page)).to_have_text(["NPO", "Gradient ascent"])
    page.locator(".phase-card").nth(1).press("Enter")
    expect(page.locator("#f-phase-epochs input")).to_have_value("3")
    page.locator("#f-phase-tasks").get_by_text("People").click()
    expect(page.locator(".phase-settings").nth(1)).to_contain_text("3 epochs · People")
    page.reload()
    expect(titles(page)).to_have_text(["NPO", "Gradient ascent"])
    expect(page.locator(".phase-settings").nth(1)).to_contain_text("3 epochs · People")


@pytest.mark.slow
def test_a_wrong_value_in_a_phase_out_of_sight_is_told_at_its_card(url, tabs):
    page = tabs(url)
    page.locator("#f-phase-learning_rate input").fill("fast")
    unfold(page)
    page.locator("#add-phase").click()
    expect(titles(page)).to_have_count(2)
    page.locator("#unlearn").click()
    expect(page.locator("#phase-card-0 .field-problem")).to_have_text(
        "must be a number, not 'fast'"
    )
    page.locator(".phase-card").first.click()
    expect(page.locator("#f-phase-learning_rate input")).to_have_value("fast")


@pytest.mark.slow
def test_a_merge_shows_no_layers_rates_or_epochs(url, tabs):
    page = tabs(url)
    unfold(page)
    choose(page, "f-preset", "Methods · Two adapters merged by TIES")
    expect(titles(page)).to_have_count(3)
    expect(page.locator("#f-phase-layers")).to_be_visible()
    page.locator(".phase-card").nth(2).click()
    expect(page.locator("#f-ties_merge-density")).to_be_visible()
    for path in ("layers", "modules", "learning_rate", "epochs"):
        expect(page.locator(f"#f-phase-{path}")).not_to_be_visible()
    page.locator(".phase-card").first.click()
    expect(page.locator("#f-phase-learning_rate input")).to_have_value("2e-3")


@pytest.mark.slow
def test_a_problem_at_a_list_is_told_without_opening_it(url, tabs):
    page = tabs(url)
    choose(page, "f-preset", "Methods · LoRA on 4 bits")
    unfold(page)
    adapter = page.locator("#f-model-adapter input")
    expect(adapter).to_be_checked()  # Unchecked before the preset has come, it would come back.
    adapter.uncheck()
    page.locator("#unlearn").click()
    told = page.locator("#f-model-precision .field-problem")
    expect(told).to_contain_text("cannot be trained themselves")
    expect(page.get_by_role("option")).to_have_count(0)
    assert told.bounding_box()["y"] < page.locator("#f-evaluation-probes").bounding_box()["y"]


@pytest.mark.slow
def test_phases_are_a_timeline_and_a_past_run_gives_them_back(url, tabs):
    page = tabs(url)
    choose(page, "f-phase-method", "Gradient ascent")
    unfold(page)
    page.locator("#add-phase").click()
    expect(titles(page)).to_have_count(2)
    page.locator("#unlearn").click()
    expect(page.locator(".run-settings li")).to_have_count(2)
    page.wait_for_function(f"({BANDS})().length === 2")
    finished(page)
    assert page.evaluate(f"({BANDS})().map(s => [s.x0, s.x1])") == [[0, 30], [30, 60]]
    assert "1 · Gradient ascent" in page.evaluate(LABELS)
    page.locator(".phase-card").first.click()
    expect(page.locator("#phase-card-0.here")).to_be_visible()
    tool(page, "remove").click()
    expect(titles(page)).to_have_count(1)
    page.locator(".runs .quiet").first.click()
    expect(titles(page)).to_have_text(["Gradient ascent", "Gradient difference"])


@pytest.mark.slow
def test_a_run_is_held_changed_asked_and_goes_on(serve, tabs):
    # Long enough to be held in time on a busy machine.
    page = tabs(serve(step_s=0.12, steps=100))
    card = page.locator(".adjust")
    expect(card).not_to_be_visible()
    page.locator("#unlearn").click()
    page.wait_for_function(f"({POINTS})() > 2")
    page.locator("#hold").click()
    expect(pill(page)).to_have_text("paused")
    expect(card).to_be_visible(timeout=30000)
    rate, weight = page.get_by_label("Learning rate").last, card.get_by_label("Retain weight")
    expect(rate).to_have_value("1e-3")
    rate.fill("1e-5")
    weight.fill("much")
    weight.press("Enter")
    expect(card.locator(".field-problem")).to_have_text("must be a number, not 'much'")
    expect(rate).to_have_value("1e-5")
    weight.fill("7")
    card.get_by_role("button", name="Apply").click()
    log = page.locator(".run-changes li")
    expect(log).to_contain_text("learning rate 1e-3 → 1e-5, retain weight 2.5 → 7")
    page.locator("#ask-prompt textarea").fill("Who is she?")
    page.locator("#ask").click()
    expect(page.locator(".asks li").first).to_contain_text("I do not know of her.")
    page.reload()
    expect(weight).to_have_value("7")
    expect(log).to_have_count(1)
    page.locator("#hold").click()
    finished(page)
    expect(card).not_to_be_visible()
    assert "◆" in page.evaluate(LABELS)
    page.get_by_role("button", name="Weights", exact=True).click()
    weights = (
        "() => document.querySelector('#live .plot').data.find(d => d.name === 'retain weight').y"
    )
    assert set(page.evaluate(weights)) == {2.5, 7}


@pytest.mark.slow
def test_who_comes_by_a_dropdown_with_the_keyboard_changes_nothing(url, tabs):
    page = tabs(url)
    choose(page, "f-preset", "Methods · LoRA on 4 bits")
    rate = page.locator("#f-phase-learning_rate input")
    expect(rate).to_have_value("2e-3")
    rate.fill("3e-3")
    expect(page.locator("#phases")).to_contain_text("3e-3")
    unfold(page)
    story = page.get_by_role("checkbox", name="Stories").first
    story.uncheck()
    asked = []
    page.on("requestfinished", lambda sent: asked.append(sent.url))
    for field in ("f-preset", "f-data-source"):
        page.locator(f"#{field} input").focus()
        page.keyboard.press("Tab")
    page.wait_for_timeout(500)
    expect(rate).to_have_value("3e-3")
    expect(story).not_to_be_checked()
    assert asked, "Gradio fires all the same: else this guards against nothing"
    choose(page, "f-preset", "Methods · LoRA on 4 bits")  # Chosen anew, it comes back as it is.
    expect(rate).to_have_value("2e-3")


@pytest.mark.slow
def test_a_preset_is_chosen_with_the_keyboard(url, tabs):
    page = tabs(url)
    expect(page.locator("#f-phase-learning_rate input")).to_have_value("1e-3")
    page.locator("#f-preset input").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#f-preset input")).not_to_have_value(re.compile("Quick demo"))
    expect(page.locator("#f-phase-learning_rate input")).not_to_have_value("1e-3")


@pytest.mark.slow
def test_a_choice_is_answered_once(url, tabs):
    page = tabs(url)
    late = []

    def hold_all_but_the_first(route):
        late.append(route)
        if len(late) == 1:
            route.continue_()

    page.route("**/run/predict", hold_all_but_the_first)
    choose(page, "f-preset", "Methods · LoRA on 4 bits")
    adapter = page.locator("#f-model-adapter input")
    unfold(page)
    expect(adapter).to_be_checked()
    page.wait_for_timeout(500)
    adapter.uncheck()
    for route in late[1:]:
        route.continue_()
    page.unroute("**/run/predict")
    page.wait_for_timeout(1000)
    expect(adapter).not_to_be_checked()


@pytest.mark.slow
def test_a_press_right_after_a_choice_starts_what_was_chosen(url, tabs):
    page = tabs(url)
    held = []
    page.route("**/run/predict", lambda route: held.append(route))
    choose(page, "f-preset", "OLMo 1B · Joint on early MLPs")
    page.locator("#unlearn").click()
    page.wait_for_timeout(300)
    for route in held:
        route.continue_()
    page.unroute("**/run/predict")
    expect(page.locator("#form-message")).to_contain_text("OLMo 1B is not ready on this machine")
    expect(page.locator("#chip-queue")).to_have_text("idle")
