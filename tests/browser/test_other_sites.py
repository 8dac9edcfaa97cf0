"""Another site in a real browser: it deletes nothing, reads nothing, and frames nothing."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import QUIET, chromium
from tests.security import conftest as over_http
from tests.security.test_other_sites import deleting, here

program, client = over_http.program, over_http.client

TOKEN = "a-token-of-this-test"


@contextmanager
def site(html):
    """Serve a page of another site and yield its port."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def visit(browser):
    """Open an address in a profile of its own; the guard's refusals are what is wanted here."""
    context = browser.new_context()
    yield lambda address: _at(context.new_page(), address)
    context.close()


def _at(page, address):
    page.goto(address)
    return page


ATTACK = """async ([url, body]) => {
  const sent = JSON.stringify(body);
  const target = `${url}/gradio_api/component_server/`;
  const read = [];
  for (const [mode, type] of [["no-cors", "text/plain"], ["cors", "text/plain"],
                              ["cors", "application/json"]]) {
    for (const credentials of ["include", "omit"]) {
      const asked = { method: "POST", mode, credentials, body: sent,
                      headers: { "content-type": type } };
      const answer = await fetch(target, asked).catch(() => null);
      if (answer && answer.type !== "opaque") read.push(await answer.text());
    }
  }
  navigator.sendBeacon(target, sent);
  const page = await fetch(url, { mode: "cors" }).catch(() => null);
  if (page) read.push(await page.text());
  return read;
}"""

FORM = """([url, body]) => {
  const form = document.createElement("form");
  Object.assign(form, { method: "POST", action: `${url}/gradio_api/component_server/`,
                        enctype: "text/plain" });
  const field = document.createElement("input");
  const text = JSON.stringify(body);
  field.name = text.slice(0, -1) + ',"pad":"';
  field.value = '"}';
  form.append(field);
  document.body.append(form);
  form.submit();
}"""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("localhost", id="another site"),
        pytest.param("127.0.0.1", id="another port", marks=pytest.mark.slow),
    ],
)
def test_another_site_deletes_no_run_and_reads_nothing(visit, program, client, name):
    body = deleting(client, program)
    with site("<p>Look at these kittens.</p>") as port:
        page = visit(f"http://{name}:{port}/")
        assert page.evaluate(ATTACK, [program.url, body]) == []
        page.evaluate(FORM, [program.url, body])
        page.wait_for_url(f"{program.url}/**")
        assert "another site" in page.locator("body").inner_text()
    assert here(program)


@pytest.mark.slow
def test_another_site_frames_neither_the_page_nor_its_manual(visit, program):
    frames = "".join(f'<iframe src="{program.url}{path}"></iframe>' for path in ("/", "/manual/"))
    with site(frames) as port:
        page = visit(f"http://localhost:{port}/")
        page.wait_for_timeout(500)
        for frame in page.frames[1:]:
            assert "unlearnlab" not in frame.content()
            assert frame.url.startswith("chrome-error:")


@pytest.mark.slow
def test_a_name_that_is_made_to_point_here_opens_nothing(browser, program, client):
    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    rebound = browser.browser_type.launch(executable_path=chromium(), args=[*QUIET, rules])
    try:
        page = rebound.new_page()
        origin = f"http://evil.example:{urlsplit(program.url).port}"
        # What the site itself served, before its name was made to point here.
        page.route("**/kittens", lambda asked: asked.fulfill(content_type="text/html", body="<p>"))
        page.goto(f"{origin}/kittens")
        page.evaluate(FORM, [origin, deleting(client, program)])
        page.wait_for_url(f"{origin}/gradio_api/**")
        assert "not reached by the host evil.example" in page.locator("body").inner_text()
        assert page.goto(f"{origin}/").status == 403
    finally:
        rebound.close()
    assert here(program)


@pytest.mark.slow
def test_the_printed_link_opens_the_page_and_leaves_no_token_until_one_logs_out(serve, tabs):
    url = serve(token=TOKEN)
    page = tabs(f"{url}?token={TOKEN}")
    assert page.url == url
    page.reload()
    page.locator("#chip-queue").wait_for()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert page.url == url


@pytest.mark.slow
def test_a_file_that_is_too_large_is_told_on_the_page(serve, tabs, tmp_path):
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate((256 << 20) + 1)
    page = tabs(serve())
    page.get_by_role("tab", name="Data").click()
    page.locator("#add-card input[type=file]").first.set_input_files(large)
    expect(page.get_by_text("exceed the maximum allowed size").first).to_be_visible()


@pytest.mark.slow
def test_what_a_model_wrote_could_not_run_even_if_it_were_taken_for_html(serve, tabs, forbidden):
    page = tabs(serve())
    told = page.evaluate(
        """() => new Promise((done) => {
          const refused = "securitypolicyviolation";
          document.addEventListener(refused, (one) => done(one.effectiveDirective));
          const box = document.createElement("div");
          box.innerHTML = '<img src="data:image/png;base64,x" onerror="window.hacked = 1">';
          document.body.append(box);
        })"""
    )
    assert told.startswith("script-src")
    assert page.evaluate("window.hacked") is None
    assert len(forbidden) == 1
    forbidden.clear()
