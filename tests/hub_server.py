"""A local server with the part of the Hugging Face Hub's API that pushing and pulling an agent needs.

Repositories are dictionaries in memory. Files are uploaded inside of commits, as the Hub allows for small files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """The server. `repos` maps user/name to the files of the repository."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.tokens: list[str] = []  # the header "authorization" of each request that changes a repository
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        """Return the address of the server."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    @property
    def hub(self) -> HubServer:
        """Return the server of the request."""
        assert isinstance(self.server, HubServer)
        return self.server

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"POST {path}")
        self.hub.tokens.append(self.headers.get("authorization", ""))
        if not self.headers.get("authorization"):
            self._send_json({"error": "Invalid username or password."}, 401)
            return
        if path == "/api/repos/create":
            fields = json.loads(content)
            repo = f"{fields.get('organization') or 'user'}/{fields['name']}"
            self.hub.repos.setdefault(repo, {})
            self._send_json({"url": f"{self.hub.address}/{repo}", "name": repo, "id": repo})
        elif path == "/api/validate-yaml":
            self._send_json({"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            files = json.loads(content)["files"]
            self._send_json(
                {"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]}
            )
        elif path.endswith("/commit/main"):
            repo = path.removeprefix("/api/models/").removesuffix("/commit/main")
            for line in content.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.hub.repos[repo][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self._send_json({"commitUrl": f"{self.hub.address}/{repo}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self._send_json({"error": f"unknown {path}"}, 404)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        repo, _, rest = path.removeprefix("/").partition("/resolve/")
        if path.startswith("/api/models/"):
            repo = path.removeprefix("/api/models/").partition("/revision/")[0]
            if repo in self.hub.repos:
                names = [{"rfilename": name} for name in self.hub.repos[repo]]
                self._send_json({"id": repo, "sha": COMMIT, "siblings": names})
                return
        if repo not in self.hub.repos:
            self._send_json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return
        name = rest.partition("/")[2]
        content = self.hub.repos[repo].get(name)
        if content is None:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
            self._send_json({"error": "Entry not found"}, 404, headers)
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def _send_json(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def running_hub() -> Iterator[HubServer]:
    """Run a server inside a `with` block."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
