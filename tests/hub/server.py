"""A model hub on this machine, and everything that can go wrong with one. Two addresses serve the same: 127.0.0.1 is the hub,
localhost (another port) is where it redirects downloads to. Standard library only; nothing but loopback is touched."""

import hashlib
import http.server
import json
import random
import select
import threading
import time
import urllib.parse


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repository:
    """name -> bytes at one commit; what the list says of them can be changed."""

    def __init__(self, files):
        self.set(files)
        self.entries = None  # the list as it is sent, instead of the true one
        self.page = 0        # entries a page, 0: all on one

    def set(self, files):
        self.files = dict(files)
        digest = hashlib.sha1()
        for path in sorted(self.files):
            digest.update(path.encode() + b"\0" + self.files[path] + b"\0")
        self.commit = digest.hexdigest()

    def listing(self):
        if self.entries is not None:
            return self.entries
        folders = sorted({path.rsplit("/", 1)[0] for path in self.files if "/" in path})
        entries = [{"type": "directory", "path": f, "size": 0, "oid": "0" * 40} for f in folders]
        for path, data in sorted(self.files.items()):
            entry = {"type": "file", "path": path, "size": len(data), "oid": git_blob(data)}
            if path.endswith((".safetensors", ".model")):
                entry["oid"] = "f" * 40  # of the pointer file
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            entries.append(entry)
        return entries


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that was killed


class Request:
    def __init__(self, handler, site):
        self.site = site
        self.path = handler.path
        self.headers = {k.lower(): v for k, v in handler.headers.items()}
        self.status = None
        self.sent = 0

    @property
    def start(self):
        value = self.headers.get("range")
        return int(value.removeprefix("bytes=").removesuffix("-")) if value else 0


class Hub:
    """Knobs are plain attributes; a test sets them before it runs the program."""

    def __init__(self):
        self.repositories = {}
        self.requests = []
        self.lock = threading.Lock()
        self.reset()
        self.servers = []
        for site, host in (("hub", "127.0.0.1"), ("cdn", "localhost")):
            server = Server(("127.0.0.1", 0), make_handler(self, site))
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            self.servers.append(server)
            setattr(self, site, f"http://{host}:{server.server_address[1]}")

    def reset(self):
        self.redirect = False      # downloads go through a redirect to the other host
        self.cuts = {}             # path -> bytes after which each of the next answers ends
        self.answers = {}          # path -> [(status, headers, body)] instead of the next answers; "*": any path
        self.corrupt = {}          # path -> how many of the next answers have a wrong byte
        self.ranges = True         # False: Range is ignored
        self.if_range = True       # False: If-Range is ignored
        self.etags = True
        self.rate = 0              # bytes a second for each connection, 0: as fast as it goes
        self.allowed = None        # bytes of files that may still be sent, all connections together; then answers wait until it is more
        self.hang = {}             # path -> bytes after which the next answer is silent for hang_s
        self.hang_s = 3
        self.length = {}           # path -> the Content-Length (and total) that is claimed
        self.shift = 0             # Content-Range begins so much later than asked
        self.surplus = {}          # path -> bytes sent after the true ones, without a Content-Length
        self.token = None          # the only token that may read

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def of(self, path, site=None):
        """The requests for a file."""
        return [r for r in self.requests if r.path.split("?")[0].endswith("/" + path) and site in (None, r.site)]

    def sent(self):
        return sum(r.sent for r in self.requests if "/resolve/" in r.path or "/blob/" in r.path)


def make_handler(hub, site):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def answer(self, status, headers, body=b""):
            self.request_seen.status = status
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, str(value))
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.request_seen = Request(self, site)
            with hub.lock:
                hub.requests.append(self.request_seen)
            try:
                self.route()
            except ConnectionError:
                self.close_connection = True

        def route(self):
            url = urllib.parse.urlsplit(self.path)  # absolute when it came through a proxy setting
            path = urllib.parse.unquote(url.path)
            last = path.rsplit("/resolve/", 1)[-1].split("/", 1)[-1] if "/resolve/" in path else path
            for key in (last, "*"):
                with hub.lock:
                    planned = hub.answers.get(key)
                    step = planned.pop(0) if planned else None
                if step:
                    return self.answer(*step)
            if hub.token and site == "hub" and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.answer(401, {"X-Error-Message": "Invalid username or password."})
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"] and len(parts) >= 6:
                return self.api("/".join(parts[2:4]), parts[4], "/".join(parts[5:]), url.query)
            name = "/".join(parts[:2])
            repository = hub.repositories.get(name)
            if not repository or len(parts) < 5 or parts[2] not in ("resolve", "blob") or parts[3] != repository.commit:
                return self.answer(404, {"X-Error-Message": "Entry not found"})
            file = "/".join(parts[4:])
            if file not in repository.files:
                return self.answer(404, {"X-Error-Message": "Entry not found"})
            if hub.redirect and site == "hub":
                return self.answer(302, {"Location": f"{hub.cdn}/{name}/blob/{parts[3]}/{file}?signature=secret",
                                         "ETag": '"of-the-redirect"'})
            self.file(file, repository.files[file])

        def api(self, name, what, revision, query):
            repository = hub.repositories.get(name)
            if not repository or revision not in ("main", "refs/pr/1", repository.commit):
                return self.answer(404, {"X-Error-Message": "Repository not found"})
            if what == "revision":
                return self.json({"id": name, "sha": repository.commit})
            entries, headers = repository.listing(), {}
            if repository.page:
                at = int(urllib.parse.parse_qs(query).get("cursor", ["0"])[0])
                if at + repository.page < len(entries):
                    headers["Link"] = f'<{hub.hub}{self.path.split("?")[0]}?recursive=true&cursor={at + repository.page}>; rel="next"'
                entries = entries[at:at + repository.page]
            self.json(entries, headers)

        def json(self, value, headers=None):
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.answer(200, {"Content-Type": "application/json", **(headers or {})}, body)

        def file(self, path, data):
            etag = '"' + hashlib.md5(data).hexdigest() + '"'
            start = self.request_seen.start if hub.ranges else 0
            condition = self.headers.get("If-Range")
            if start and condition and hub.if_range and condition != etag:
                start = 0
            if start >= len(data) and start:
                return self.answer(416, {"Content-Range": f"bytes */{len(data)}"})
            total = hub.length.get(path, len(data))
            surplus = hub.surplus.get(path, 0)
            self.request_seen.status = 206 if start else 200
            self.send_response(self.request_seen.status)
            self.send_header("Content-Type", "application/octet-stream")
            if hub.etags:
                self.send_header("ETag", etag)
            if start:
                self.send_header("Content-Range", f"bytes {start + hub.shift}-{len(data) - 1}/{total}")
            if surplus:
                self.send_header("Connection", "close")
            else:
                self.send_header("Content-Length", str(total - start))
            self.end_headers()
            body = bytearray(data[start:]) + bytes(surplus)
            with hub.lock:
                if hub.corrupt.get(path, 0) > 0 and body:
                    hub.corrupt[path] -= 1
                    body[len(body) // 2] ^= 0x40
                cuts = hub.cuts.get(path)
                cut = cuts.pop(0) if cuts else None
                hang = hub.hang.pop(path, None)
            if len(body) < total - start or cut is not None or surplus:
                self.close_connection = True
            self.send(bytes(body if cut is None else body[:cut]), hang)

        def send(self, body, hang):
            if hang is not None:
                self.wfile.write(body[:hang])
                self.request_seen.sent += len(body[:hang])
                time.sleep(hub.hang_s)
                self.close_connection = True
                return
            step = max(1, hub.rate // 50) if hub.rate else 1 << 16
            at = 0
            while at < len(body):
                now = self.may_send(min(step, len(body) - at))
                self.wfile.write(body[at:at + now])
                self.request_seen.sent += now
                at += now
                if hub.rate:
                    time.sleep(0.02)

        def may_send(self, size):
            """How much of size is allowed now, 1 or more: waits for it as long as the client is there."""
            while True:
                if select.select([self.connection], [], [], 0)[0]:  # it asks for nothing before this answer ends: it has left
                    raise ConnectionAbortedError
                with hub.lock:
                    if hub.allowed is None:
                        return size
                    if hub.allowed > 0:
                        size = min(size, hub.allowed)
                        hub.allowed -= size
                        return size
                time.sleep(0.02)

    return Handler


def random_model(seed=1, scale=1):
    """Files of a model as far as a download is concerned: any bytes do."""
    rng = random.Random(seed)
    sizes = {"model_index.json": 400, "scheduler/scheduler_config.json": 300, "text_encoder/config.json": 500,
             "text_encoder/model-00001-of-00002.safetensors": 300_000 * scale, "text_encoder/model-00002-of-00002.safetensors": 170_001 * scale,
             "text_encoder/model.safetensors.index.json": 900, "tokenizer/spiece.model": 50_000,
             "transformer/config.json": 480, "transformer/diffusion_pytorch_model.safetensors": 420_003 * scale,
             # what Swan does not read
             "README.md": 1000, "vae/diffusion_pytorch_model.safetensors": 200_000, "vae/config.json": 100, "tokenizer/tokenizer.json": 9000,
             "assets/a b.png": 5000, "text_encoder/model.safetensors": 470_000, "transformer/diffusion_pytorch_model.fp16.safetensors": 210_000}
    return {path: rng.randbytes(size) for path, size in sizes.items()}


NEEDED = ["model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/model-00001-of-00002.safetensors",
          "text_encoder/model-00002-of-00002.safetensors", "text_encoder/model.safetensors.index.json", "tokenizer/spiece.model",
          "transformer/config.json", "transformer/diffusion_pytorch_model.safetensors"]
