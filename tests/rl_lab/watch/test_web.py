"""Tests of the web sink: its server with plain requests, and its page in a browser."""

import http.client
import json
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, suppress
from typing import Any

import cv2
import numpy as np
import pytest
from browser import browser_tab, needs_browser

from rl_lab import api
from rl_lab.errors import LabError
from rl_lab.watch.checkpoint_selector import CheckpointSelector
from rl_lab.watch.controls import Controls
from rl_lab.watch.sinks import web_frames, web_guard
from rl_lab.watch.sinks.web import WebSink
from rl_lab.watch.sinks.web_frames import PART_START, encode_part


class FakeStep:
    """The attributes of a PlayerStep that the web sink reads."""

    score, step_number, game_number = 3.0, 7, 2


FAKE_STEP: Any = FakeStep()


@pytest.fixture
def web(demo):
    checkpoints = CheckpointSelector(demo.path, api.load_agent(demo))
    sink = WebSink(Controls(), checkpoints, lambda: "a title", host="127.0.0.1", port=0)
    sink.show(np.full((40, 60, 3), 77, np.uint8), FAKE_STEP)
    yield sink
    sink.close()


def send(web: WebSink, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any, bytes]:
    """Send a request as a browser does from the page. Returns status, headers and body. "" removes a header."""
    host, port = web.socket.getsockname()
    connection = http.client.HTTPConnection(host, port, timeout=10)
    sent = {"Origin": f"http://{host}:{port}"} if method == "POST" else {}
    sent |= headers or {}
    try:
        connection.request(method, path, headers={name: value for name, value in sent.items() if value})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def request_json(web: WebSink, path: str, method: str = "GET") -> Any:
    status, _, body = send(web, method, path)
    assert status == 200, body
    return json.loads(body)


def send_bytes(web: WebSink, data: bytes) -> bytes:
    """Send bytes to the server. Returns all that it answers until it closes the connection."""
    with socket.create_connection(web.socket.getsockname()[:2], timeout=10) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(10**6):
            answer += part
    return answer


def read_jpeg(stream: Any) -> np.ndarray:
    """Return the image of the next part of a multipart response, up to the headers of the part after it."""
    data = b""
    while not data.endswith(PART_START):
        line = stream.readline()
        assert line, "the stream has ended"
        data += line
    data = data.removesuffix(b"\r\n" + PART_START)
    if data == PART_START or not data:
        return read_jpeg(stream)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_state_and_controls_over_http(web):
    state = request_json(web, "/state")
    assert (state["score"], state["step"], state["game"], state["title"]) == (3.0, 7, 2, "a title")
    assert (state["checkpoint"], state["checkpoints"]) == ("best", ["best"])
    assert request_json(web, "/press?key=%20", "POST")["paused"] is True
    assert web.controls.paused
    request_json(web, "/checkpoint?name=best", "POST")
    assert web.controls.checkpoint == "best"


@pytest.mark.parametrize(
    "path",
    [
        "/press?key=x",
        "/press",
        "/press?key=q&key=q",
        "/press?key=q&more=1",
        "/press?name=best",
        "/press?key=%ff%fe",
        "/press?key=NaN",
        "/press?key=" + "q" * 60_000,
        "/checkpoint?name=../../etc",
        "/checkpoint?name=%ed%a0%80",
    ],
)
def test_wrong_parameters_are_refused_in_one_line(web, path):
    status, _, body = send(web, "POST", path)
    assert status == 400
    assert body.endswith(b"}\n")
    assert len(body) < 400
    assert list(json.loads(body)) == ["error"]
    assert not web.controls.quit


def test_a_get_changes_nothing(web):
    assert send(web, "GET", "/press?key=q")[0] == 405
    assert send(web, "HEAD", "/pictures")[0] == 200
    assert not web.controls.quit


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "elsewhere.example"}, 400),
        ({"Host": "127.0.0.1"}, 400),  # without the port
        ({"Host": "localhost:1"}, 400),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),  # not sent, as by curl
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_requests_of_other_sites_are_refused(web, headers, status):
    assert send(web, "POST", "/press?key=q", headers)[0] == status
    assert not web.controls.quit


def test_names_of_this_machine_are_accepted_with_the_port(web):
    port = web.socket.getsockname()[1]
    for name in ("localhost", "LOCALHOST", "127.0.0.1", "[::1]"):
        host = f"{name}:{port}"
        assert send(web, "POST", "/press?key=%2B", {"Host": host, "Origin": f"http://{host}"})[0] == 200
    assert web.controls.speed == 8.0


def test_other_pages_cannot_embed_the_frames_but_may_link_to_the_page(web):
    cross_site = {"Sec-Fetch-Site": "cross-site"}
    assert send(web, "GET", "/state", {"Sec-Fetch-Mode": "no-cors", **cross_site})[0] == 403
    assert send(web, "GET", "/state", {"Origin": "http://elsewhere.example"})[0] == 403
    assert send(web, "GET", "/", {"Sec-Fetch-Mode": "navigate", **cross_site})[0] == 200


def test_every_answer_has_the_security_headers(web):
    for method, path in (("GET", "/"), ("GET", "/state"), ("GET", "/missing"), ("POST", "/press?key=x")):
        _, headers, _ = send(web, method, path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "server" not in headers


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\xfe garbage \r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the begin of a TLS handshake
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: {host}\r\nHost: elsewhere\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: {host}\r\n\r\n",
        b"POST /press?key=q HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Length: 9\r\n\r\n{not json",
        b"POST /press?key=q HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Length: -1\r\n\r\n",
        b"POST /press?key=q HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Length: 99999999999\r\n\r\nx",
        b"POST /press?key=q HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nx",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: {host}\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused_without_a_traceback(web, data, capfd):
    host = web.address.split("/")[2].encode()
    answer = send_bytes(web, data.replace(b"{host}", host))
    assert answer.split(b"\r\n")[0].split()[1] in (b"400", b"403", b"404"), answer
    assert not web.controls.quit
    assert request_json(web, "/state")["title"] == "a title"
    assert capfd.readouterr().err == ""


def test_a_fault_of_the_page_is_one_line(web, capfd, monkeypatch):
    monkeypatch.setattr(CheckpointSelector, "names", property(lambda self: 1 / 0))
    assert send(web, "GET", "/state")[0] == 500
    web.close()  # the line may be printed after the answer
    assert capfd.readouterr().err == "rl_lab: the page failed: ZeroDivisionError('division by zero')\n"


def test_odd_scores_and_titles_are_json(demo):
    class OddStep(FakeStep):
        score = float("nan")

    odd_step: Any = OddStep()
    sink = WebSink(
        Controls(), CheckpointSelector(demo.path, api.load_agent(demo)), lambda: "a\ud800\x1b[2J", host="", port=0
    )
    sink.show(np.zeros((40, 60, 3), np.uint8), odd_step)
    try:
        state = request_json(sink, f"/state?{sink.address.split('?')[1]}")
    finally:
        sink.close()
    assert state["score"] is None
    assert state["title"] == "a\\ud800\\x1b[2J"


@pytest.fixture
def public_web(demo):
    """A page that other machines can reach."""
    sink = WebSink(
        Controls(), CheckpointSelector(demo.path, api.load_agent(demo)), lambda: "a title", host="0.0.0.0", port=0
    )
    sink.show(np.full((40, 60, 3), 77, np.uint8), FAKE_STEP)
    yield sink
    sink.close()


def test_other_machines_need_the_token_of_the_printed_address(public_web):
    token = public_web.address.split("?token=")[1]
    assert len(token) >= 32
    for method, path in (("GET", "/"), ("GET", "/state"), ("GET", "/pictures"), ("POST", "/press?key=q")):
        for wrong in ({}, {"Cookie": f"rl_lab_1={token}"}, {"Authorization": token}):
            assert send(public_web, method, path, wrong)[0] == 401
    for wrong in ("", token[:-1], token + "a", token.swapcase(), "%ff", "0"):
        assert send(public_web, "GET", f"/?token={wrong}")[0] == 401
    assert not public_web.controls.quit
    status, headers, _ = send(public_web, "GET", f"/?token={token}")
    assert status == 200
    name, value = headers["Set-Cookie"].split(";")[0].split("=")
    assert {"HttpOnly", "SameSite=Strict"} <= set(headers["Set-Cookie"].split("; "))
    cookie = {"Cookie": f"{name}={value}"}
    assert send(public_web, "POST", "/press?key=%20", cookie)[0] == 200
    assert public_web.controls.paused
    assert send(public_web, "POST", f"/press?key=q&token={token}", {"Origin": ""})[0] == 200  # as curl sends it
    assert public_web.controls.quit


def test_a_foreign_origin_is_refused_even_with_the_token(public_web):
    token = public_web.address.split("?token=")[1]
    path = f"/press?key=q&token={token}"
    assert send(public_web, "POST", path, {"Origin": "http://elsewhere.example"})[0] == 403
    assert send(public_web, "POST", path, {"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert not public_web.controls.quit


def test_two_viewers_share_the_encoding_of_a_frame(web, monkeypatch):
    encoded: list[int] = []

    def counting_encode(image: np.ndarray) -> bytes:
        encoded.append(int(image[0, 0, 0]))
        return encode_part(image)

    monkeypatch.setattr(web_frames, "encode_part", counting_encode)
    with ExitStack() as stack:
        streams = [stack.enter_context(urllib.request.urlopen(web.address + "pictures", timeout=10)) for _ in range(2)]
        for level in (77, 120, 160, 200):
            if level != 77:
                web.show(np.full((40, 60, 3), level, np.uint8), FAKE_STEP)
            for stream in streams:
                assert abs(int(read_jpeg(stream)[0, 0, 0]) - level) <= 3
    assert encoded == [77, 120, 160, 200]


def test_a_viewer_that_reads_nothing_slows_neither_the_games_nor_others(web):
    """The frames are noise, so that their images are large and fill the buffers of the connection."""
    noise = np.random.default_rng(0).integers(0, 256, (640, 880, 3), dtype=np.uint8)
    with socket.create_connection(web.socket.getsockname()) as dead:
        host = web.address.split("/")[2]
        dead.sendall(f"GET /pictures HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        with urllib.request.urlopen(web.address + "pictures", timeout=10) as stream:
            for _ in range(30):
                start = time.monotonic()
                web.show(noise, FAKE_STEP)
                assert time.monotonic() - start < 0.5
                read_jpeg(stream)
            (protocol,) = [each for each in web.server.server_state.connections if each.flow.write_paused]
            assert protocol.transport.get_write_buffer_size() < 2 * 10**6
            assert request_json(web, "/state")["title"] == "a title"


def test_connections_are_limited(web, monkeypatch):
    monkeypatch.setattr(web_guard, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(web_guard, "REQUEST_SECONDS", 0.5)
    idle = [socket.create_connection(web.socket.getsockname()) for _ in range(5)]
    for client in idle:
        client.settimeout(10)
        with suppress(ConnectionError):
            assert client.recv(10) == b""  # closed, some at once and some after REQUEST_SECONDS
        client.close()
    assert request_json(web, "/state")["title"] == "a title"


def test_server_listens_on_the_given_address_only(web):
    host, port = web.socket.getsockname()
    assert host == "127.0.0.1"
    for wrong_host in (host, "a.invalid", "\ud800", "x" * 70, "a\0b"):
        with pytest.raises(LabError, match=r"cannot be served on .*:\d+: .*choose another --port"):
            WebSink(Controls(), web.checkpoints, web.title, host=wrong_host, port=port)


def test_clients_that_disconnect_do_not_disturb_others(web):
    """Two clients disconnect, one in the middle of an image. A third client still receives each new frame."""
    port = web.socket.getsockname()[1]
    for num_bytes in (10, 4000):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(f"GET /pictures HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        client.recv(num_bytes)
        client.close()
    with urllib.request.urlopen(web.address + "pictures", timeout=10) as stream:
        for level in (77, 140, 10):
            if level != 77:
                web.show(np.full((40, 60, 3), level, np.uint8), FAKE_STEP)
            image = read_jpeg(stream)
            assert np.abs(image.astype(int) - level).max() <= 3
            assert image.shape == (40, 60, 3)
    assert request_json(web, "/state")["title"] == "a title"


def wait_until(page: Any, element_id: str, condition: str) -> None:
    """Wait for a condition. `page.wait_for_function` calls eval, which the policy of the page forbids."""
    deadline = time.monotonic() + 30
    while not page.evaluate(f"document.getElementById('{element_id}').{condition}"):
        assert time.monotonic() < deadline, (element_id, condition)
        time.sleep(0.05)


def wait_until_text(page: Any, element_id: str, condition: str) -> None:
    wait_until(page, element_id, f"textContent{condition}")


GREY_LEVEL = """() => {
    const context = document.createElement('canvas').getContext('2d')
    context.drawImage(document.getElementById('picture'), 0, 0, 1, 1)
    return context.getImageData(0, 0, 1, 1).data[0]
}"""


@needs_browser
def test_a_browser_with_the_token_shows_the_newest_frame_at_any_width(public_web):
    token = public_web.address.split("?")[1]
    address = f"http://127.0.0.1:{public_web.socket.getsockname()[1]}/"
    with browser_tab() as (page, errors):
        page.goto(f"{address}?{token}", wait_until="domcontentloaded")
        wait_until_text(page, "status", ".includes('score')")
        assert page.url == address  # the token is in the cookie
        for width in (1100, 400):
            page.set_viewport_size({"width": width, "height": 800})
            level = width // 10
            public_web.show(np.full((640, 880, 3), level, np.uint8), FAKE_STEP)
            wait_until(page, "picture", "naturalWidth == 880")
            deadline = time.monotonic() + 10
            while abs(page.evaluate(GREY_LEVEL) - level) > 3:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            box = page.locator("#picture").bounding_box()
            assert box["width"] / box["height"] == pytest.approx(880 / 640, rel=0.02)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.reload(wait_until="domcontentloaded")
        wait_until_text(page, "status", ".includes('score')")
        page.click("#pause")
        wait_until_text(page, "pause", " == 'resume'")
        assert errors == []


@needs_browser
def test_page_controls_the_game_in_a_browser(train, tmp_path):
    """Pause, one step, another checkpoint, speed, and the saliency button; the console shows no errors."""
    run = train(steps=900, eval_every=300, checkpoint_every=400)
    command = [sys.executable, "-m", "rl_lab", "watch", str(run), "--web", "--port", "0", "--epsilon", "0.5"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("on the page http://127.0.0.1:")
        address = line.split()[3]
        with browser_tab() as (page, errors):
            page.goto(address, wait_until="domcontentloaded")
            status = page.locator("#status")
            picture = page.locator("#picture")
            wait_until_text(page, "status", ".includes('score')")
            wait_until(page, "picture", "naturalWidth == 880")
            wait_until_text(page, "status", f" != {json.dumps(status.text_content())}")
            page.click("#pause")
            wait_until_text(page, "pause", " == 'resume'")
            time.sleep(0.7)
            paused_status = status.text_content()
            paused_picture = picture.screenshot()
            time.sleep(1.2)
            assert status.text_content() == paused_status
            assert picture.screenshot() == paused_picture
            page.click("#step")
            wait_until_text(page, "status", f" != {json.dumps(paused_status)}")
            time.sleep(0.7)
            assert picture.screenshot() != paused_picture
            names = page.locator("#checkpoint option").all_text_contents()
            assert (names[0], len(names)) == ("best", 3)
            page.select_option("#checkpoint", names[2])
            wait_until_text(page, "status", f".includes('step {int(names[2]):,},')")
            page.keyboard.press("+")
            wait_until_text(page, "speed", " == '2x'")
            page.keyboard.press(" ")
            wait_until_text(page, "pause", " == 'pause'")
            page.click("#restart")
            page.click("#saliency")
            assert page.locator("#saliency").text_content() == "saliency: off"
            assert process.poll() is None
            assert errors == []
            page.keyboard.press("q")
            assert process.wait(20) == 0
            wait_until_text(page, "status", " == 'the program has ended'")
    finally:
        process.kill()
        process.communicate()
