"""A sink that serves a web page with the frames as a moving image and with buttons for the controls."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import cv2
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rl_lab.errors import LabError
from rl_lab.watch.checkpoint_selector import CheckpointSelector
from rl_lab.watch.controls import KEYS, Controls
from rl_lab.watch.images import RgbImage, to_bgr
from rl_lab.watch.player import PlayerStep

PAGE = Path(__file__).with_name("page.html")
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
BOUNDARY = "picture"  # separates the parts of the multipart response
JPEG_QUALITY = 88
POLL_SECONDS = 0.01  # time between two checks for a new frame
CLOSE_SECONDS = 5.0  # the longest time that closing waits for the server


class WebSink:
    """Serve the newest frame to any number of browsers. The games do not wait for a browser.

    Routes:

        GET  /                     the page
        GET  /pictures             the frames as JPEG images, in one multipart response that does not end
        GET  /state                JSON: score, step, game and title of the newest frame; controls; checkpoints
        POST /press?key=K          press a key of the controls
        POST /checkpoint?name=N    play with another checkpoint
    """

    def __init__(
        self,
        controls: Controls,
        checkpoints: CheckpointSelector,
        title: Callable[[], str],
        *,
        host: str,
        port: int,
    ) -> None:
        """Start the server in a thread.

        Args:
            controls: Receives the keys.
            checkpoints: Names the checkpoints that a person can choose.
            title: Returns the title of the next frame.
            host: Address to listen on.
            port: Port to listen on; 0 takes a free port.

        Raises:
            LabError: The server cannot listen on this address.
        """
        self.controls = controls
        self.checkpoints = checkpoints
        self.title = title
        self.frame: RgbImage | None = None
        self.frame_number = 0
        self.game_state: dict[str, Any] = {}
        self.socket = _bind(host, port)
        url_host = f"[{host}]" if ":" in host else host  # IPv6 addresses have brackets in URLs
        self.address = f"http://{url_host}:{self.socket.getsockname()[1]}/"
        self.server = uvicorn.Server(
            uvicorn.Config(self._make_app(host), log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        )
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        while self.thread.is_alive() and not self.server.started:
            time.sleep(POLL_SECONDS)

    def show(self, frame: RgbImage, player_step: PlayerStep) -> None:
        """Publish a frame and the score, step and game that the page shows below it."""
        self.game_state = {
            "score": player_step.score,
            "step": player_step.step_number,
            "game": player_step.game_number,
            "title": self.title(),
        }
        self.frame = frame
        self.frame_number += 1

    def poll(self) -> None:
        """Do nothing: the server's thread passes the keys to the controls."""

    def close(self) -> None:
        """Stop the server."""
        self.server.should_exit = True
        self.thread.join(CLOSE_SECONDS)
        self.socket.close()

    def _make_app(self, host: str) -> Starlette:
        routes = [
            Route("/", self._get_page),
            Route("/pictures", self._get_frames),
            Route("/state", self._get_state),
            Route("/press", self._post_key, methods=["POST"]),
            Route("/checkpoint", self._post_checkpoint, methods=["POST"]),
        ]
        middleware: list[Middleware] = []
        if host in LOCAL_HOSTS:
            # Refuse other host names. The page of an attacker could use a name that resolves to this machine.
            middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=[*LOCAL_HOSTS, "[::1]"]))
        return Starlette(routes=routes, middleware=middleware)

    async def _get_page(self, request: Request) -> Response:
        return HTMLResponse(PAGE.read_text())

    async def _get_frames(self, request: Request) -> Response:
        media_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        return StreamingResponse(self._jpeg_parts(request), media_type=media_type)

    async def _jpeg_parts(self, request: Request) -> AsyncIterator[bytes]:
        """Yield each new frame as a JPEG part of a multipart response, until the browser disconnects."""
        sent = -1
        yield f"--{BOUNDARY}\r\n".encode()
        while not self.server.should_exit and not await request.is_disconnected():
            number = self.frame_number
            frame = self.frame
            if number == sent or frame is None:
                await asyncio.sleep(POLL_SECONDS)
                continue
            part = await asyncio.to_thread(_jpeg_part, frame)
            yield part
            sent = number

    async def _get_state(self, request: Request) -> Response:
        controls_state = {
            "paused": self.controls.paused,
            "speed": self.controls.speed,
            "saliency": self.controls.saliency_method,
            "checkpoint": self.checkpoints.name,
            "checkpoints": self.checkpoints.names,
            "keys": KEYS,
        }
        return JSONResponse(self.game_state | controls_state)

    async def _post_key(self, request: Request) -> Response:
        if _is_cross_site(request):
            return _refusal()
        key = request.query_params.get("key", "")
        if key not in KEYS:
            return JSONResponse({"error": f"unknown key {key!r}; the keys are {list(KEYS)}"}, 400)
        self.controls.press(key)
        return await self._get_state(request)

    async def _post_checkpoint(self, request: Request) -> Response:
        if _is_cross_site(request):
            return _refusal()
        name = request.query_params.get("name", "")
        names = self.checkpoints.names
        if name not in names:
            return JSONResponse({"error": f"unknown checkpoint {name!r}; the checkpoints are {names}"}, 400)
        self.controls.select_checkpoint(name)
        return await self._get_state(request)


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise LabError(f"the page cannot be served on {host}:{port}: {error}; choose another --port") from error
    return bound


def _is_cross_site(request: Request) -> bool:
    """Return True if the browser reports that a page of another site made the request."""
    return request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def _refusal() -> Response:
    return JSONResponse({"error": "pages of other sites must not use the controls"}, 403)


def _jpeg_part(frame: RgbImage) -> bytes:
    """Return one part of the multipart response, with the boundary at its end.

    A browser shows a part when it receives the boundary that follows. Sending this boundary at once avoids a delay of
    one frame.
    """
    _, data = cv2.imencode(".jpg", to_bgr(frame), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    header = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
    return header.encode() + data.tobytes() + f"\r\n--{BOUNDARY}\r\n".encode()
