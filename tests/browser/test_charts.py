"""Every chart of the page can be saved, is told to who cannot see it, and keeps to its card."""

import csv
import re

import pytest
from playwright.sync_api import expect

from tests.browser.reader import POINTS


def saved(page, figure, kind, folder):
    """Press a button of a chart and return name and content of the file."""
    with page.expect_download() as download:
        figure.locator(f"[data-take={kind}]").click()
    target = folder / download.value.suggested_filename
    download.value.save_as(target)
    return target.name, target.read_bytes()


def read(content):
    return list(csv.reader(content.decode("utf-8-sig").splitlines()))


@pytest.mark.slow
def test_the_charts_of_a_run_and_of_a_trace_are_saved(serve, tabs, tmp_path):
    page = tabs(serve(step_s=0))
    page.locator("#unlearn").click()
    page.locator(".status[data-status=finished]").wait_for()
    page.wait_for_function("document.querySelector('#live .plot').data?.length > 3")
    live = page.locator("#live .figure")
    expect(live.locator(".plot")).to_have_attribute("role", "img")
    expect(live.locator(".plot")).to_have_attribute(
        "aria-label", re.compile("Latest: .*forget loss")
    )

    name, picture = saved(page, live, "png", tmp_path)
    assert name.endswith("-curves.png")
    assert picture.startswith(b"\x89PNG")
    drawing = saved(page, live, "svg", tmp_path)[1].decode()
    assert "forget loss" in drawing  # The names of the lines come along.
    head, first, *_ = read(saved(page, live, "csv", tmp_path)[1])
    assert (head, first[:2]) == (["series", "step", "value"], ["term.forget", "1"])

    page.get_by_role("tab", name="Trace").click()
    windows = page.locator("#windows .figure")
    expect(windows.locator(".plot")).to_have_attribute("aria-label", re.compile("^Traced: "))
    page.locator("#trace").click()
    maps = page.locator("#trace-found .figure")
    expect(maps).to_have_count(2, timeout=60000)

    rows = read(saved(page, maps.first, "csv", tmp_path)[1])
    assert rows[0] == ["part", "row", "column", "value"]
    parts = {row[0].split(" windows")[0] for row in rows[1:]}
    assert parts == {"Residual stream", "MLP", "Attention"}
    assert saved(page, maps.first, "png", tmp_path)[1].startswith(b"\x89PNG")
    assert read(saved(page, maps.last, "csv", tmp_path)[1])[0][:3] == ["part", "token", "block"]
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("document.querySelector('#windows .plot svg').clientWidth < 390")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_a_file_of_a_chart_that_does_not_come_is_told_beside_the_buttons(serve, tabs):
    page = tabs(serve(step_s=0))
    page.locator("#unlearn").click()
    page.wait_for_function(f"({POINTS})() > 3")
    page.route("**/component_server**", lambda sent: sent.abort())
    page.locator("#live [data-take=csv]").click()
    expect(page.locator("#live .take")).to_contain_text("not saved: ")


@pytest.mark.slow
def test_what_was_chosen_for_the_chart_outlives_a_reload(ran, tabs):
    page = tabs(ran)
    panel = page.locator("#live .chart-head .segments button").nth(1)
    panel.click()
    page.get_by_role("button", name="log scale").click()
    page.locator("#live [data-part=by] button", has_text="tokens").click()
    page.reload()
    expect(panel).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="log scale")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#live [data-part=by] [aria-pressed=true]")).to_have_text("tokens")
