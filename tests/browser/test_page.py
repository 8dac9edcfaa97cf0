"""What one reads and types on the page."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.reader import POINTS, choose, fill_seed, finished, turn, unfold
from tests.browser.slow_lab import HOSTILE, HOSTILE_SEED


def test_a_finished_run_is_rebuilt_from_the_store(ran, tabs):
    page = tabs(ran)
    finished(page)
    assert page.evaluate(POINTS) == 40
    expect(page.locator("#scoreboard")).to_contain_text("Task aggregate")
    expect(page.locator("#scoreboard")).to_contain_text("Quiz")
    assert "MMLU" not in page.locator("body").inner_text()
    expect(page.locator("#scoreboard .verdict")).to_contain_text("Forgotten")
    expect(page.locator("#scoreboard .meter em")).to_have_count(4)
    expect(page.locator("#answers tbody tr")).to_have_count(20)
    turn(page, "terms")
    expect(page.locator("#strip td[style]")).to_have_count(12)


@pytest.mark.slow
def test_answers_are_filtered_searched_and_paged(ran, tabs):
    page = tabs(ran)
    rows = page.locator("#answers tbody tr")
    pager = page.locator("#answers .pager")
    expect(pager).to_contain_text("1 to 20 of 72")
    pager.get_by_role("button", name="Next page").click()
    expect(pager).to_contain_text("21 to 40 of 72")
    page.locator("#answers-card").get_by_text("Collateral damage").click()
    expect(rows.first).to_contain_text("damaged")
    page.locator("#answers-card").get_by_text("Retain").first.click()
    page.get_by_label("Search answers").fill("yara brock phone")
    expect(pager).to_contain_text(re.compile(r"1 to \d+ of 12"))
    page.get_by_label("Search answers").fill("nobody at all")
    expect(page.locator("#answers")).to_contain_text("No row passes these filters.")


@pytest.mark.slow
def test_recited_words_are_marked_and_personal_data_can_be_masked(ran, tabs):
    page = tabs(ran)
    table = page.locator("#answers")
    expect(table.locator("mark.forget").first).to_contain_text("Her number is")
    expect(table).to_contain_text("Yara Brock")
    page.get_by_label("Mask personal data", exact=True).check()
    expect(table).not_to_contain_text("Yara Brock")
    assert not re.search(r"\d{3}-\d{2}-\d{4}", table.inner_text())


@pytest.mark.slow
def test_both_models_answer_a_prompt_and_earlier_ones_stay(ran, tabs):
    page = tabs(ran)
    page.locator("#ask-prompt textarea").fill("What is <b>her</b> number?")
    page.locator("#ask").click()
    expect(page.locator(".asks li").first).to_contain_text("I do not know of her.")
    expect(page.locator(".asks li").first).to_contain_text("What is <b>her</b> number?")
    expect(page.locator("#ask-prompt textarea")).to_have_value("")
    page.reload()
    expect(page.locator(".asks li").first).to_contain_text("I do not know of her.")


@pytest.mark.slow
def test_a_list_of_prompts_is_asked_at_once_and_its_expected_answers_are_counted(ran, tabs):
    page = tabs(ran)
    asked = "What is her number? => 555-0142\nWhat is she? => a pilot"
    page.locator("#ask-prompt textarea").fill(asked)
    page.locator("#ask").click()
    said = page.locator(".asks li").first
    expect(said.locator(".tally")).to_have_text(
        "Expected answers found: original model 1 of 2; unlearned model 0 of 2."
    )
    expect(said.locator("tbody tr")).to_have_count(2)
    expect(said.locator("tbody tr").first).to_contain_text("not found")


@pytest.mark.slow
def test_a_bad_prompt_is_told_at_its_field_and_kept(ran, tabs):
    page = tabs(ran)
    box = page.locator("#ask-prompt textarea")
    for prompt, told in (
        ("   ", "it is empty"),
        ("x" * 9000, "the prompt has 9000 characters: 8000 is the most"),
    ):
        box.fill(prompt)
        page.locator("#ask").click()
        expect(page.locator("#ask-prompt .field-problem")).to_contain_text(told)
        expect(box).to_have_value(prompt)


@pytest.mark.slow
def test_a_prompt_the_model_cannot_take_is_told_in_the_list(ran, tabs):
    page = tabs(ran)
    page.locator("#ask-prompt textarea").fill("x" * 3000)
    page.locator("#ask").click()
    expect(page.locator(".asks .failed").first).to_contain_text("the context holds 512")


BAD_VALUES = (
    ("f-phase-learning_rate", "0", "greater than 0"),
    ("f-phase-learning_rate", "-1e-3", "greater than 0"),
    ("f-phase-learning_rate", "fast", "'fast'"),
    ("f-phase-learning_rate", "nan", "nan"),
    ("f-phase-learning_rate", "<b>1</b>", "<b>1</b>"),
    ("f-phase-epochs", "0", "must be at least 1"),
    ("f-phase-epochs", "", "not empty"),
    ("f-phase-epochs", "2.5", "2.5"),
    ("f-rmu-retain_weight", "-1", "must be at least 0"),
    ("f-rmu-layer", "31", "31 is out of range"),
)
"""Fields, what is typed into them, and a part of what the page then tells."""


@pytest.mark.slow
def test_a_bad_value_is_told_at_its_field_and_the_form_keeps_it(ran, tabs):
    page = tabs(ran)
    unfold(page)
    choose(page, "f-phase-method", "RMU")
    for field, typed, told in BAD_VALUES:
        case = f"{field} = {typed!r}"
        box, problem = page.locator(f"#{field} input"), page.locator(f"#{field} .field-problem")
        box.fill(typed)
        page.locator("#unlearn").click()
        expect(problem, case).to_contain_text(told)
        expect(page.locator("#form-message"), case).to_contain_text(told)
        expect(box, case).to_have_value(typed)
        expect(page.locator("#chip-queue"), case).to_have_text("idle")
        box.fill("1")
        expect(problem, case).to_have_count(0)


@pytest.mark.slow
def test_what_was_wrong_with_another_model_is_not_told_of_this_one(ran, tabs):
    page = tabs(ran)
    choose(page, "f-preset", "OLMo 1B · Joint on early MLPs")
    page.locator("#unlearn").click()
    expect(page.locator(".left .field-problem").first).to_be_visible()
    expect(page.locator("#form-message")).to_be_visible()
    choose(page, "f-preset", "Methods · NPO")
    expect(page.locator(".left .field-problem")).to_have_count(0)
    expect(page.locator("#form-message")).to_be_hidden()


@pytest.mark.slow
def test_a_wrong_expert_setting_is_unfolded_and_told(ran, tabs):
    page = tabs(ran)
    fill_seed(page, -4)
    unfold(page)
    page.locator("#unlearn").click()
    expect(page.locator("#f-seed .field-problem")).to_contain_text("-4")


@pytest.mark.slow
def test_only_the_chosen_methods_settings_show(ran, tabs):
    page = tabs(ran)
    unfold(page)
    choose(page, "f-phase-method", "NPO")
    expect(page.locator("#f-npo-beta")).to_be_visible()
    expect(page.locator("#f-rmu-steering_coeff")).not_to_be_visible()
    choose(page, "f-phase-method", "RMU")
    expect(page.locator("#f-rmu-steering_coeff")).to_be_visible()
    expect(page.locator("#f-npo-beta")).not_to_be_visible()


@pytest.mark.slow
def test_the_range_of_blocks_obeys_the_keyboard_and_counts_parameters(ran, tabs):
    page = tabs(ran)
    size = page.locator("#size-note")
    first = page.get_by_label("First trained block")
    page.get_by_label("Last trained block").press("End")
    expect(page.locator(".rail-head output")).to_have_text("Blocks 0 to 7")
    first.focus()
    before = size.inner_text()
    for _ in range(2):
        first.press("ArrowRight")
    expect(page.locator(".rail-head output")).to_have_text("Blocks 2 to 7")
    expect(size).not_to_have_text(before)
    for _ in range(9):
        first.press("ArrowRight")
    expect(page.locator(".rail-head output")).to_have_text("Block 7")


@pytest.mark.slow
def test_the_form_is_restored_after_a_reload(ran, tabs):
    page = tabs(ran)
    unfold(page)
    choose(page, "f-phase-method", "NPO")
    page.locator("#f-npo-beta input").fill("0.37")
    page.locator("#f-phase-learning_rate input").fill("3e-4")
    page.get_by_label("Last trained block").press("End")
    page.get_by_label("Last trained block").press("ArrowLeft")
    page.wait_for_timeout(500)
    page.reload()
    unfold(page)
    expect(page.locator("#f-npo-beta input")).to_have_value("0.37")
    expect(page.locator("#f-phase-learning_rate input")).to_have_value("3e-4")
    expect(page.locator(".rail-head output")).to_have_text("Blocks 0 to 6")


@pytest.mark.slow
def test_a_late_answer_leaves_alone_what_was_typed_since(ran, tabs):
    page = tabs(ran)
    unfold(page)
    page.wait_for_load_state("networkidle")
    asked, late = [], []

    def delay(route):
        asked.append(route.request.post_data_json["fn_index"])
        # The note under the form is asked for first, the whole form after it.
        late.append(route) if asked[-1] != asked[0] else route.continue_()

    page.route("**/gradio_api/run/**", delay)
    choose(page, "f-data-fold", "validation")
    for _ in range(50):
        if not late:
            page.wait_for_timeout(100)
    page.locator("#f-phase-max_steps input").fill("6")
    expect(page.locator("#size-note")).to_contain_text(re.compile(r"(?<!\d)6 steps"))
    with page.expect_response(lambda answer: answer.request == late[0].request):
        late[0].continue_()
    page.wait_for_timeout(500)
    expect(page.locator("#f-phase-max_steps input")).to_have_value("6")
    page.unroute("**/gradio_api/run/**")
    page.reload()
    unfold(page)
    expect(page.locator("#f-phase-max_steps input")).to_have_value("6")


@pytest.mark.slow
def test_a_past_run_opens_and_gives_its_settings_to_the_form(ran, tabs):
    page = tabs(ran)
    page.locator("#f-phase-learning_rate input").fill("7e-5")
    page.locator("#unlearn").click()
    expect(page.locator(".run-settings")).to_contain_text("7e-5")
    finished(page)
    page.locator(".runs .open").last.click()
    expect(page.locator(".run-settings")).not_to_contain_text("7e-5")
    expect(page.locator("#scoreboard .verdict")).to_contain_text("Forgotten")
    page.locator("#f-phase-learning_rate input").fill("1e-6")
    page.locator(".runs .quiet").first.click()
    expect(page.locator("#f-phase-learning_rate input")).to_have_value("7e-5")


def test_what_a_model_says_is_never_run(serve, tabs):
    page = tabs(serve(step_s=0.01))
    fill_seed(page, HOSTILE_SEED)
    page.locator("#unlearn").click()
    finished(page)
    page.locator("#ask-prompt textarea").fill(HOSTILE)
    page.locator("#ask").click()
    expect(page.locator(".asks li")).to_contain_text("{{7*7}}")
    page.get_by_label("Search answers").fill(HOSTILE)
    page.locator("#f-phase-learning_rate input").fill(HOSTILE)
    page.locator("#unlearn").click()
    expect(page.locator("#f-phase-learning_rate .field-problem")).to_contain_text("<img")
    page.reload()
    expect(page.locator("#answers")).to_contain_text("<script>")
    assert page.evaluate("() => window.hacked") is None
    assert page.locator("#answers img, .asks img, #form-message img").count() == 0
    expect(page.locator("#answers")).to_contain_text("${7*7}")


@pytest.mark.slow
def test_the_chart_follows_the_theme(ran, tabs):
    page = tabs(ran, scheme="dark")
    finished(page)
    colour = "() => document.querySelector('#live .plot').data?.[0].line.color"
    page.wait_for_function(f"({colour})() === '#ff8a3d'")
    page.get_by_role("button", name="Switch between light and dark").click()
    page.wait_for_function(f"({colour})() === '#d55e00'")
    page.reload()
    finished(page)
    page.wait_for_function(f"({colour})() === '#d55e00'")


@pytest.mark.slow
def test_nothing_moves_while_the_page_polls(serve, tabs):
    page = tabs(serve(step_s=0.1))
    page.locator("#unlearn").click()
    page.wait_for_function(f"({POINTS})() > 4")
    page.wait_for_timeout(1500)
    page.evaluate(
        "() => { window.moved = 0; window.what = []; new PerformanceObserver(list => "
        "list.getEntries().forEach(e => { window.moved += e.value; window.what.push("
        "...e.sources.map(s => s.node?.className || s.node?.nodeName)) }))"
        ".observe({ type: 'layout-shift' }) }"
    )
    page.wait_for_function(f"({POINTS})() > 25")
    assert page.evaluate("() => window.moved") < 0.01, page.evaluate("() => window.what")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 1024, 720, 390])
def test_no_width_makes_the_page_scroll_sideways(ran, tabs, width):
    page = tabs(ran, width=width)
    finished(page)
    expect(page.locator("#answers tbody tr").first).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_a_past_run_that_is_shown_survives_a_reload(ran, tabs):
    page = tabs(ran)
    page.locator("#f-phase-learning_rate input").fill("6e-5")
    page.locator("#unlearn").click()
    expect(page.locator(".run-settings")).to_contain_text("6e-5")
    finished(page)
    page.locator(".runs .open").nth(1).click()
    expect(page.locator(".run-settings")).not_to_contain_text("6e-5")
    page.reload()
    finished(page)
    expect(page.locator(".run-settings")).not_to_contain_text("6e-5")


@pytest.mark.slow
def test_a_run_is_started_and_opened_by_keyboard_alone(ran, tabs):
    page = tabs(ran)
    page.locator("#f-phase-learning_rate input").fill("9e-5")
    page.locator("#unlearn").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".run-settings")).to_contain_text("9e-5")
    finished(page)
    page.locator(".runs .open").last.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".run-settings")).not_to_contain_text("9e-5")
    page.locator("#f-phase-method input").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#f-phase-method input")).not_to_have_value("Gradient difference")


@pytest.mark.slow
def test_every_control_has_a_name_for_screen_readers(ran, tabs):
    page = tabs(ran)
    unfold(page)
    page.locator("#f-seed input").wait_for()
    nameless = page.evaluate(
        "() => [...document.querySelectorAll('input, textarea, button')].filter(e => "
        "e.offsetParent && !(e.ariaLabel || e.labels?.[0]?.innerText || e.title"
        " || e.textContent.trim()))"
        ".map(e => e.outerHTML.slice(0, 120))"
    )
    assert nameless == []


@pytest.mark.slow
def test_a_preset_whose_model_is_not_here_can_be_read_and_says_how_to_get_it(ran, tabs):
    page = tabs(ran, width=390, height=900)
    page.locator("#f-preset input").click()
    page.get_by_role("option", name="OLMo 1B · Ascent").click()
    note = page.locator(".note", has_text="it is not on this machine")
    expect(note.locator("code").first).to_contain_text("hf auth login")
    expect(page.locator("#f-phase-layers input").last).to_have_attribute("max", "15")
    expect(page.locator("#size-note")).to_contain_text("parameters train")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#unlearn").click()
    expect(page.locator(".field-problem").first).to_contain_text("is not ready")
    expect(page.locator("[role=option]")).to_have_count(0)


@pytest.mark.slow
def test_choosing_another_model_by_hand_takes_the_layers_along(ran, tabs):
    page = tabs(ran)
    page.locator("#f-model-name input").click()
    page.get_by_role("option", name=re.compile("OLMo 7B ·")).click()
    expect(page.locator("#f-phase-layers input").last).to_have_attribute("max", "31")
