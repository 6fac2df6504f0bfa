"""A server under test and a small client for it. Standard library only."""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "parity" / "data"
SMALL = {"prompt": "a red ball", "size": "64x48", "num_frames": 9, "num_inference_steps": 2}
# runs for some seconds with the small model; stops at once when it is told to
LONG = {"prompt": "a long one", "size": "256x256", "num_frames": 33, "num_inference_steps": 100, "guidance_scale": 5}


def package_python(name):
    """A Python that has this package: the present one, or that of ./check; None: there is none."""
    for python in (sys.executable, ROOT / "build" / "clients" / "bin" / "python"):
        if os.path.exists(python) and subprocess.run([python, "-c", f"import {name}"], capture_output=True).returncode == 0:
            return str(python)
    return None


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]


class Server:
    """`swan serve` on a free port, with a data directory that lives as long as this object."""

    def __init__(self, swan, *flags, data=None, env=None, wait=True, model=None, inside=()):
        """inside: a command that ends by becoming the one that follows it."""
        self.swan, self.flags, self.env, self.inside = swan, [str(f) for f in flags], env, inside
        self.directory = data or tempfile.mkdtemp(prefix="swan-server-")
        self.keep = data is not None
        self.model = model or ["-m", DATA / "wan-tiny", "--taehv", DATA / "taehv-tiny.safetensors", "-t", 1]
        self.process = None
        self.scheme = "http"
        self.start(wait)

    def start(self, wait=True):
        command = [*self.inside, self.swan, "serve", "--port", 0, "--data", self.directory, *self.model, *self.flags]
        self.process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
                                        env={**os.environ, **(self.env or {})})
        self.log = []
        self.port = None
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        deadline = time.monotonic() + 60
        while self.port is None:
            if self.process.poll() is not None:
                time.sleep(0.2)
                raise RuntimeError("the server ended: " + "".join(self.log))
            if time.monotonic() > deadline:
                raise RuntimeError("the server does not listen: " + "".join(self.log))
            time.sleep(0.005)
        if wait:
            until(lambda: self.get("/health").status == 200, 60, "the server is not ready")

    def _read(self, process):
        for line in process.stdout:
            self.log.append(line)
            found = re.match(r"listening on (https?)://\S+:(\d+)/", line)
            if found and process is self.process:
                self.scheme, self.port = found[1], int(found[2])

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            headers = dict(headers or {})
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
                headers.setdefault("Content-Type", "application/json")
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post(self, path, body, **headers):
        return self.request("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})

    def create(self, **fields):
        reply = self.post("/v1/videos", {**SMALL, **fields})
        assert reply.status == 200, (reply.status, reply.body)
        return reply.json

    def video(self, id):
        reply = self.get("/v1/videos/" + id)
        assert reply.status == 200, (reply.status, reply.body)
        return reply.json

    def finish(self, id, seconds=60):
        """The video when it is over."""
        return until(lambda: (v := self.video(id))["status"] not in ("queued", "in_progress") and v, seconds, f"{id} does not end")

    def started(self, id):
        """Waits until it is really being made."""
        return until(lambda: (v := self.video(id)).get("phase") in ("denoise", "decode") and v, 30, f"{id} does not begin")

    def workers(self):
        """Process ids of the worker children."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if parent == self.process.pid:
                found.append(int(entry.name))
        return found

    def resident(self):
        return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.process.wait(60)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(what)
        time.sleep(0.01)


def form(fields, boundary="----swan-test"):
    """A multipart body and its type; values may be (filename, bytes)."""
    parts = []
    for name, value in fields.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        if isinstance(value, tuple):
            parts.append(f'{head}; filename="{value[0]}"\r\nContent-Type: image/png\r\n\r\n'.encode() + value[1] + b"\r\n")
        else:
            parts.append(f"{head}\r\n\r\n{value}\r\n".encode())
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def raw(port, data, timeout=30):
    """Sends bytes as they are; all that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall(data)
        got = b""
        while True:
            try:
                more = s.recv(65536)
            except ConnectionResetError:
                return got
            if not more:
                return got
            got += more


def events(server, id, timeout=60, headers=None, limit=None):
    """The server-sent events of a video: [(name, data)] until the stream ends, or so many."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        connection.request("GET", f"/v1/videos/{id}/events", headers=headers or {})
        reply = connection.getresponse()
        assert reply.status == 200, reply.read()
        assert reply.getheader("Content-Type") == "text/event-stream"
        found, name = [], None
        for line in reply:
            line = line.decode().rstrip("\n")
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                found.append((name, json.loads(line[6:])))
                if limit and len(found) >= limit:
                    break
        return found
    finally:
        connection.close()
