"""The guard of the web page: which requests reach the page, and the security headers of all answers.

An attacker may be a page of another site in the viewer's browser, or another machine. The guard answers their requests
itself, in one line of JSON.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import re
import secrets
import sys
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from rl_lab.system.printable import print_line

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
MAX_CONNECTIONS = 100  # at the same time; further connections are closed
REQUEST_SECONDS = 10.0  # the longest time from the connection to the end of the headers

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RefusedError(Exception):
    """A request that is not allowed, with the status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def refusal(error: RefusedError) -> Response:
    """Return the answer to a request that is not allowed: one line of JSON, after which the connection is closed."""
    content = json.dumps({"error": str(error)}) + "\n"
    return Response(content, error.status, {"Connection": "close"}, media_type="application/json")


class Guard:
    """ASGI middleware that refuses requests of strangers and adds the security headers.

    - Host: on a loopback address only the names of this machine, because an attacker's domain could point to it (DNS
      rebinding).
    - Origin: if a browser sends it, it must be the page itself. A request that changes something needs this header or
      the token.
    - Token: if other machines can connect, every request needs it, in the query or in the cookie that the page sets.
    - A request has no body; its parameters are in the query.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int, page: str) -> None:
        """Guard an application.

        Args:
            app: The application.
            host: Address that the server listens on.
            port: Port that the server listens on.
            page: HTML of the page, whose inline scripts and styles are allowed.
        """
        self.app = app
        self.cookie_name = f"rl_lab_{port}"  # browsers share cookies between the ports of a host
        self.token = "" if is_loopback(host) else secrets.token_urlsafe(24)
        self.hosts: set[str] = set()
        if not self.token:
            self.hosts = {f"{name}:{port}" for name in (*LOOPBACK_NAMES, url_host(host))}
            if port == 80:
                self.hosts |= {name.removesuffix(":80") for name in self.hosts}
        self.headers = {"Content-Security-Policy": content_security_policy(page), **SECURITY_HEADERS}

    @property
    def query(self) -> str:
        """Return the query that gives access to the page, empty if no token is needed."""
        return f"?{urlencode({'token': self.token})}" if self.token else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request to the application, and answer any other."""
        if scope["type"] != "http":
            return
        is_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                MutableHeaders(scope=message).update(self.headers)
                self._set_cookie(scope, message)
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, receive, send_with_headers)
        except RefusedError as error:
            await refusal(error)(scope, receive, send_with_headers)
        except Exception as error:  # a fault of the page must neither end the games nor print a traceback
            print_line(f"rl_lab: the page failed: {error!r}", file=sys.stderr)
            if not is_started:
                await refusal(RefusedError(500, "the page failed"))(scope, receive, send_with_headers)

    def _check(self, scope: Scope) -> None:
        """Raise RefusedError if the request is not allowed."""
        headers = Headers(scope=scope)
        self._check_host(headers)
        self._check_origin(headers, scope)
        has_token = self._has_token(headers, scope)
        if self.token and not has_token:
            raise RefusedError(401, "the token is missing or wrong: open the address that `watch` printed")
        if scope["method"] not in ("GET", "HEAD") and "origin" not in headers and not has_token:
            raise RefusedError(403, "a request without the header Origin needs the token")
        if headers.get("content-length", "0").strip() != "0" or "transfer-encoding" in headers:
            raise RefusedError(400, "a request must have no body; its parameters belong in the query")

    def _check_host(self, headers: Headers) -> None:
        names = headers.getlist("host")
        if len(names) != 1:
            raise RefusedError(400, "a request needs the header Host once")
        if self.hosts and names[0].lower() not in self.hosts:
            raise RefusedError(400, f"the page is at {', '.join(sorted(self.hosts))} only")

    def _check_origin(self, headers: Headers, scope: Scope) -> None:
        """Refuse requests that a browser marks as requests of another page, except links to the page."""
        own_origin = f"http://{headers['host'].lower()}"
        if any(origin.lower() != own_origin for origin in headers.getlist("origin")):
            raise RefusedError(403, "pages of other sites must not use this page")
        is_own = headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
        is_link = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if not is_own and not is_link:
            raise RefusedError(403, "pages of other sites must not use this page")

    def _has_token(self, headers: Headers, scope: Scope) -> bool:
        """Return True if the request has the token, in the query or in the cookie."""
        if not self.token:
            return False
        candidates = [value for name, value in _query(scope) if name == "token"]
        candidates += [cookie_parser(cookies).get(self.cookie_name, "") for cookies in headers.getlist("cookie")]
        return any(secrets.compare_digest(each.encode(errors="replace"), self.token.encode()) for each in candidates)

    def _set_cookie(self, scope: Scope, message: Message) -> None:
        """Let the browser keep the token, if the request had the token in the query."""
        is_page = scope["method"] == "GET" and scope["path"] == "/" and message["status"] == 200
        if self.token and is_page and any(name == "token" for name, _ in _query(scope)):
            cookie = f"{self.cookie_name}={self.token}; Path=/; HttpOnly; SameSite=Strict"
            MutableHeaders(scope=message).append("Set-Cookie", cookie)


class GuardedProtocol(H11Protocol):
    """The server's side of a connection. Limits the number of connections and the time until the first request."""

    def connection_made(self, transport: Any) -> None:
        """Accept the connection, or close it if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self.loop.call_later(REQUEST_SECONDS, self._close_without_request)

    def _close_without_request(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.abort()


def is_loopback(host: str) -> bool:
    """Return True if only this machine can connect to an IP address or to the name localhost."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_host(host: str) -> str:
    """Return a host as it stands in URLs: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def content_security_policy(page: str) -> str:
    """Return a policy that allows the inline scripts and styles of the page, and nothing from elsewhere."""
    directives = {
        "default-src": "'none'",
        "script-src": _hashes("script", page),
        "style-src": _hashes("style", page),
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def _hashes(tag: str, page: str) -> str:
    """Return the hashes of the contents of all elements with a tag, as a policy lists them."""
    contents = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in contents]
    return " ".join(f"'sha256-{value}'" for value in hashes)


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
