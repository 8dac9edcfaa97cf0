"""The whole program: `app.py`, the embedded model, a browser."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ROOT
from tests.browser.reader import POINTS, choose, finished, turn, unfold


@contextmanager
def program(home):
    """Start `app.py` and yield its address."""
    command = [sys.executable, str(ROOT / "app.py"), "--home", str(home), "--no-open"]
    environment = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            line = next((line for line in process.stderr if "the page is at" in line), "")
            yield line.split("the page is at ")[1].split()[0]
        finally:
            process.kill()


@pytest.mark.slow
def test_the_embedded_model_forgets_in_the_browser(tmp_path, tabs):
    with program(tmp_path / "home") as url:
        page = tabs(url)
        unfold(page)
        choose(page, "f-data-fold", "validation")
        page.locator("#f-phase-max_steps input").fill("6")
        page.locator("#f-evaluation-max_new_tokens input").fill("16")
        page.locator("#f-evaluation-probes input").fill("1")
        expect(page.locator("#size-note")).to_contain_text(re.compile(r"(?<!\d)6 steps"))
        page.locator("#unlearn").click()
        page.wait_for_function(f"({POINTS})() > 0", timeout=120000)
        finished(page, timeout=240000)
        assert page.evaluate(POINTS) == 6
        turn(page, "terms")
        expect(page.locator("#strip td[style]")).to_have_count(12)
        expect(page.locator("#scoreboard .meter em")).to_have_count(4)
        page.locator("#ask-prompt textarea").fill("Who?")
        page.locator("#ask").click()
        expect(page.locator(".asks li")).to_contain_text("Unlearned model", timeout=60000)
        expect(page.locator(".asks .pending")).to_have_count(0, timeout=60000)
