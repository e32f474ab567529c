"""A page on this machine that shows the pictures as a moving image and passes on what is pressed there."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rl_lab.errors import LabError
from rl_lab.watch.checkpoint_selector import Weights
from rl_lab.watch.controls import KEYS, Controls
from rl_lab.watch.game import Screen
from rl_lab.watch.player import Moment

PAGE = Path(__file__).with_name("page.html")
LOCAL = ("127.0.0.1", "localhost", "::1")
BOUNDARY = "picture"


class Web:
    """Serves the newest picture to whoever looks; the show goes on without them."""

    def __init__(self, controls: Controls, weights: Weights, title: Callable[[], str], *, host: str, port: int) -> None:
        """`port` 0 takes a free one. Raises LabError where the address cannot be had."""
        self.controls, self.weights, self.title = controls, weights, title
        self.picture: Screen | None = None
        self.number = 0  # of the newest picture
        self.told: dict[str, Any] = {}
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.bind((host, port))
        except (OSError, OverflowError) as error:
            self.socket.close()
            raise LabError(f"the page cannot be served on {host}:{port}: {error}; choose another --port") from error
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self.socket.getsockname()[1]}/"
        routes = [
            Route("/", self._page),
            Route("/pictures", self._pictures),
            Route("/state", self._state),
            Route("/press", self._press, methods=["POST"]),
            Route("/checkpoint", self._checkpoint, methods=["POST"]),
        ]
        # A page elsewhere must not be able to press keys: neither by a name that leads here nor by its own requests.
        guard = [Middleware(TrustedHostMiddleware, allowed_hosts=[*LOCAL, "[::1]"])] if host in LOCAL else []
        app = Starlette(routes=routes, middleware=guard)
        config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        while self.thread.is_alive() and not self.server.started:
            time.sleep(0.01)

    # --- the sink -------------------------------------------------------------------------------------------------

    def show(self, picture: Screen, moment: Moment) -> None:
        """The newest picture, and what the page says about it."""
        self.told = {"score": moment.score, "step": moment.step, "game": moment.game, "title": self.title()}
        self.picture = picture
        self.number += 1

    def idle(self) -> None:
        pass

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(5)
        self.socket.close()

    # --- the page -------------------------------------------------------------------------------------------------

    async def _page(self, request: Request) -> Response:
        return HTMLResponse(PAGE.read_text())

    async def _pictures(self, request: Request) -> Response:
        return StreamingResponse(self._stream(request), media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}")

    async def _stream(self, request: Request) -> AsyncIterator[bytes]:
        """Each new picture as JPEG. Browsers show a part when they read the line that begins the next one: it is sent at once."""
        sent = -1
        yield f"--{BOUNDARY}\r\n".encode()
        while not self.server.should_exit and not await request.is_disconnected():
            number, picture = self.number, self.picture
            if number == sent or picture is None:
                await asyncio.sleep(0.01)
                continue
            part = await asyncio.to_thread(_jpeg_part, picture)
            yield part
            sent = number

    async def _state(self, request: Request) -> Response:
        controls = self.controls
        state = {
            "paused": controls.paused,
            "speed": controls.speed,
            "saliency": controls.saliency,
            "checkpoint": self.weights.name,
            "checkpoints": self.weights.names,
            "keys": KEYS,
        }
        return JSONResponse(self.told | state)

    async def _press(self, request: Request) -> Response:
        if refused := _from_elsewhere(request):
            return refused
        key = request.query_params.get("key", "")
        if key not in KEYS:
            return JSONResponse({"error": f"{key!r} is no key; there are {list(KEYS)}"}, 400)
        self.controls.press(key)
        return await self._state(request)

    async def _checkpoint(self, request: Request) -> Response:
        if refused := _from_elsewhere(request):
            return refused
        name = request.query_params.get("name", "")
        if name not in self.weights.names:
            return JSONResponse({"error": f"{name!r} is no checkpoint; there are {self.weights.names}"}, 400)
        self.controls.choose(name)
        return await self._state(request)


def _from_elsewhere(request: Request) -> Response | None:
    """A refusal, if a browser says that another site's page asks."""
    if request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none"):
        return None
    return JSONResponse({"error": "only this page may press its keys"}, 403)


def _jpeg_part(picture: Screen) -> bytes:
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data.tobytes() + f"\r\n--{BOUNDARY}\r\n".encode()
