"""A stand-in for W&B's server on 127.0.0.1: the part of its protocol that sweeps, agents and runs need.

As it accepts any host name, it can also serve as the HTTP proxy in front of the server.
"""

import contextlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SWEEP = "swp12345"
ME = {"id": "VXNlcjox", "name": "me", "username": "me", "entity": "me", "email": "", "flags": "{}", "admin": False}


class Server(ThreadingHTTPServer):
    """Hand out `queue`, a list with the parameters of each run, and keep what each run sends in `runs`.

    trouble: "401" and "500" answer every request with this error; "hang" does not answer while the trouble lasts;
    "reset" closes every connection.
    early_terminate: a function of the runs and the name of one of them: whether the server stops it.
    """

    daemon_threads = True

    def __init__(self, queue=(), trouble=None, early_terminate=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.trouble, self.over, self.early_terminate = trouble, threading.Event(), early_terminate
        self.queue, self.sockets, self.reports = list(queue), [], []
        self.handed, self.runs, self.artifacts, self.sweep, self.unknown = [], {}, [], None, []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request, address):
        if self.trouble == "reset":
            return self.shutdown_request(request)
        self.sockets.append(request)
        return super().process_request(request, address)

    def handle_error(self, request, address):
        """Ignore clients that have disconnected."""

    def vanish(self):
        """Stop, and cut every connection, like a server that is switched off."""
        self.over.set()
        self.shutdown()  # a second time does nothing
        self.server_close()
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def run(self, name):
        new = {"config": {}, "name": None, "sweep": None, "history": [], "summary": {}, "exit_code": None, "files": []}
        return self.runs.setdefault(name, new)

    def answer(self, operation, given):
        """Return the data of a GraphQL operation, or None if it is unknown."""
        if operation == "Viewer":
            return {"viewer": {**ME, "teams": {"edges": []}}}
        if operation == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        if operation == "UpsertSweep":
            self.sweep = given["config"]
            project = {"name": given.get("projectName") or "uncategorized", "entity": {"name": "me"}}
            return {"upsertSweep": {"sweep": {"name": SWEEP, "project": project}, "configValidationWarnings": []}}
        if operation == "SweepWithRuns":
            missing = ("description", "heartbeatAt", "updatedAt", "bestLoss", "controller", "scheduler")
            sweep = dict.fromkeys(missing) | {"id": "x", "name": SWEEP, "method": "bayes", "state": "RUNNING"}
            sweep |= {"config": self.sweep, "createdAt": "2026-01-01T00:00:00", "earlyStopJobRunning": False}
            return {"project": {"sweep": sweep | {"runs": {"edges": []}}}}
        if operation == "CreateAgent":
            return {"createAgent": {"agent": {"id": "agent"}}}
        if operation == "Heartbeat":
            return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(self.commands(given))}}
        if operation == "UpsertBucket":
            return {"upsertBucket": {"bucket": self.bucket(given), "inserted": True}}
        if operation == "Runs":
            return {"project": self.ranked_runs(given) if self.runs else None}
        if operation == "ProjectInternalId":
            return {"project": {"internalId": "1"}}
        if operation == "GetDefaultEntity":
            return {"viewer": {"id": ME["id"], "entity": "me"}}
        if operation == "GetProjects":
            node = {"id": "p", "name": given.get("project") or "DA6401-assignment-1", "entityName": "me"}
            node |= {"createdAt": "2026-01-01T00:00:00", "isBenchmark": False, "user": None}
            edges = {"edges": [{"cursor": "p", "node": node}], "pageInfo": {"endCursor": None, "hasNextPage": False}}
            return {"models": edges, "scope": {"projects": edges}}
        if operation == "upsertView":
            self.reports.append(given | {"spec": json.loads(given["spec"])})
            view = {"id": "VmlldzoxMjM=", "type": given["type"], "name": given["name"], "spec": given["spec"]}
            view |= {"displayName": given["displayName"], "description": given["description"]}
            view |= {"project": {"id": "p", "name": given["projectName"], "entityName": given["entityName"]}}
            view |= {"createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z"}
            return {"upsertView": {"view": view, "inserted": True}}
        if operation == "ArtifactType":
            return {"project": None}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/upload"} for name in given["files"]]
            self.run(given["run"])["files"] += given["files"]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if operation == "CreateArtifact":
            self.artifacts.append((given["input"]["artifactCollectionName"], given["input"]["artifactTypeName"]))
            artifact = {"id": "a", "state": "COMMITTED", "artifactSequence": {"latestArtifact": {"id": "a"}}}
            return {"createArtifact": {"artifact": artifact}}
        return None

    def state(self, name):
        """Return the state that W&B derives from the exit code of a run."""
        return {None: "running", 0: "finished"}.get(self.runs[name]["exit_code"], "failed")

    def ranked_runs(self, given):
        """Return the runs, or the finished ones, in descending order of their validation accuracy."""
        wanted = json.loads(given["filters"] or "{}").get("state")
        names = [name for name in self.runs if wanted in (None, self.state(name))]
        if given["order"] == "-summary_metrics.val_accuracy":
            names.sort(key=lambda name: -self.runs[name]["summary"]["val_accuracy"])
        nodes = [
            {
                "id": name, "name": name, "displayName": name, "state": self.state(name), "sweepName": SWEEP,
                "tags": [],
                "config": "{}", "summaryMetrics": json.dumps(self.runs[name]["summary"]), "systemMetrics": "{}",
                "createdAt": "2026-01-01T00:00:00", "heartbeatAt": "2026-01-01T00:00:00",
                "user": {"name": "me", "username": "me"},
                "historyLineCount": 1, "group": None, "jobType": None, "readOnly": False, "description": None,
            }
            for name in names
        ]  # fmt: skip
        edges = [{"cursor": node["id"], "node": node} for node in nodes]
        return {"runCount": len(nodes), "runs": {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}}

    def to_stop(self, running):
        """Return which of the running runs the server stops; see `early_terminate`."""
        return [
            name
            for name in running
            if name in self.runs and self.early_terminate and self.early_terminate(self.runs, name)
        ]

    def commands(self, given):
        """Return the commands for an agent: stop its runs, or start the next one if it is idle."""
        running = json.loads(given.get("runState") or "{}")
        if running:
            return [{"type": "stop", "run_id": name} for name in self.to_stop(running)]
        if not self.queue:
            return [{"type": "exit"}]
        name = f"run{len(self.handed)}"
        self.handed.append(name)
        return [{"type": "run", "run_id": name, "program": "helpers/train.py", "args": self.queue.pop(0)}]

    def bucket(self, given):
        run = self.run(given["name"])
        run["config"] |= {key: item["value"] for key, item in json.loads(given.get("config") or "{}").items()}
        run["name"], run["sweep"] = given.get("displayName") or run["name"], given.get("sweep") or run["sweep"]
        project = {"id": "p", "name": given.get("project") or "p", "entity": {"id": "e", "name": "me"}}
        return {
            "id": "b", "name": given["name"], "displayName": run["name"], "description": None, "project": project,
            "config": given.get("config") or "{}", "sweepName": run["sweep"], "historyLineCount": 0,
        }  # fmt: skip

    def stream(self, name, sent):
        """Store what a run streams: rows of its history, and its exit code at the end."""
        lines = sent.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
        run = self.run(name)
        run["history"] += [json.loads(line) for line in lines]
        for line in sent.get("files", {}).get("wandb-summary.json", {}).get("content", []):
            run["summary"] = json.loads(line)
        if sent.get("complete"):
            run["exit_code"] = sent.get("exitcode")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *ignored):
        """Print nothing."""

    def reply(self, content):
        body = json.dumps(content).encode()
        while self.server.trouble == "hang" and not self.server.over.wait(0.05):
            pass
        with contextlib.suppress(OSError):  # the client may be gone
            self.send_response(int(self.server.trouble) if self.server.trouble in ("401", "500") else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.reply({})

    do_GET = do_PUT

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("/file_stream"):
            self.server.stream(self.path.split("/")[-2], json.loads(body))
            self.reply({"limits": {}})
        elif self.path.endswith("/graphql"):  # a client behind a proxy sends the whole URL
            query = json.loads(body)
            operation = re.search(r"(?:query|mutation)\s+(\w+)", query["query"]).group(1)
            data = self.server.answer(operation, query.get("variables") or {})
            if data is None:
                self.server.unknown.append(operation)
            self.reply({"data": data} if data else {"errors": [{"message": f"{operation} is unknown"}]})
        else:
            self.reply({})


@contextlib.contextmanager
def serving(queue=(), **options):
    """Serve on a free port until the block ends."""
    server = Server(queue, **options)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.vanish()
