"""The control of the model in a browser: a folder, a wrong path, a model of the hub."""

import re

import pytest
from playwright.sync_api import expect

from tests.models.test_catalog import download


@pytest.fixture
def page(serve, tabs):
    return tabs(serve())


def type_model(page, name):
    box = page.locator("#f-model-name input")
    box.fill(name)
    box.press("Enter")


@pytest.mark.slow
def test_a_typed_folder_drives_the_layer_range_and_outlives_a_reload(page, tmp_path):
    folder = tmp_path / "small"
    download(folder, num_hidden_layers=5)
    type_model(page, str(folder))
    last = page.locator("#f-phase-layers input").last
    expect(last).to_have_attribute("max", "4")
    expect(page.locator("#size-note")).to_contain_text("parameters train")
    page.reload()
    expect(page.locator("#f-model-name input")).to_have_value(str(folder))
    expect(page.locator("#f-phase-layers input").last).to_have_attribute("max", "4")


@pytest.mark.slow
def test_a_typed_path_that_is_none_is_told_at_its_field(page):
    type_model(page, "/no/such/folder")
    expect(page.locator("#model-note")).to_contain_text("there is no folder /no/such/folder")
    page.locator("#unlearn").click()
    problem = page.locator("#f-model-name .field-problem")
    expect(problem).to_contain_text("there is no folder /no/such/folder")
    expect(page.locator("#model-note .gone")).to_be_hidden()
    expect(page.locator("#f-model-name input")).to_have_value("/no/such/folder")


@pytest.mark.slow
def test_a_hub_model_is_looked_up_on_a_button_alone(page):
    type_model(page, "ada/tiny")
    expect(page.locator("#f-phase-layers .rail")).to_be_hidden()
    expect(page.locator("#f-phase-layers output")).to_have_text("Blocks 0 to 2")
    page.locator("#model-note").get_by_role("button", name="Look it up").click()
    expect(page.locator("#model-note")).to_contain_text("the hub cannot be reached")
    expect(page.locator("#f-model-name input")).to_have_value("ada/tiny")


@pytest.mark.slow
def test_the_list_offers_the_models_of_the_task(page):
    page.locator("#f-model-name input").click()
    for name in ("OLMo 1B ·", "OLMo 7B ·", "OLMo 1B base"):
        expect(page.get_by_role("option", name=re.compile(name))).to_have_count(1)


@pytest.mark.slow
def test_a_folder_is_traced_with_the_window_of_its_depth(page, tmp_path):
    download(tmp_path / "deep", num_hidden_layers=12)
    page.get_by_role("tab", name="Trace").click()
    page.get_by_role("button", name="Expert settings").click()
    box = page.locator("#f-trace-model-name input")
    box.fill(str(tmp_path / "deep"))
    box.press("Enter")
    expect(page.locator(".note", has_text="4 of 12 blocks").first).to_be_visible()
    page.locator("#trace").click()
    expect(page.locator("#trace-live .run-head")).to_be_visible()
    box.fill("/no/such/folder")
    box.press("Enter")
    page.locator("#trace").click()
    problem = page.locator("#f-trace-model-name .field-problem")
    expect(problem).to_contain_text("there is no folder /no/such/folder")
