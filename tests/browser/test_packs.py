"""A run is repeated and compared, taken away as a pack, and a strange one is taken in."""

import pytest
from playwright.sync_api import expect

from tests.browser.reader import finished, turn
from tests.browser.test_takeaway import downloaded
from tests.exports.packs import pack_of
from unlearnlab.exports.pack_file import read_pack


@pytest.mark.slow
def test_a_run_is_repeated_packed_and_joined_by_one_from_elsewhere(serve, tabs, tmp_path):
    stranger = pack_of(tmp_path / "elsewhere", tmp_path / "demo <b>.zip")
    page = tabs(serve(step_s=0.01, steps=6))
    page.locator("#unlearn").click()
    finished(page)
    turn(page, "record")
    record = page.locator("#record .record")
    record.locator("summary", has_text="Record").click()
    expect(record).to_contain_text("Effective batch")
    expect(record).to_contain_text("not what they were in the run")
    again = record.get_by_role("button", name="Reproduce")
    again.click()
    record.get_by_role("button", name="Press again: it will differ").click()
    expect(record).to_contain_text("numbers are equal", timeout=30000)
    expect(record).to_contain_text("a reproduction of run")
    expect(page.locator("#runs")).to_contain_text("repeats")

    turn(page, "export")
    _, path = downloaded(page, page.locator('.takeaway-item[data-what="bare-pack"]').click)
    (run,) = read_pack(path)
    assert run.repeats
    assert not run.evidence

    with page.expect_file_chooser() as choosing:
        page.locator("#unpack").click()
    choosing.value.set_files(tmp_path / "demo <b>.zip")
    expect(page.locator("#unpack-message")).to_contain_text("imported")
    expect(page.locator("#live")).to_contain_text("A run")
    turn(page, "record")
    expect(record.locator("dd", has_text="from demo")).to_have_count(1)
    line = page.locator("#runs li", has=page.locator(f'[data-open="{stranger}"]'))
    expect(line.locator(".tag.origin")).to_contain_text("from demo")
    assert page.evaluate("window.hacked") is None
