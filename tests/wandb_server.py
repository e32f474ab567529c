"""A W&B server on the loopback interface for tests. It implements the part of the protocol that the W&B client uses.

A client sends GraphQL requests to /graphql (`GraphQLOperations`), lines of history to /files (`WandbServer.add_lines`),
and files to the upload addresses under /storage that GraphQL responses contain. Everything is kept in memory.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY = "someone"
API_KEY = "local-" + "0" * 40
HISTORY_FILE = "wandb-history.jsonl"
EVENTS_FILE = "wandb-events.jsonl"
SUMMARY_FILE = "wandb-summary.json"
CREATED_AT = "2026-01-01"

Json = dict[str, Any]


@dataclass
class StoredRun:
    """A run as the server stores it."""

    name: str  # the id of the run
    project: str = ""
    group: str = ""
    job_type: str = ""
    display_name: str = ""
    tags: list[str] = field(default_factory=list)
    notes: str = ""
    config: Json = field(default_factory=dict)
    summary: Json = field(default_factory=dict)
    lines: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))  # file -> line number -> text
    files: dict[str, bytes] = field(default_factory=dict)  # path -> content
    is_complete: bool = False

    @property
    def history(self) -> list[Json]:
        """Return the lines of the history. Fails if a line number is missing."""
        lines = self.lines[HISTORY_FILE]
        assert sorted(lines) == list(range(len(lines))), "the history has gaps"
        return [json.loads(lines[i]) for i in range(len(lines))]


@dataclass
class StoredArtifact:
    """A version of an artifact as the server stores it."""

    name: str
    aliases: list[str]
    run: str
    files: dict[str, bytes] = field(default_factory=dict)  # path -> content
    is_committed: bool = False


@dataclass
class StoredView:
    """A saved view or a report as the server stores it."""

    title: str
    type: str
    spec: Json


class WandbServer:
    """The state of the server. Use `with WandbServer.running() as server`."""

    def __init__(self) -> None:
        self.url = ""
        self.runs: dict[str, StoredRun] = {}
        self.artifacts: dict[str, StoredArtifact] = {}
        self.views: dict[str, StoredView] = {}
        self.unknown_operations: set[str] = set()  # GraphQL operations that are not implemented
        self.is_down = False  # answer every request with 503, as a proxy does if its server is down
        self.lock = threading.Lock()
        self.operations = GraphQLOperations(self)

    @classmethod
    @contextmanager
    def running(cls, port: int = 0) -> Iterator[WandbServer]:
        """Start a server, and stop it at the end of the `with` block. Port 0 chooses a free port."""
        server = cls()
        http_server = ThreadingHTTPServer(("127.0.0.1", port), lambda *args: RequestHandler(server, *args))
        http_server.daemon_threads = True
        server.url = f"http://127.0.0.1:{http_server.server_port}"
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            http_server.shutdown()
            http_server.server_close()

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which a client uses this server."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": API_KEY}

    def last_step(self) -> int:
        """Return the agent step of the newest line of history on the server, 0 if there is none."""
        with self.lock:
            texts = [text for run in self.runs.values() for text in run.lines.get(HISTORY_FILE, {}).values()]
            return max((json.loads(text)["global_step"] for text in texts), default=0)

    def add_lines(self, run_name: str, content: Json) -> Json:
        """Store lines of history, events or summary.

        Args:
            run_name: The id of the run.
            content: "files": file name -> {"offset": number of the first line, "content": lines}, and "complete".
        """
        run = self.runs[run_name]
        for file, part in content.get("files", {}).items():
            if file == SUMMARY_FILE:
                run.summary = json.loads(part["content"][-1])
                continue
            for number, line in enumerate(part["content"], part["offset"]):
                run.lines[file][number] = line
        run.is_complete = content.get("complete", False)
        return {"exitcode": None, "limits": {}}

    def upload_target(self, artifact_id: str, path: str) -> Json:
        """Return the address to which the client uploads a file of an artifact."""
        return {"uploadUrl": f"{self.url}/storage/artifact/{artifact_id}/{path}", "uploadHeaders": []}


class GraphQLOperations:
    """The GraphQL operations. A method has the name of its operation, and its parameters are the variables it uses."""

    def __init__(self, server: WandbServer) -> None:
        self.server = server
        self.artifact_numbers = itertools.count(1)

    # --- Account and server ---------------------------------------------------------------------------------------

    def Viewer(self, **_: Any) -> Json:
        viewer = {"id": "u1", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}", "teams": None}
        return {"viewer": viewer}

    def GetDefaultEntity(self, **variables: Any) -> Json:
        return self.Viewer(**variables)

    def OrganizationCoreWeaveOrganizationID(self, **_: Any) -> Json:
        return {"entity": {"organization": None}}

    def ServerFeaturesQuery(self, **_: Any) -> Json:
        return {"serverInfo": {"features": []}}

    # --- Projects and runs ----------------------------------------------------------------------------------------

    def GetProjects(self, **_: Any) -> Json:
        page_info = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        edges = []
        for name in sorted({run.project for run in self.server.runs.values()}):
            node = {
                "__typename": "Project",
                "id": f"p-{name}",
                "name": name,
                "entityName": ENTITY,
                "createdAt": CREATED_AT,
                "isBenchmark": False,
                "user": None,
            }
            edges.append({"node": node})
        return {"models": {"pageInfo": page_info, "edges": edges}}

    def ProjectInternalId(self, *, projectName: str, **_: Any) -> Json:
        return {"project": {"id": f"p-{projectName}", "internalId": "1"}}

    def RunResumeStatus(self, *, project: str, name: str, **_: Any) -> Json:
        run = self.server.runs.get(name)
        bucket = run_node(run) if run else None
        return {"model": {**project_node(project), "bucket": bucket}}

    def UpsertBucket(self, *, name: str, project: str = "", **variables: Any) -> Json:
        """Create or change a run."""
        is_new = name not in self.server.runs
        run = self.server.runs.setdefault(name, StoredRun(name, project))
        attributes = {"groupName": "group", "jobType": "job_type", "displayName": "display_name"}
        attributes |= {"tags": "tags", "notes": "notes"}
        for variable, attribute in attributes.items():
            if variables.get(variable) is not None:
                setattr(run, attribute, variables[variable])
        if variables.get("config"):
            for key, entry in json.loads(variables["config"]).items():
                run.config[key] = entry["value"]
        return {"upsertBucket": {"bucket": run_node(run), "inserted": is_new}}

    def CreateRunFiles(self, *, run: str, files: list[str], **_: Any) -> Json:
        urls = [{"name": path, "uploadUrl": f"{self.server.url}/storage/run/{run}/{path}"} for path in files]
        return {"createRunFiles": {"runID": run, "uploadHeaders": [], "files": urls}}

    def Runs(self, *, filters: str, **_: Any) -> Json:
        """Count the runs with certain names."""
        count = sum(name in self.server.runs for name in json.loads(filters)["name"]["$in"])
        runs = {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}
        return {"project": {"internalId": "1", "runCount": count, "readOnly": False, "runs": runs}}

    # --- Views and reports ----------------------------------------------------------------------------------------

    def UpsertView2(self, *, name: str, displayName: str, spec: str, type: str, **_: Any) -> Json:
        """Create or change a saved view."""
        self.server.views[name] = StoredView(displayName, type, json.loads(spec))
        return {"upsertView": {"view": {"id": f"v-{name}", "name": name}, "inserted": True}}

    def upsertView(self, *, projectName: str, **variables: Any) -> Json:
        """Create or change a report."""
        view = self.UpsertView2(**variables)["upsertView"]["view"]
        for key in ("displayName", "description", "type", "spec"):
            view[key] = variables[key]
        view["project"] = {**project_node(projectName), "entityName": ENTITY}
        view["updatedAt"] = CREATED_AT
        return {"upsertView": {"view": view, "inserted": True}}

    # --- Artifacts ------------------------------------------------------------------------------------------------

    def ArtifactType(self, **_: Any) -> Json:
        return {"project": {"artifact": None}}

    def CreateArtifact(self, *, input: Json, **_: Any) -> Json:
        artifact_id = f"a{next(self.artifact_numbers)}"
        aliases = [alias["alias"] for alias in input["aliases"]]
        self.server.artifacts[artifact_id] = StoredArtifact(input["artifactCollectionName"], aliases, input["runName"])
        artifact = {"id": artifact_id, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": artifact}}

    def CreateArtifactManifest(self, *, artifactID: str, includeUpload: bool, **_: Any) -> Json:
        file: Json = {"id": f"f-{artifactID}"}
        if includeUpload:
            file |= self.server.upload_target(artifactID, "manifest")
        return {"createArtifactManifest": {"artifactManifest": {"id": f"m-{artifactID}", "file": file}}}

    def UpdateArtifactManifest(self, *, artifactManifestID: str, **_: Any) -> Json:
        artifact_id = artifactManifestID.removeprefix("m-")
        file = {"id": "f", **self.server.upload_target(artifact_id, "manifest")}
        return {"updateArtifactManifest": {"artifactManifest": {"id": artifactManifestID, "file": file}}}

    def CreateArtifactFiles(self, *, input: Json, **_: Any) -> Json:
        edges = []
        for entry in input["artifactFiles"]:
            artifact_id = entry["artifactID"]
            name = entry["name"]
            node = {
                "id": f"f-{name}",
                "name": name,
                "displayName": name,
                "uploadMultipartUrls": None,
                "storagePath": None,
                "artifact": {"id": artifact_id},
                **self.server.upload_target(artifact_id, name),
            }
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def CommitArtifact(self, *, artifactID: str, **_: Any) -> Json:
        self.server.artifacts[artifactID].is_committed = True
        return {"commitArtifact": {"artifact": {"id": artifactID, "digest": ""}}}


def project_node(name: str) -> Json:
    """Return a project as GraphQL responses contain it."""
    return {"id": f"p-{name}", "name": name, "entity": {"id": "e1", "name": ENTITY}}


def run_node(run: StoredRun) -> Json:
    """Return a run as GraphQL responses contain it, with the number of its lines and the last line of each kind."""
    tails: Json = {}
    for file, kind in ((HISTORY_FILE, "history"), (EVENTS_FILE, "events")):
        lines = run.lines.get(file, {})
        tails[f"{kind}LineCount"] = len(lines)
        tails[f"{kind}Tail"] = json.dumps([lines[max(lines)]] if lines else [])
    return {
        "id": f"r-{run.name}",
        "name": run.name,
        "displayName": run.display_name,
        "description": None,
        "config": json.dumps({key: {"value": value} for key, value in run.config.items()}),
        "summaryMetrics": json.dumps(run.summary),
        "tags": run.tags,
        "notes": None,
        "sweepName": None,
        "wandbConfig": '{"t": 1}',
        "logLineCount": 0,
        "project": project_node(run.project),
        **tails,
    }


class RequestHandler(BaseHTTPRequestHandler):
    """Passes HTTP requests to the server."""

    protocol_version = "HTTP/1.1"

    def __init__(self, server: WandbServer, *args: Any) -> None:
        self.wandb_server = server  # `server` is an attribute of the base class
        super().__init__(*args)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def handle(self) -> None:
        """Handle the requests of a connection. The client may close the connection at any time."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        """Handle any request: the path alone decides what it does."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.wandb_server.is_down:
            self.respond({"error": "down"}, 503)
            return
        with self.wandb_server.lock:
            response = self.response_to(body)
        if response is None:
            print("unknown request:", self.command, self.path, body[:500], flush=True)
            self.respond({}, 404)
        else:
            self.respond(response)

    do_POST = do_GET
    do_PUT = do_GET

    def response_to(self, body: bytes) -> Json | None:
        """Return the response to a request, or None if the path is unknown."""
        server = self.wandb_server
        match self.path.strip("/").split("/"):
            case ["sdk", *_]:  # telemetry of the client
                return {}
            case ["graphql"]:
                return self.graphql_response(json.loads(body))
            case ["files", *_, run, _]:
                return server.add_lines(run, json.loads(body))
            case ["storage", "run", run, *path]:
                server.runs[run].files["/".join(path)] = body
                return {}
            case ["storage", "artifact", artifact, *path]:
                server.artifacts[artifact].files["/".join(path)] = body
                return {}
            case _:
                return None

    def graphql_response(self, request: Json) -> Json:
        """Execute a GraphQL operation. An unknown operation is recorded, and its response is empty."""
        match = re.search(r"(?:query|mutation) (\w+)", request["query"])
        assert match is not None
        operation = getattr(self.wandb_server.operations, match[1], None)
        if operation is None:
            self.wandb_server.unknown_operations.add(match[1])
            print("unknown operation:", json.dumps(request)[:2500], flush=True)
            return {"data": {}}
        return {"data": operation(**request.get("variables") or {})}

    def respond(self, content: Json, code: int = 200) -> None:
        """Send JSON."""
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
