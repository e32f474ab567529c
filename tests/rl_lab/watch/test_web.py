"""The page: its server by plain requests, and the page itself in a browser."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest
from browser import browser_tab, needs_browser

from rl_lab import api
from rl_lab.errors import LabError
from rl_lab.watch.checkpoint_selector import Weights
from rl_lab.watch.controls import Controls
from rl_lab.watch.sinks.web import Web


class FakeMoment:
    score, step, game = 3.0, 7, 2


@pytest.fixture
def web(demo):
    page = Web(Controls(), Weights(demo.path, api.load(demo)), lambda: "a title", host="127.0.0.1", port=0)
    page.show(np.full((40, 60, 3), 77, np.uint8), FakeMoment())
    yield page
    page.close()


def ask(web, path, method="GET", **headers):
    request = urllib.request.Request(web.address.rstrip("/") + path, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def next_jpeg(stream):
    """The picture of the next part."""
    length = None
    while (line := stream.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length"):
            length = int(line.split(b":")[1])
    if length is None:
        return next_jpeg(stream)
    return cv2.imdecode(np.frombuffer(stream.read(length), np.uint8), cv2.IMREAD_COLOR)


def test_it_tells_and_takes_what_is_pressed(web):
    state = ask(web, "/state")
    assert (state["score"], state["step"], state["game"], state["title"]) == (3.0, 7, 2, "a title")
    assert (state["checkpoint"], state["checkpoints"]) == ("best", ["best"])
    assert ask(web, "/press?key=%20", "POST")["paused"] is True
    assert web.controls.paused
    ask(web, "/checkpoint?name=best", "POST")
    assert web.controls.checkpoint == "best"
    for path in ("/press?key=x", "/press", "/checkpoint?name=../../etc"):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(web, path, "POST")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        ask(web, "/press?key=q")
    assert not web.controls.quit


def test_it_answers_to_its_own_name_only(web):
    """A page elsewhere whose name has been made to lead here cannot press keys."""
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(web, "/press?key=q", "POST", Host="elsewhere.example")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask(web, "/press?key=q", "POST", **{"Sec-Fetch-Site": "cross-site"})
    assert not web.controls.quit


def test_it_is_bound_to_this_machine_unless_asked(web):
    assert web.socket.getsockname()[0] == "127.0.0.1"
    with pytest.raises(LabError, match=r"cannot be served on 127\.0\.0\.1:\d+: .*choose another --port"):
        Web(Controls(), web.weights, web.title, host="127.0.0.1", port=web.socket.getsockname()[1])


def test_a_client_that_leaves_harms_nobody(web):
    """One leaves in the middle of a picture, one after one; a third one still sees each new picture, a paused one too."""
    port = web.socket.getsockname()[1]
    for size in (10, 4000):
        leaver = socket.create_connection(("127.0.0.1", port))
        leaver.sendall(b"GET /pictures HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        leaver.recv(size)
        leaver.close()
    with urllib.request.urlopen(web.address + "pictures", timeout=10) as stream:
        for level in (77, 140, 10):
            if level != 77:
                web.show(np.full((40, 60, 3), level, np.uint8), FakeMoment())
            picture = next_jpeg(stream)
            assert np.abs(picture.astype(int) - level).max() <= 3
            assert picture.shape == (40, 60, 3)
    assert ask(web, "/state")["title"] == "a title"


@needs_browser
def test_the_page_in_a_browser(train, tmp_path):
    """Play, pause, one step, another checkpoint, faster, saliency that there is none of; no error on the console."""
    run = train(steps=900, eval_every=300, checkpoint_every=400)
    command = [sys.executable, "-m", "rl_lab", "watch", str(run), "--web", "--port", "0", "--epsilon", "0.5"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("on the page http://127.0.0.1:")
        with browser_tab() as (page, errors):
            page.goto(line.split()[3], wait_until="domcontentloaded")
            said = page.locator("#said")
            page.wait_for_function("document.getElementById('said').textContent.includes('score')")
            page.wait_for_function("document.getElementById('picture').naturalWidth == 880")
            first = said.text_content()
            page.wait_for_function(f"document.getElementById('said').textContent != {json.dumps(first)}")
            page.click("#pause")
            page.wait_for_function("document.getElementById('pause').textContent == 'play'")
            time.sleep(0.7)
            still, before = said.text_content(), page.locator("#picture").screenshot()
            time.sleep(1.2)
            assert said.text_content() == still
            assert page.locator("#picture").screenshot() == before
            page.click("#step")
            page.wait_for_function(f"document.getElementById('said').textContent != {json.dumps(still)}")
            time.sleep(0.7)
            assert page.locator("#picture").screenshot() != before
            names = page.locator("#checkpoint option").all_text_contents()
            assert names[0] == "best"
            assert len(names) == 3
            page.select_option("#checkpoint", names[2])
            page.wait_for_function(f"document.getElementById('said').textContent.includes('step {int(names[2]):,},')")
            page.keyboard.press("+")
            page.wait_for_function("document.getElementById('speed').textContent == '2x'")
            page.keyboard.press(" ")
            page.wait_for_function("document.getElementById('pause').textContent == 'pause'")
            page.click("#restart")
            page.click("#saliency")
            assert page.locator("#saliency").text_content() == "saliency: off"
            assert process.poll() is None
            assert errors == []
            page.keyboard.press("q")
            assert process.wait(20) == 0
            page.wait_for_function("document.getElementById('said').textContent == 'the show has ended'")
    finally:
        process.kill()
        process.communicate()
