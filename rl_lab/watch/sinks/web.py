"""A sink that serves a web page with the frames as a moving image and with buttons for the controls."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rl_lab.errors import LabError
from rl_lab.system.printable import printable
from rl_lab.watch.checkpoint_selector import SelectableCheckpoints
from rl_lab.watch.controls import KEYS, Controls
from rl_lab.watch.images import RgbImage
from rl_lab.watch.player import PlayerStep
from rl_lab.watch.sinks.web_frames import BOUNDARY, PART_START, FrameEncoder, NumberedFrame
from rl_lab.watch.sinks.web_guard import Guard, GuardedProtocol, RefusedError, refusal, url_host

PAGE = Path(__file__).with_name("page.html")
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

    `Guard` decides which requests reach these routes.

    Attributes:
        address: The address to open in a browser, with the token if one is needed.
    """

    def __init__(
        self,
        controls: Controls,
        checkpoints: SelectableCheckpoints,
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
        self.page = PAGE.read_text(encoding="utf-8")
        self.newest = NumberedFrame(0, None, {})
        self.encoder = FrameEncoder()
        self.socket = _bind(host, port)
        bound_host, bound_port = self.socket.getsockname()[:2]
        guard = Guard(self._make_app(), host=bound_host, port=bound_port, page=self.page)
        self.address = f"http://{url_host(_reachable(bound_host))}:{bound_port}/{guard.query}"
        self.server = uvicorn.Server(
            uvicorn.Config(
                guard,
                http=GuardedProtocol,
                ws="none",
                lifespan="off",
                log_level="critical",
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        while self.thread.is_alive() and not self.server.started:
            time.sleep(POLL_SECONDS)

    def show(self, frame: RgbImage, player_step: PlayerStep) -> None:
        """Publish a frame and the score, step and game that the page shows below it."""
        game_state = {
            "score": player_step.score if math.isfinite(player_step.score) else None,  # JSON has no NaN
            "step": player_step.step_number,
            "game": player_step.game_number,
            "title": printable(self.title()),
        }
        self.newest = NumberedFrame(self.newest.number + 1, frame, game_state)  # one assignment, for the other thread

    def poll(self) -> None:
        """Do nothing: the server's thread passes the keys to the controls."""

    def close(self) -> None:
        """Stop the server."""
        self.server.should_exit = True
        self.thread.join(CLOSE_SECONDS)
        self.socket.close()

    def _make_app(self) -> Starlette:
        routes = [
            Route("/", self._get_page),
            Route("/pictures", self._get_frames),
            Route("/state", self._get_state),
            Route("/press", self._post_key, methods=["POST"]),
            Route("/checkpoint", self._post_checkpoint, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={RefusedError: _refuse})

    async def _get_page(self, request: Request) -> Response:
        return HTMLResponse(self.page)

    async def _get_frames(self, request: Request) -> Response:
        media_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        if request.method == "HEAD":
            return Response(media_type=media_type)
        return StreamingResponse(self._jpeg_parts(request), media_type=media_type)

    async def _jpeg_parts(self, request: Request) -> AsyncIterator[bytes]:
        """Yield each new frame as a JPEG part of a multipart response, until the browser disconnects.

        A slow browser skips frames: the generator continues when the browser has taken the last part.
        """
        sent = 0
        yield PART_START
        while not self.server.should_exit and not await request.is_disconnected():
            newest = self.newest
            if newest.number == sent:
                await asyncio.sleep(POLL_SECONDS)
                continue
            yield await self.encoder.jpeg_part(newest)
            sent = newest.number

    async def _get_state(self, request: Request) -> Response:
        controls_state = {
            "paused": self.controls.paused,
            "speed": self.controls.speed,
            "saliency": self.controls.saliency_method,
            "checkpoint": self.checkpoints.name,
            "checkpoints": self.checkpoints.names,
            "keys": KEYS,
        }
        return JSONResponse(self.newest.game_state | controls_state)

    async def _post_key(self, request: Request) -> Response:
        key = _parameter(request, "key", list(KEYS))
        self.controls.press(key)
        return await self._get_state(request)

    async def _post_checkpoint(self, request: Request) -> Response:
        name = _parameter(request, "name", self.checkpoints.names)
        self.controls.select_checkpoint(name)
        return await self._get_state(request)


def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return refusal(error)


def _parameter(request: Request, name: str, choices: list[str]) -> str:
    """Return the parameter of a request.

    Raises:
        RefusedError: The parameter is missing, given twice, or not one of the choices, or there is another one.
    """
    parameters = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
    if [key for key, _ in parameters] != [name]:
        raise RefusedError(400, f"the request needs the parameter {name}, once and no other")
    value = parameters[0][1]
    if value not in choices:
        raise RefusedError(400, f"unknown {name} {printable(value[:40])!r}; it must be one of {choices}")
    return value


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError, TypeError, ValueError) as error:  # the last two: no valid name of a host
        bound.close()
        raise LabError(
            f"the page cannot be served on {host}:{port}: {error}; choose another --port or --host"
        ) from error
    return bound


def _reachable(host: str) -> str:
    """Return an address of this machine under which a server that listens on `host` can be reached."""
    if host not in ("0.0.0.0", "::"):
        return host
    family = socket.AF_INET6 if host == "::" else socket.AF_INET
    documentation_address = "2001:db8::1" if host == "::" else "192.0.2.1"
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((documentation_address, 9))  # sends nothing: the system only chooses its own address
            return probe.getsockname()[0]
        except OSError:  # no network
            return "::1" if host == "::" else "127.0.0.1"
