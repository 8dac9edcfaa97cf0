"""What another site can make a browser ask: nothing that changes or shows anything."""

import json
import re
from http.client import HTTPConnection

import pytest

ORIGIN = "http://evil.example"

LIST = "/gradio_api/component_server"


def deleting(client, program):
    """The request by which the page deletes a run."""
    (config,) = re.findall(r"window\.gradio_config = (.*?);</script>", client.get("/").text)
    components = json.loads(config)["components"]
    runs = next(
        one["id"] for one in components if "change_runs" in one["props"].get("server_fns", ())
    )
    return {
        "data": {"action": "delete", "runs": [program.run_id]},
        "component_id": runs,
        "fn_name": "change_runs",
        "session_hash": "x",
    }


def here(program):
    return program.run_id in {row.run_id for row in program.store.runs()}


FOREIGN = {
    "by a form that needs no preflight": {"content-type": "text/plain"},
    "from another origin": {"origin": ORIGIN, "content-type": "application/json"},
    "from a page of nowhere": {"origin": "null", "content-type": "application/json"},
    "from another port": {"origin": "http://127.0.0.1:1", "content-type": "application/json"},
    "from another site": {"sec-fetch-site": "cross-site", "content-type": "application/json"},
    "from a neighbour": {"sec-fetch-site": "same-site", "content-type": "application/json"},
    "by a name that points here": {"host": "evil.example", "content-type": "application/json"},
    "by a forwarded name": {"x-forwarded-host": "evil.example", "content-type": "application/json"},
    "as parts": {"content-type": "multipart/form-data; boundary=x"},
    "as a form": {"content-type": "application/x-www-form-urlencoded"},
    "without a type": {"content-type": ""},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_a_run_is_not_deleted(client, program, headers):
    body = json.dumps(deleting(client, program))
    answer = client.post(LIST, content=body, headers=headers)
    assert answer.is_client_error
    assert here(program)


def test_the_page_itself_deletes_a_run(client, program):
    body = deleting(client, program)
    for headers in ({"origin": program.url}, {"sec-fetch-site": "same-origin"}, {}):
        assert client.post(LIST, json=body, headers=headers).is_success
        assert not here(program)
        program.store.restore([program.run_id])


@pytest.mark.parametrize("path", ["/", "/manual/", "/theme.css", "/gradio_api/app_id"])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "", "x@"],
)
def test_a_name_that_points_here_opens_nothing(client, path, host):
    answer = client.get(path, headers={"host": f"{host}:7860" if host else ""})
    assert answer.is_client_error
    assert "unlearnlab" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "lab.localhost"])
def test_each_name_of_this_machine_opens_the_page(client, host):
    for name in (host, f"{host}:9100"):
        assert client.get("/", headers={"host": name}).is_success


@pytest.mark.parametrize("path", ["/", "/assets/index.js", "/gradio_api/app_id", LIST])
def test_no_answer_lets_another_origin_read_it(client, path):
    asked = {"origin": ORIGIN, "access-control-request-method": "POST"}
    for method in ("GET", "POST", "OPTIONS"):
        for headers in (asked, asked | {"host": "evil.example"}, {"origin": client.base_url.host}):
            answer = client.request(method, path, headers=headers)
            assert not any(name.startswith("access-control-") for name in answer.headers)


def test_a_link_from_another_site_opens_the_page_and_no_other_address(client):
    visit = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    shown = visit | {"sec-fetch-dest": "document"}
    assert client.get("/?compare=one,two", headers=shown).is_success
    assert client.get("/manual/", headers=shown).is_success
    for headers in (visit | {"sec-fetch-dest": "iframe"}, {"sec-fetch-site": "cross-site"}):
        assert client.get("/", headers=headers).status_code == 403
    for path in ("/gradio_api/app_id", "/gradio_api/queue/data?session_hash=x", "/theme.css"):
        assert client.get(path, headers=shown).status_code == 403


def test_a_stream_is_not_opened_for_another_site(client):
    for path in ("/gradio_api/heartbeat/x", "/gradio_api/queue/data?session_hash=x"):
        assert client.get(path, headers={"origin": ORIGIN}).status_code == 403


def test_the_page_runs_its_own_scripts_only_and_stands_in_no_frame(client):
    page = client.get("/")
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in page.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    scripts = policy["script-src"].split()
    assert "'unsafe-inline'" not in scripts
    assert [one for one in scripts if not one.startswith("'sha256-")] == ["'self'", "'unsafe-eval'"]
    assert policy["connect-src"] == "'self'"
    assert page.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", ["/", "/manual/", "/favicon.ico", "/theme.css", "/nothing"])
def test_every_answer_says_how_browsers_must_take_it(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "set-cookie" not in headers


def test_the_page_comes_compressed_to_a_third_of_a_megabyte_at_most(client):
    with client.stream("GET", "/", headers={"accept-encoding": "gzip"}) as answer:
        sent = sum(len(part) for part in answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert sent < 330_000


def test_a_file_that_is_opened_runs_nothing(client):
    assert "sandbox" in client.get("/favicon.ico").headers["content-security-policy"]


CLOSED = [
    "/config",
    "/openapi.json",
    "/logout",
    "/pwa_icon",
    "/pwa_icon/64",
    "/robots.txt",
    "/monitoring",
    "/monitoring/summary",
    "/monitoring/x",
    "/gradio_api/info",
    "/gradio_api/openapi.json",
    "/gradio_api/user",
    "/gradio_api/token",
    "/gradio_api/login_check",
    "/gradio_api/dev/reload",
    "/gradio_api/deep_link?session_hash=x",
    "/gradio_api/queue/status",
    "/gradio_api/call/poll_run/x",
    "/gradio_api/proxy=https://a.hf.space/x",
    "/gradio_api/file=http://127.0.0.1:1/x",
    "/gradio_api/file=HTTPS://127.0.0.1:1/x",
    "/gradio_api/file/etc/hostname",
    "/gradio_api/vibe-code",
]


@pytest.mark.parametrize("path", CLOSED)
def test_what_the_page_does_not_need_is_closed(client, path):
    for method in ("GET", "HEAD"):
        assert client.request(method, path).status_code == 404


TAKEN = [
    "/gradio_api/call/poll_run",
    "/gradio_api/call/v2/poll_run",
    "/gradio_api/api/predict",
    "/gradio_api/process_recording",
    "/gradio_api/stream/x",
    "/gradio_api/vibe-edit",
    "/gradio_api/vibe-code",
    "/gradio_api/undo-vibe-edit",
]


@pytest.mark.parametrize("path", TAKEN)
def test_what_the_page_does_not_send_is_closed(client, path):
    assert client.post(path, json={}).status_code == 404


def test_other_methods_are_refused(client):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "POST"):
        assert client.request(method, "/").status_code == 405


def test_files_of_this_machine_are_not_served_whatever_the_environment_allows(client):
    assert client.get("/gradio_api/file=/etc/hostname").is_client_error


# ---- sizes


def test_a_body_may_not_be_larger_than_what_the_page_sends(client):
    body = b'{"data": "' + b"x" * (9 << 20) + b'"}'
    headers = {"content-type": "application/json"}
    assert client.post(LIST, content=body, headers=headers).status_code == 413
    parts = (body[start : start + (1 << 20)] for start in range(0, len(body), 1 << 20))
    assert client.post(LIST, content=parts, headers=headers).is_client_error, "of unknown length"


def test_an_upload_has_a_largest_size(client):
    most = (256 << 20) + (1 << 20)
    asking = HTTPConnection("127.0.0.1", client.base_url.port, timeout=30)
    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": str(most + 1)}
    asking.request("POST", "/gradio_api/upload", headers=headers)
    assert asking.getresponse().status == 413, "refused before a byte of it was sent"
    asking.close()
    assert (
        client.post("/gradio_api/upload", content=b"x", headers=FOREIGN["as a form"]).status_code
        == 415
    )
    assert client.get("/").text.count('"max_file_size":268435456') == 1


def test_an_upload_of_another_site_is_not_taken(client):
    files = {"files": ("a.csv", b"input,output\n")}
    refused = client.post("/gradio_api/upload", files=files, headers={"origin": ORIGIN})
    assert refused.status_code == 403
    assert client.post("/gradio_api/upload", files=files).is_success
