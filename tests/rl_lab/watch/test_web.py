"""Tests of the web sink: its server with plain requests, and its page in a browser."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import cv2
import numpy as np
import pytest
from browser import browser_tab, needs_browser

from rl_lab import api
from rl_lab.errors import LabError
from rl_lab.watch.checkpoint_selector import CheckpointSelector
from rl_lab.watch.controls import Controls
from rl_lab.watch.sinks.web import WebSink


class FakeStep:
    """The attributes of a PlayerStep that the web sink reads."""

    score, step_number, game_number = 3.0, 7, 2


FAKE_STEP: Any = FakeStep()


@pytest.fixture
def web(demo):
    checkpoints = CheckpointSelector(demo.path, api.load(demo))
    sink = WebSink(Controls(), checkpoints, lambda: "a title", host="127.0.0.1", port=0)
    sink.show(np.full((40, 60, 3), 77, np.uint8), FAKE_STEP)
    yield sink
    sink.close()


def request_json(web: WebSink, path: str, method: str = "GET", **headers: str) -> Any:
    request = urllib.request.Request(web.address.rstrip("/") + path, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read())


def read_jpeg(stream: Any) -> np.ndarray:
    """Return the image of the next part of a multipart response."""
    length = None
    while (line := stream.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length"):
            length = int(line.split(b":")[1])
    if length is None:
        return read_jpeg(stream)
    image = cv2.imdecode(np.frombuffer(stream.read(length), np.uint8), cv2.IMREAD_COLOR)
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


def test_unknown_keys_and_checkpoints_are_refused(web):
    for path in ("/press?key=x", "/press", "/checkpoint?name=../../etc"):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            request_json(web, path, "POST")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        request_json(web, "/press?key=q")
    assert not web.controls.quit


def test_requests_of_other_sites_are_refused(web):
    """Neither a foreign host name that resolves to this machine nor a cross-site request can press keys."""
    with pytest.raises(urllib.error.HTTPError, match="400"):
        request_json(web, "/press?key=q", "POST", Host="elsewhere.example")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        request_json(web, "/press?key=q", "POST", **{"Sec-Fetch-Site": "cross-site"})
    assert not web.controls.quit


def test_server_listens_on_the_given_address_only(web):
    host, port = web.socket.getsockname()
    assert host == "127.0.0.1"
    with pytest.raises(LabError, match=r"cannot be served on 127\.0\.0\.1:\d+: .*choose another --port"):
        WebSink(Controls(), web.checkpoints, web.title, host=host, port=port)


def test_clients_that_disconnect_do_not_disturb_others(web):
    """Two clients disconnect, one in the middle of an image. A third client still receives each new frame."""
    port = web.socket.getsockname()[1]
    for num_bytes in (10, 4000):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"GET /pictures HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
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

            def wait_until_text(element_id: str, condition: str) -> None:
                page.wait_for_function(f"document.getElementById('{element_id}').textContent{condition}")

            wait_until_text("status", ".includes('score')")
            page.wait_for_function("document.getElementById('picture').naturalWidth == 880")
            wait_until_text("status", f" != {json.dumps(status.text_content())}")
            page.click("#pause")
            wait_until_text("pause", " == 'resume'")
            time.sleep(0.7)
            paused_status = status.text_content()
            paused_picture = picture.screenshot()
            time.sleep(1.2)
            assert status.text_content() == paused_status
            assert picture.screenshot() == paused_picture
            page.click("#step")
            wait_until_text("status", f" != {json.dumps(paused_status)}")
            time.sleep(0.7)
            assert picture.screenshot() != paused_picture
            names = page.locator("#checkpoint option").all_text_contents()
            assert (names[0], len(names)) == ("best", 3)
            page.select_option("#checkpoint", names[2])
            wait_until_text("status", f".includes('step {int(names[2]):,},')")
            page.keyboard.press("+")
            wait_until_text("speed", " == '2x'")
            page.keyboard.press(" ")
            wait_until_text("pause", " == 'pause'")
            page.click("#restart")
            page.click("#saliency")
            assert page.locator("#saliency").text_content() == "saliency: off"
            assert process.poll() is None
            assert errors == []
            page.keyboard.press("q")
            assert process.wait(20) == 0
            wait_until_text("status", " == 'the program has ended'")
    finally:
        process.kill()
        process.communicate()
