"""A W&B server of our own on the loopback: as much of its protocol as the client uses, kept in memory for tests to read."""

import gzip
import itertools
import json
import re
import threading
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENTITY = "someone"
KEY = "local-" + "0" * 40


@dataclass
class StoredRun:
    """What the server knows of a run."""

    name: str
    project: str = ""
    group: str = ""
    job_type: str = ""
    display_name: str = ""
    tags: list = field(default_factory=list)
    config: dict = field(default_factory=dict)
    summary: dict = field(default_factory=dict)
    lines: dict = field(default_factory=lambda: defaultdict(dict))  # file -> line number -> text
    files: dict = field(default_factory=dict)  # path -> bytes
    complete: bool = False

    @property
    def history(self):
        """The history's lines in order; every number from 0 on must be there."""
        lines = self.lines["wandb-history.jsonl"]
        assert sorted(lines) == list(range(len(lines))), "holes in the history"
        return [json.loads(lines[i]) for i in range(len(lines))]


class WandbServer:
    """`with WandbServer.running() as server`: `runs`, `artifacts` and `views` fill as a client at `url` talks to it.

    `down` makes it answer every request with 503, as a proxy does before a dead server.
    """

    def __init__(self):
        self.runs, self.artifacts, self.views, self.unknown = {}, {}, {}, set()
        self.down, self.requests, self.ids = False, 0, itertools.count(1)
        self.lock = threading.Lock()

    @classmethod
    @contextmanager
    def running(cls, port=0):
        server = cls()
        http = ThreadingHTTPServer(("127.0.0.1", port), lambda *args: Handler(server, *args))
        http.daemon_threads = True
        server.url = f"http://127.0.0.1:{http.server_port}"
        threading.Thread(target=http.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            http.shutdown()
            http.server_close()

    def reached(self):
        """The agent step of the newest line of history that has arrived; 0 before the first."""
        with self.lock:
            lines = [line for run in self.runs.values() for line in run.lines.get("wandb-history.jsonl", {}).values()]
            return max((json.loads(line)["global_step"] for line in lines), default=0)

    def environment(self):
        """What makes a client talk to this server."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}

    # --- the operations of its GraphQL, by name -----------------------------------------------------------------

    def Viewer(self, **_):
        return {"viewer": {"id": "u1", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}", "teams": None}}

    GetDefaultEntity = Viewer

    def RunResumeStatus(self, *, project, name, **_):
        run = self.runs.get(name)
        return {"model": self._project(project) | {"bucket": self._bucket(run) if run else None}}

    def UpsertBucket(self, *, name, project=None, **given):
        new = name not in self.runs
        run = self.runs.setdefault(name, StoredRun(name, project))
        names = {"groupName": "group", "jobType": "job_type", "displayName": "display_name", "tags": "tags"}
        for theirs, ours in names.items():
            if given.get(theirs) is not None:
                setattr(run, ours, given[theirs])
        if given.get("config"):
            run.config |= {k: v["value"] for k, v in json.loads(given["config"]).items()}
        return {"upsertBucket": {"bucket": self._bucket(run), "inserted": new}}

    def CreateRunFiles(self, *, run, files, **_):
        urls = [{"name": path, "uploadUrl": f"{self.url}/storage/run/{run}/{path}"} for path in files]
        return {"createRunFiles": {"runID": run, "uploadHeaders": [], "files": urls}}

    def Runs(self, *, filters, **_):
        found = sum(name in self.runs for name in json.loads(filters)["name"]["$in"])
        page = {"endCursor": None, "hasNextPage": False}
        return {
            "project": {
                "internalId": "1",
                "runCount": found,
                "readOnly": False,
                "runs": {"edges": [], "pageInfo": page},
            }
        }

    def ArtifactType(self, **_):
        return {"project": {"artifact": None}}

    def GetProjects(self, **_):
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        names = sorted({run.project for run in self.runs.values()})
        blank = {
            "__typename": "Project",
            "entityName": ENTITY,
            "createdAt": "2026-01-01",
            "isBenchmark": False,
            "user": None,
        }
        return {"models": {"pageInfo": page, "edges": [{"node": {**blank, "id": f"p-{n}", "name": n}} for n in names]}}

    def ProjectInternalId(self, *, projectName, **_):
        return {"project": {"id": f"p-{projectName}", "internalId": "1"}}

    def UpsertView2(self, *, name, displayName, spec, type, **_):
        self.views[name] = {"title": displayName, "type": type, "spec": json.loads(spec)}
        return {"upsertView": {"view": {"id": f"v-{name}", "name": name}, "inserted": True}}

    def upsertView(self, *, projectName, **given):
        view = self.UpsertView2(**given)["upsertView"]["view"]
        asked = {k: given[k] for k in ("displayName", "description", "type", "spec")}
        project = self._project(projectName) | {"entityName": ENTITY}
        return {
            "upsertView": {"view": view | asked | {"project": project, "updatedAt": "2026-01-01"}, "inserted": True}
        }

    def OrganizationCoreWeaveOrganizationID(self, **_):
        return {"entity": {"organization": None}}

    def ServerFeaturesQuery(self, **_):
        return {"serverInfo": {"features": []}}

    def CreateArtifact(self, *, input, **_):
        made = f"a{next(self.ids)}"
        aliases = [alias["alias"] for alias in input["aliases"]]
        self.artifacts[made] = {"name": input["artifactCollectionName"], "aliases": aliases, "run": input["runName"]}
        artifact = {"id": made, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": artifact}}

    def CreateArtifactManifest(self, *, artifactID, includeUpload, **_):
        file = {"id": f"f-{artifactID}"} | (self._storage(artifactID, "manifest") if includeUpload else {})
        return {"createArtifactManifest": {"artifactManifest": {"id": f"m-{artifactID}", "file": file}}}

    def UpdateArtifactManifest(self, *, artifactManifestID, **_):
        file = {"id": "f"} | self._storage(artifactManifestID[2:], "manifest")
        return {"updateArtifactManifest": {"artifactManifest": {"id": artifactManifestID, "file": file}}}

    def CreateArtifactFiles(self, *, input, **_):
        edges = []
        for given in input["artifactFiles"]:
            artifact = given["artifactID"]
            file = {"id": f"f-{given['name']}", "name": given["name"], "displayName": given["name"]}
            file |= {"uploadMultipartUrls": None, "storagePath": None, "artifact": {"id": artifact}}
            edges.append({"node": file | self._storage(artifact, given["name"])})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def CommitArtifact(self, *, artifactID, **_):
        self.artifacts[artifactID]["committed"] = True
        return {"commitArtifact": {"artifact": {"id": artifactID, "digest": ""}}}

    def _storage(self, artifact, name):
        return {"uploadUrl": f"{self.url}/storage/artifact/{artifact}/{name}", "uploadHeaders": []}

    def _project(self, name):
        return {"id": f"p-{name}", "name": name, "entity": {"id": "e1", "name": ENTITY}}

    def _bucket(self, run):
        tail = {}
        for file, kind in (("wandb-history.jsonl", "history"), ("wandb-events.jsonl", "events")):
            lines = run.lines.get(file, {})
            tail[f"{kind}LineCount"] = len(lines)
            tail[f"{kind}Tail"] = json.dumps([lines[max(lines)]] if lines else [])
        return {
            "id": f"r-{run.name}",
            "name": run.name,
            "displayName": run.display_name,
            "description": None,
            "config": json.dumps({k: {"value": v} for k, v in run.config.items()}),
            "summaryMetrics": json.dumps(run.summary),
            "tags": run.tags,
            "notes": None,
            "sweepName": None,
            "wandbConfig": '{"t": 1}',
            "logLineCount": 0,
            "project": self._project(run.project),
            **tail,
        }

    # --- everything else ------------------------------------------------------------------------------------------

    def stream(self, name, sent):
        """Lines of history, events and summary, each with the number of its first."""
        run = self.runs[name]
        for file, part in sent.get("files", {}).items():
            if file == "wandb-summary.json":
                run.summary = json.loads(part["content"][-1])
                continue
            for i, line in enumerate(part["content"]):
                run.lines[file][part["offset"] + i] = line
        run.complete = sent.get("complete", False)
        return {"exitcode": None, "limits": {}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, server, *args):
        self.wandb = server
        super().__init__(*args)

    def log_message(self, *_):
        pass

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        server = self.wandb
        server.requests += 1
        if server.down:
            return self.reply({"error": "down"}, 503)
        if self.path.startswith("/sdk/"):  # the client's own telemetry
            return self.reply({})
        parts = self.path.strip("/").split("/")
        with server.lock:
            if parts[0] == "graphql":
                asked = json.loads(body)
                name = re.search(r"(?:query|mutation) (\w+)", asked["query"])[1]
                operation = getattr(server, name, None)
                if operation is None:
                    server.unknown.add(name)
                    print("UNKNOWN", json.dumps(asked)[:2500], flush=True)
                return self.reply({"data": operation(**asked.get("variables") or {}) if operation else {}})
            if parts[0] == "files":
                return self.reply(server.stream(parts[-2], json.loads(body)))
            if parts[:2] == ["storage", "run"]:
                server.runs[parts[2]].files["/".join(parts[3:])] = body
                return self.reply({})
            if parts[:2] == ["storage", "artifact"]:
                server.artifacts[parts[2]].setdefault("files", {})["/".join(parts[3:])] = body
                return self.reply({})
        print("UNKNOWN", self.command, self.path, body[:500], flush=True)
        return self.reply({}, 404)

    def handle(self):
        with suppress(ConnectionError):  # clients may hang up
            super().handle()

    do_GET = do_POST = do_PUT = answer

    def reply(self, content, code=200):
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
