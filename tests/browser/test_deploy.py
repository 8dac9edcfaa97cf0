"""The page behind a proxy, through a tunnel that drops, and with a password."""

import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import hosting
from tests.browser.reader import POINTS, finished
from tests.browser.server import free_port

PREFIX = "/lab"

LOST = '#live [data-part="lost"]'


class Proxy(BaseHTTPRequestHandler):
    """Serves a page under a prefix, which it takes off, and nothing else."""

    target = ""
    own_headers = ("connection", "transfer-encoding", "content-length")

    def answer(self):
        if not self.path.startswith(f"{PREFIX}/"):
            self.send_error(404)
            return
        length = int(self.headers.get("content-length", 0))
        kept = {k: v for k, v in self.headers.items() if k.lower() not in self.own_headers}
        address = self.target + self.path.removeprefix(PREFIX)
        content = self.rfile.read(length)
        with (
            suppress(OSError, httpx.HTTPError),
            httpx.Client(trust_env=False, timeout=None) as client,
            client.stream(self.command, address, headers=kept, content=content) as found,
        ):
            self.send_response(found.status_code)
            for name, value in found.headers.multi_items():
                if name.lower() not in self.own_headers:
                    self.send_header(name, value)
            self.end_headers()
            for part in found.iter_raw():
                self.wfile.write(part)
                self.wfile.flush()

    do_GET = do_POST = do_HEAD = answer

    def log_message(self, format, *args):
        pass


@contextmanager
def proxied(target):
    """Serve a page under a prefix and yield its address."""
    handler = type("Handler", (Proxy,), {"target": target.rstrip("/")})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{PREFIX}/"
    finally:
        server.shutdown()
        server.server_close()


class Tunnel:
    """Forwards a port of this machine to another one, as `ssh -L` does, until it is cut."""

    def __init__(self, target):
        self.port, self._target = free_port(), target
        self._open = []

    def start(self):
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self):
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def _accept(self, listener):
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pipe, args=ends, daemon=True).start()

    def _pipe(self, source, sink):
        with suppress(OSError):
            while part := source.recv(65536):
                sink.sendall(part)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.mark.slow
def test_behind_a_proxy_all_requests_stay_under_its_path(serve, tabs):
    outside, failed = [], []
    with proxied(serve(step_s=0.02, root_path=PREFIX)) as address:
        page = tabs("about:blank", ready=False)
        page.on("request", lambda sent: PREFIX not in sent.url and outside.append(sent.url))
        page.on("response", lambda got: got.status >= 400 and failed.append(got.url))
        page.goto(address)
        page.locator("#chip-queue").wait_for()
        page.locator("#unlearn").click()
        page.wait_for_function(f"({POINTS})() > 3")
        page.reload()
        finished(page)
        expect(page.locator("#misplaced")).to_have_count(0)
        with page.expect_popup() as docs:
            page.get_by_role("link", name="Docs").click()
        expect(docs.value.locator("main")).to_contain_text("score")
        assert PREFIX in docs.value.url
        page.goto("about:blank")
    assert (outside, failed) == ([], [])


@pytest.mark.slow
def test_a_page_under_a_path_that_its_program_does_not_know_says_so(serve, tabs):
    with proxied(serve()) as address:
        page = tabs(address, ready=False)
        told = page.locator("#misplaced")
        expect(told).to_be_visible()
        expect(told).to_contain_text(f"Start the program with --root-path {PREFIX}")
        page.goto("about:blank")


@pytest.mark.slow
def test_what_was_typed_outlives_a_lost_connection_and_the_page_catches_up(serve, tabs):
    url = serve(step_s=0.1, steps=900)
    tunnel = Tunnel(int(url.rstrip("/").rsplit(":", 1)[1]))
    tunnel.start()
    page = tabs(f"http://localhost:{tunnel.port}/")
    assert page.evaluate("window.gradio_config.root") == f"http://localhost:{tunnel.port}"
    page.locator("#unlearn").click()
    page.wait_for_function(f"({POINTS})() > 3")
    before = page.evaluate(POINTS)
    tunnel.cut()
    expect(page.locator(LOST)).to_be_visible(timeout=15000)
    page.locator("#ask-prompt textarea").fill("Who is <b>she</b>?")
    page.locator("#ask").click()
    page.wait_for_timeout(1500)
    tunnel.start()
    expect(page.locator(LOST)).to_be_hidden(timeout=60000)
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=60000)
    page.wait_for_function(f"({POINTS})() > {before}")
    page.wait_for_timeout(6000)  # Gradio may load the page once more.
    expect(page.locator("#ask-prompt textarea")).to_have_value("Who is <b>she</b>?")
    expect(page.locator(".asks li")).to_have_count(0)
    page.locator("#ask").click()
    expect(page.locator(".asks li").first).to_contain_text("I do not know of her.")
    page.reload()
    expect(page.locator(".asks li").first).to_be_visible()
    expect(page.locator("#ask-prompt textarea")).to_have_value("")
    tunnel.cut()


@pytest.mark.slow
def test_a_page_asks_for_the_password_first_and_once_more_after_a_restart(host, tmp_path, tabs):
    options = {"step_s": 0.05, "auth": ["ana", "p:a:ss wörd"], "port": free_port()}
    with hosting() as mortal:
        url = mortal.open(tmp_path, **options)
        page = tabs(f"{url}?compare=one,two", ready=False)
        log_in(page)
        page.locator("#chip-queue").wait_for()
        assert page.url.endswith("?compare=one,two")
        page.evaluate("window.before = true")
        mortal.kill()
    refused = []
    page.on("response", lambda got: got.status == 401 and refused.append(got.url))
    host.open(tmp_path, **options)
    expect(page.locator("input[type=password]")).to_be_visible(timeout=60000)
    assert page.evaluate("window.before") is None
    asked = len(refused)
    page.wait_for_timeout(6000)
    assert len(refused) == asked < 6, "the login page polls nothing"
    log_in(page)
    page.locator("#chip-queue").wait_for()
    page.goto("about:blank")
    host.close(url)


def log_in(page):
    page.locator("input[type=password]").fill("p:a:ss wörd")
    page.locator("input").first.fill("ana")
    page.get_by_role("button", name="Login").click()
