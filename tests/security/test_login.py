"""Who may come in: by the printed link, by a password, and how wrong ones are slowed down."""

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from unlearnlab.ui.guard import Guard
from unlearnlab.ui.login import ADDRESSES, Login
from unlearnlab.ui.page import served

PASSWORD = "p:a:ss wörd"

TOKEN = "a-token-of-this-test"

GUARDED = (
    "config",
    "docs",
    "assets/index.js",
    "gradio_api/app_id",
    "gradio_api/cancel",
    "gradio_api/component_server/",
    "gradio_api/file=/etc/hostname",
    "gradio_api/heartbeat/x",
    "gradio_api/info",
    "gradio_api/queue/data?session_hash=x",
    "gradio_api/stream/x/close",
    "gradio_api/upload",
    "manual/measures.md",
    "manual/windows.png",
    "monitoring",
    "openapi.json",
    "theme.css",
    "nothing",
)


def answer(request):
    return HTMLResponse("what only friends see")


async def talk(websocket):
    await websocket.accept()
    await websocket.close()


@pytest.fixture
def page(guarded):
    """The guard before a small application that would answer everybody."""
    return lambda *given, **options: guarded(*given, **options)[1]


@pytest.fixture
def guarded():
    """Put guards before small applications: each guard, and a client of its application."""
    running = []

    def start(login=None, root_path="", **options):
        guard = Guard(login=login, root_path=root_path, **options)
        app = Starlette(
            routes=[
                WebSocketRoute("/{path:path}", talk),
                Route("/{path:path}", answer, methods=["GET", "POST"]),
            ],
            middleware=[Middleware(guard.inside)],
            lifespan=guard.before,
        )
        there = TestClient(app, base_url="http://127.0.0.1:7860", client=("192.0.2.7", 1))
        running.append(there.__enter__())
        return guard, there

    yield start
    for one in running:
        one.__exit__(None, None, None)


def ana(**options):
    return Login(user="ana", password=PASSWORD, first_wait_s=0.001, **options)


def log_in(client, password=PASSWORD, user="ana", headers=None, **more):
    told = {"username": user, "password": password} | more
    return client.post("/login", data=told, headers=headers, follow_redirects=False)


@pytest.mark.parametrize("root_path", ["", "/lab", "https://127.0.0.1:7860/lab"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE"])
def test_without_a_login_all_but_its_page_answers_401(page, method, root_path):
    client = page(ana(), root_path)
    for prefix in {"", root_path.removeprefix("https://127.0.0.1:7860")}:
        answers = {one: client.request(method, f"{prefix}/{one}").status_code for one in GUARDED}
        assert answers == dict.fromkeys(GUARDED, 401)


def test_the_login_page_shows_nothing_of_the_program(page):
    answer = page(ana()).get("/?compare=one,two")
    assert answer.status_code == 200
    assert "password" in answer.text
    for told in ("friends", "<script", "api_name"):
        assert told not in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]


def test_a_login_opens_everything_and_a_wrong_password_nothing(page):
    client = page(ana())
    for wrong in ("p", "p:a:ss w", "x", ""):
        assert log_in(client, wrong).status_code == 401
    assert log_in(client, user="bob").status_code == 401
    assert client.get("/gradio_api/app_id").status_code == 401
    assert log_in(client, user=" ana ").status_code == 303
    assert client.get("/manual/").status_code == 200
    assert "only friends" in client.get("/").text


@pytest.mark.parametrize(
    ("scheme", "root_path", "where", "secure"),
    [
        ("http", "", "/", False),
        ("https", "", "/", True),
        ("http", "/lab", "/lab", False),
        ("http", "https://127.0.0.1:7860/lab", "/lab", True),
    ],
)
def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    page, scheme, root_path, where, secure
):
    client = page(ana(), root_path)
    client.headers["x-forwarded-proto"] = scheme
    (cookie,) = log_in(client).headers.get_list("set-cookie")
    _, *parts = cookie.split("; ")
    wanted = [f"Path={where}", "HttpOnly", "SameSite=Lax", *(["Secure"] if secure else [])]
    assert parts == wanted


def test_a_cookie_of_an_earlier_program_opens_nothing(page):
    login, later = ana(), ana()
    client, again = page(login), page(later)
    log_in(client)
    again.cookies.set(later.cookie, client.cookies[login.cookie])
    assert again.get("/gradio_api/app_id").status_code == 401


@pytest.mark.parametrize(
    ("wanted", "moved"),
    [
        ("?compare=one,two", "./?compare=one,two"),
        ("manual/data.md?x=1", "./manual/data.md?x=1"),
        ("//evil.example/", "./"),
        ("https://evil.example/", "./"),
        ("gradio_api/app_id", "./"),
        ("?a\r\nx: y", "./"),
    ],
)
def test_a_login_leads_to_the_page_that_was_asked_for_and_nowhere_else(page, wanted, moved):
    assert log_in(page(ana()), wanted=wanted).headers["location"] == moved


def test_the_login_page_keeps_what_was_asked_for(page):
    client = page(ana())
    answer = client.get("/manual/data.md?x=%22y")
    assert answer.status_code == 401
    assert 'action="../login"' in answer.text
    (wanted,) = re.findall(r'name="wanted" value="([^"]*)"', answer.text)
    moved = log_in(client, wanted=wanted).headers["location"]
    assert moved == "./manual/data.md?x=%22y"


def test_another_site_logs_nobody_in(page):
    client = page(ana())
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        told = {"username": "ana", "password": PASSWORD}
        assert client.post("/login", data=told, headers=headers).status_code == 403
    refused = client.post("/login", json={"username": "ana", "password": PASSWORD})
    assert refused.status_code == 415
    assert log_in(client, wanted="x" * 9000).status_code == 413


def test_whoever_logs_out_is_asked_again_and_the_cookie_opens_nothing_any_more(page):
    login = ana()
    client = page(login)
    log_in(client)
    session = client.cookies[login.cookie]
    assert client.get("/logout").status_code == 405, "a link of another site logs nobody out"
    answer = client.post("/logout", data={"": ""}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "./")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    for cookies in (None, {login.cookie: session}):
        client.cookies = cookies or {}
        assert client.get("/gradio_api/app_id").status_code == 401
    assert client.post("/logout", data={"": ""}).status_code == 200, "once more does no harm"


def test_another_site_logs_nobody_out(page):
    client = page(ana())
    log_in(client)
    foreign = {"origin": "http://evil.example"}
    assert client.post("/logout", data={"": ""}, headers=foreign).status_code == 403
    assert client.get("/gradio_api/app_id").status_code == 200


# ---- the printed link


def test_the_link_opens_the_page_and_leaves_the_token_out_of_the_address(page):
    client = page(Login(token=TOKEN))
    answer = client.get(f"/?compare=one&token={TOKEN}&tab=x", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "./?compare=one&tab=x")
    assert "HttpOnly; SameSite=Lax" in answer.headers["set-cookie"]
    assert "only friends" in client.get("/").text
    again = client.get(f"/?token={TOKEN}", follow_redirects=False)
    assert (again.status_code, again.headers["location"]) == (303, "./")


def test_the_link_that_the_program_opens_by_itself_opens_the_page_once(page):
    login = Login(token=TOKEN, first_wait_s=0.001)
    client, link = page(login), f"/?token={login.single_use()}"
    assert client.get(link, follow_redirects=False).status_code == 303
    client.cookies.clear()
    assert client.get(link, follow_redirects=False).status_code == 401


def test_a_wrong_or_missing_token_opens_nothing(page):
    client = page(Login(token=TOKEN, first_wait_s=0.001))
    for query in ("", "?token=", "?token=x", f"?token={TOKEN}x", f"?tokens={TOKEN}"):
        assert "only friends" not in client.get(f"/{query}").text
    assert client.get(f"/gradio_api/app_id?token={TOKEN}").status_code == 401
    assert "set-cookie" not in client.get("/?token=x").headers


def test_the_token_can_be_pasted_into_the_login_page(page):
    client = page(Login(token=TOKEN))
    assert "Token" in client.get("/").text
    assert log_in(client, TOKEN, user="").status_code == 303
    assert "only friends" in client.get("/").text


def test_no_token_opens_a_page_with_a_password(page):
    client = page(ana())
    for token in ("", PASSWORD):
        assert "only friends" not in client.get("/", params={"token": token}).text


# ---- wrong logins


def attempts(login, *passwords, address="192.0.2.1"):
    async def all_at_once():
        tries = (login.attempt(address, "ana", one) for one in passwords)
        return await asyncio.gather(*tries)

    # A browser test before this one leaves an event loop in its thread.
    with ThreadPoolExecutor(1) as aside:
        found = aside.submit(lambda: asyncio.run(all_at_once())).result()
    return [refused for _, refused in found]


def seconds(login, password):
    began = time.monotonic()
    (refused,) = attempts(login, password)
    return time.monotonic() - began, refused


def test_each_wrong_login_waits_twice_as_long_and_the_right_one_still_opens():
    login = Login(user="ana", password=PASSWORD, first_wait_s=0.02)
    waited = [seconds(login, "wrong")[0] for _ in range(5)]
    assert waited[0] < 0.02
    assert [took >= 0.02 * 2**n for n, took in enumerate(waited[1:])] == [True] * 4
    took, refused = seconds(login, PASSWORD)
    assert (refused, took > 0.3) == ("", True), "nor does the time tell what was right"
    assert seconds(login, PASSWORD)[0] < 0.02, "a right one clears the count"


def test_many_logins_at_once_are_no_faster():
    login = Login(user="ana", password=PASSWORD, first_wait_s=0.01)
    attempts(login, "wrong")
    found = attempts(login, *["wrong"] * 20, PASSWORD)
    assert (found.count("wrong"), found.count("busy")) == (1, 20)
    assert attempts(login, "wrong", address="192.0.2.2") == ["wrong"], "others are not held up"


def test_one_network_of_ipv6_counts_as_one_address():
    login = Login(user="ana", password=PASSWORD, first_wait_s=0.01)
    for n in range(3):
        attempts(login, "wrong", address=f"2001:db8::{n}")
    assert seconds(login, "x")[0] < 0.01
    began = time.monotonic()
    attempts(login, "wrong", address="2001:db8::ffff")
    assert time.monotonic() - began > 0.03


def test_wrong_logins_are_counted_aloud_and_without_the_password():
    told = []
    login = Login(user="ana", password=PASSWORD, tell=told.append, first_wait_s=0)
    for _ in range(10):
        attempts(login, "hunter2")
    assert told == [
        "wrong login from 192.0.2.1: 1 so far",
        "wrong login from 192.0.2.1: 10 so far",
    ]


def test_counting_takes_no_memory_without_end():
    login = Login(user="ana", password=PASSWORD, first_wait_s=0)
    for n in range(ADDRESSES + 50):
        login._count(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 1)
    assert len(login._wrong) == ADDRESSES


# ---- hosts and visitors


@pytest.mark.parametrize("host", ["lab.example.org", "lab.example.org:8443", "LAB.example.org."])
def test_a_further_host_is_served_once_it_is_named(page, host):
    asked = {"host": host}
    refused = page().get("/", headers=asked)
    assert refused.status_code == 403
    assert "--allow-host" in refused.text
    assert page(names=["lab.example.org"]).get("/", headers=asked).is_success
    assert page(root_path="https://lab.example.org/lab").get("/", headers=asked).is_success


def test_addresses_open_a_page_that_other_machines_may_reach(page):
    for host in ("192.0.2.3:7860", "[2001:db8::1]"):
        assert page().get("/", headers={"host": host}).status_code == 403
        assert page(host="0.0.0.0").get("/", headers={"host": host}).is_success
    assert page(host="0.0.0.0").get("/", headers={"host": "evil.example"}).status_code == 403


def test_behind_a_proxy_that_hides_the_host_the_page_still_knows_its_own_requests(page):
    client = page(root_path="https://lab.example.org/lab")
    sent = {"content-type": "application/json", "origin": "https://lab.example.org"}
    assert client.post("/gradio_api/reset", json={"event_id": "x"}, headers=sent).is_success
    sent["origin"] = "https://example.org"
    assert client.post("/gradio_api/reset", json={}, headers=sent).status_code == 403
    forwarded = page(names=["lab.example.org"])
    sent = {"origin": "https://lab.example.org", "x-forwarded-host": "lab.example.org"}
    assert forwarded.post("/gradio_api/reset", json={"event_id": "x"}, headers=sent).is_success


HIDDEN = {"host": "127.0.0.1:7860"}

PROXIES = {
    "nginx as documented": (
        {"host": "lab.example.org", "x-forwarded-host": "lab.example.org"},
        {"root_path": "/lab", "names": ["lab.example.org"]},
    ),
    "nginx as it comes": (HIDDEN, {"root_path": "https://lab.example.org/lab"}),
    "one that tells the host it hides": (
        HIDDEN | {"x-forwarded-host": "lab.example.org, 10.0.0.1", "x-forwarded-for": "192.0.2.9"},
        {"names": ["lab.example.org"]},
    ),
    "a shared link": ({"host": "lab.example.org", "x-forwarded-for": "192.0.2.9"}, {}),
    "another port": ({"host": "lab.example.org:8443"}, {"names": ["lab.example.org"]}),
    "an ssh tunnel": ({"host": "localhost:9100"}, {}),
}


@pytest.mark.parametrize(("told", "options"), PROXIES.values(), ids=PROXIES)
@pytest.mark.parametrize("browser", ["that tells the site", "that tells the origin"])
def test_what_the_page_sends_through_a_proxy_is_not_refused(guarded, told, options, browser):
    guard, client = guarded(ana(), **options)
    if not options:
        guard.allow("lab.example.org")  # As the program does with the host of a shared link.
    address = told["host"] if told["host"] != HIDDEN["host"] else "lab.example.org"
    sent = told | {"origin": f"https://{address}"}
    sent |= {"sec-fetch-site": "same-origin"} if browser.endswith("site") else {}
    assert client.get("/?compare=one", headers=told).status_code == 200
    entered = log_in(client, headers=sent)
    assert entered.status_code == 303
    sent["cookie"] = entered.headers["set-cookie"].partition(";")[0]
    assert client.post("/gradio_api/reset", json={"event_id": "x"}, headers=sent).is_success
    sent["origin"] = "https://evil.example"
    sent |= {"sec-fetch-site": "cross-site"} if browser.endswith("site") else {}
    assert client.post("/gradio_api/reset", json={}, headers=sent).status_code == 403


def test_in_a_space_the_hub_may_frame_the_page_and_nobody_else(page, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "ana/lab")
    monkeypatch.setenv("SPACE_HOST", "ana-lab.hf.space")
    client = page(ana(), host="0.0.0.0")
    asked = {"host": "ana-lab.hf.space", "sec-fetch-site": "cross-site"}
    asked |= {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    answer = client.get("/", headers=asked)
    assert answer.is_success
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'self' https://huggingface.co" in policy
    assert "x-frame-options" not in answer.headers
    cookie = log_in(client).headers["set-cookie"]
    assert cookie.endswith("HttpOnly; SameSite=None; Partitioned; Secure")


def test_a_websocket_is_refused(page):
    with (
        pytest.raises(WebSocketDisconnect),
        page().websocket_connect("/gradio_api/queue/join"),
    ):
        pass


def test_the_application_alone_answers_nothing():
    options = served(Guard())["app_kwargs"]
    app = Starlette(routes=[Route("/", answer)], middleware=options["middleware"])
    # Without its lifespan, the guard is not put in its place.
    assert TestClient(app, base_url="http://127.0.0.1").get("/").status_code == 503
    assert isinstance(options["lifespan"].__self__, Guard)
