#!/usr/bin/env python3
"""A stand-in for `swan serve`: the page and the API with synthetic previews and real little videos. Standard library only.

    python3 tests/page/mock.py --clips DIR [--port N] [--pace S] [--key TEXT] [--no-events] [--seeded]

It answers as the server does (docs/serve.md), runs one job at a time, and keeps everything in memory. The videos are the .mp4
files of DIR; whatever is asked for, one of them is the result. For the page's tests, and for looking at the page.
"""

import argparse
import base64
import http.server
import json
import pathlib
import re
import secrets
import socket
import struct
import threading
import time
import urllib.parse

PAGE = pathlib.Path(__file__).parents[2] / "src/server/page/index.html"
DEFAULTS = {"size": "224x160", "num_frames": 33, "fps": 16, "num_inference_steps": 20, "guidance_scale": 4.0, "flow_shift": 5.0}
LIMITS = {"num_inference_steps": [1, 100], "guidance_scale": [0.0, 100.0], "flow_shift": [0.01, 100.0], "fps": [1, 240],
          "num_frames": [1, 264], "prompt_chars": 2000, "pixels": 224 * 160 * 33 * 8}
KNOWN = {"model", "prompt", "size", "num_frames", "fps", "num_inference_steps", "guidance_scale", "flow_shift", "seed",
         "negative_prompt", "seconds"}

# ---- a JPEG of flat 8x8 blocks -------------------------------------------------------------------------------------------

DC_BITS = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]  # ITU-T T.81, table K.3
AC_END = "1010"


def jpeg(blocks):
    """Rows of (r, g, b): each becomes an 8x8 block. Baseline, three components, DC coefficients alone."""
    codes, code, value = {}, 0, 0
    for length, count in enumerate(DC_BITS, 1):
        for _ in range(count):
            codes[value] = format(code, f"0{length}b")
            code, value = code + 1, value + 1
        code <<= 1
    bits, before = [], [0, 0, 0]
    for row in blocks:
        for r, g, b in row:
            ycc = (0.299 * r + 0.587 * g + 0.114 * b - 128, -0.1687 * r - 0.3313 * g + 0.5 * b, 0.5 * r - 0.4187 * g - 0.0813 * b)
            for c in range(3):
                dc = round(ycc[c] * 8 / 4)
                diff, before[c] = dc - before[c], dc
                n = abs(diff).bit_length()
                bits.append(codes[n] + (format(diff if diff > 0 else diff + (1 << n) - 1, f"0{n}b") if n else "") + AC_END)
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    data = bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8)).replace(b"\xff", b"\xff\0")

    def part(marker, body):
        return bytes([255, marker]) + struct.pack(">H", len(body) + 2) + body
    frame = struct.pack(">BHHB", 8, 8 * len(blocks), 8 * len(blocks[0]), 3) + b"\1\x11\0\2\x11\0\3\x11\0"
    # the one AC table holds "end of block" as the code 1010: 00, 01, 100, 1010 with made-up companions
    return (b"\xff\xd8" + part(0xdb, b"\0" + bytes([4] * 64)) + part(0xc0, frame)
            + part(0xc4, b"\0" + bytes(DC_BITS) + bytes(range(12)))
            + part(0xc4, b"\x10" + bytes([0, 2, 1, 3] + [0] * 12) + bytes([1, 2, 3, 0, 4, 17]))
            + part(0xda, b"\3\1\0\2\0\3\0\0\x3f\0") + data + b"\xff\xd9")


def scene(seed, sharp, across=28, down=20):
    """A sun over hills, out of coloured noise: sharp 0 .. 1."""
    state = seed * 2654435761 + 12345 & 0xffffffff
    rows = []
    for y in range(down):
        row = []
        for x in range(across):
            state = state * 1664525 + 1013904223 & 0xffffffff
            noise = [(state >> s & 255) for s in (0, 8, 16)]
            sun = (x - across * .62) ** 2 + (y - down * .34) ** 2 < 11
            hill = y > down * (.62 + .12 * ((x * 5 + seed) % across / across - .5) ** 2)
            clean = (250, 214, 150) if sun else (70, 130 + 3 * (y % 5), 96) if hill else (120 + 4 * y, 176 + 2 * y, 206)
            row.append(tuple(int(max(0, min(255, sharp * c + (1 - sharp) * n))) for c, n in zip(clean, noise)))
        rows.append(row)
    return jpeg(rows)


# ---- jobs ------------------------------------------------------------------------------------------------------------------

class Jobs:
    """All jobs, and the thread that makes them one after the other. `changed` is notified at every step."""

    def __init__(self, clips, pace):
        self.clips, self.pace = clips, pace
        self.jobs, self.files, self.pictures, self.events = {}, {}, {}, {}
        self.changed = threading.Condition()
        self.last = 0
        threading.Thread(target=self.work, daemon=True).start()

    def add(self, fields):
        with self.changed:
            self.last += 1
            size = fields.get("size", DEFAULTS["size"])
            job = {"id": f"video_{self.last:032x}", "object": "video", "model": "tinyworld", "status": "queued", "progress": 0,
                   "created_at": int(time.time()), "started_at": None, "completed_at": None, "expires_at": None, "prompt": fields["prompt"],
                   "remixed_from_video_id": None, "error": None, "size": size,
                   "seed": fields.get("seed", 1000003 * self.last % 4294967296), "negative_prompt": fields.get("negative_prompt", "")}
            for key in ("num_frames", "fps", "num_inference_steps", "guidance_scale", "flow_shift"):
                job[key] = fields.get(key, DEFAULTS[key])
            job["seconds"] = f"{(job['num_frames'] - 1) / job['fps']:g}"
            self.jobs[job["id"]] = job
            self.changed.notify_all()
            return dict(job)

    def finish(self, job, status="completed", error=None):
        for key in ("phase", "step", "steps", "remaining_s"):
            job.pop(key, None)
        job.update(status=status, error=error, completed_at=int(time.time()), expires_at=int(time.time()) + 86400)
        if status == "completed":
            clip = self.clips[(int(job["id"][6:], 16) - 1) % len(self.clips)]
            self.files[job["id"]] = clip.read_bytes()
            job.update(progress=100, inference_time_s=round(self.pace * (job["num_inference_steps"] + 4), 3))
        self.changed.notify_all()

    def tick(self, job, phase, step, steps, progress, left, preview=None):
        with self.changed:
            if job["id"] not in self.jobs:
                return False
            job.update(status="in_progress", phase=phase, step=step, steps=steps, progress=progress, remaining_s=round(left, 1))
            job["started_at"] = job["started_at"] or int(time.time())
            if preview:
                self.pictures[job["id"]] = preview
            self.changed.notify_all()
        time.sleep(self.pace)
        return job["id"] in self.jobs

    def run(self, job):
        steps, seed = job["num_inference_steps"], job["seed"]
        whole = (steps + 4) * self.pace
        if not self.tick(job, "text", 0, 1, 1, whole):
            return
        for i in range(1, steps + 1):
            if "fail" in job["prompt"] and i > steps // 2:
                with self.changed:
                    self.finish(job, "failed", {"code": "device_fault", "message": "the device failed at step %d; the worker was replaced" % i})
                return
            if not self.tick(job, "denoise", i, steps, 2 + 83 * i // steps, whole * (1 - i / (steps + 4)), scene(seed, i / steps)):
                return
        for i in range(1, 4):
            if not self.tick(job, "decode", i * job["num_frames"] // 3, job["num_frames"], 85 + 4 * i, self.pace * (3 - i)):
                return
        with self.changed:
            if job["id"] in self.jobs:
                self.finish(job)

    def work(self):
        while True:
            with self.changed:
                job = next((j for j in self.jobs.values() if j["status"] == "queued"), None)
                if not job:
                    self.changed.wait()
                    continue
            self.run(job)


# ---- HTTP ------------------------------------------------------------------------------------------------------------------

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "mock"

    def log_message(self, *args):
        pass

    def send(self, status, body, kind="application/json", **extra):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in extra.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, message, param=None, code="invalid_value", **extra):
        self.send(status, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}, **extra)

    def allowed(self, path):
        key = self.server.key
        self.server.seen.append((self.command, self.path))
        if not key or not path.startswith("/v1/") or self.headers.get("Authorization") == "Bearer " + key:
            return True
        self.error(401, "a key is wanted in the Authorization header", code="invalid_api_key")
        return False

    def do_GET(self):
        path, _, query = self.path.partition("?")
        query = dict(urllib.parse.parse_qsl(query))
        found = re.fullmatch(r"/v1/videos/(\w+)(/content|/events)?", path)
        jobs = self.server.jobs
        if not self.allowed(path):
            return
        if path == "/":
            nonce = secrets.token_hex(16)
            policy = (f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data: blob:; "
                      "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
            page = re.sub(rb"<(style|script)>", lambda tag: b'<%s nonce="%s">' % (tag[1], nonce.encode()), PAGE.read_bytes())
            self.send(200, page, "text/html; charset=utf-8", Content_Security_Policy=policy)
        elif path == "/v1/models":
            self.send(200, {"object": "list", "data": [{"id": "tinyworld", "object": "model", "created": 0, "owned_by": "swan",
                                                        "defaults": DEFAULTS, "limits": LIMITS}]})
        elif path == "/v1/videos":
            self.list(query)
        elif not found or found[1] not in jobs.jobs:
            self.error(404, "there is no such video", code="not_found")
        elif found[2] == "/content":
            self.content(found[1], query.get("variant", "video"))
        elif found[2] == "/events":
            self.events(found[1])
        else:
            self.send(200, jobs.jobs[found[1]])

    do_HEAD = do_GET

    def list(self, query):
        rows = sorted(self.server.jobs.jobs.values(), key=lambda j: j["id"])
        waiting = [j["id"] for j in rows if j["status"] == "queued"]
        rows = [{**j, "queue_position": waiting.index(j["id"]) + 1} if j["status"] == "queued" else j for j in rows]
        if query.get("order", "desc") == "desc":
            rows.reverse()
        if query.get("after"):
            rows = rows[next(i for i, j in enumerate(rows) if j["id"] == query["after"]) + 1:]
        limit = int(query.get("limit", 20))
        page = rows[:limit]
        self.send(200, {"object": "list", "data": page, "first_id": page[0]["id"] if page else None,
                        "last_id": page[-1]["id"] if page else None, "has_more": len(rows) > limit})

    def content(self, name, variant):
        jobs = self.server.jobs
        if name not in jobs.files:
            self.error(409, "the video is not complete", code="not_complete")
            return
        if variant == "thumbnail":
            self.send(200, self.server.thumbnails.get(jobs.files[name]) or jobs.pictures.get(name) or scene(1, 1), "image/jpeg")
            return
        data, wanted = jobs.files[name], re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            self.send(200, data, "video/mp4", Accept_Ranges="bytes")
            return
        first, end = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
        self.send(206, data[first:end + 1], "video/mp4", Accept_Ranges="bytes", Content_Range=f"bytes {first}-{end}/{len(data)}")

    def events(self, name):
        jobs, before, picture = self.server.jobs, None, None
        if not self.server.with_events:
            self.error(404, "no events", code="not_found")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            while True:
                with jobs.changed:
                    job = dict(jobs.jobs.get(name) or {"id": name, "object": "video", "status": "deleted"})
                    while job == before:
                        jobs.changed.wait(5)
                        job = dict(jobs.jobs.get(name) or {"id": name, "object": "video", "status": "deleted"})
                    new = jobs.pictures.get(name)
                self.say("progress" if job["status"] in ("queued", "in_progress") else job["status"], job)
                if new and new is not picture:
                    self.say("preview", {"step": job.get("step", 0), "steps": job.get("steps", 0), "status": "in_progress",
                                         "jpeg": base64.b64encode(new).decode()})
                before, picture = job, new
                if job["status"] not in ("queued", "in_progress"):
                    break
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.close_connection = True

    def say(self, name, data):
        self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.allowed(self.path):
            return
        fields = json.loads(raw)
        unknown = set(fields) - KNOWN
        if self.path != "/v1/videos":
            self.error(404, "no such route", code="not_found")
        elif unknown:
            self.error(400, f"{min(unknown)}: this server has no such parameter", min(unknown), "unknown_parameter")
        elif not fields.get("prompt", "").strip():
            self.error(400, "prompt: wanted, and not empty", "prompt", "missing_parameter")
        elif fields.get("num_inference_steps", 1) > LIMITS["num_inference_steps"][1]:
            self.error(400, "num_inference_steps: this server makes at most 100", "num_inference_steps", "too_large")
        elif self.pixels(fields) > LIMITS["pixels"]:
            self.error(400, f"size x num_frames: this server makes at most {LIMITS['pixels']} pixels", "size", "too_large")
        elif sum(j["status"] == "queued" for j in self.server.jobs.jobs.values()) >= 8:
            self.error(429, "the queue is full", None, "queue_full", Retry_After="20")
        else:
            self.send(200, self.server.jobs.add(fields))

    @staticmethod
    def pixels(fields):
        width, height = map(int, fields.get("size", DEFAULTS["size"]).split("x"))
        return width * height * fields.get("num_frames", 33)

    def do_DELETE(self):
        name = self.path.rsplit("/", 1)[1]
        jobs = self.server.jobs
        if not self.allowed(self.path):
            return
        with jobs.changed:
            found = jobs.jobs.pop(name, None)
            jobs.files.pop(name, None)
            jobs.changed.notify_all()
        if found:
            self.send(200, {"id": name, "object": "video.deleted", "deleted": True})
        else:
            self.error(404, "there is no such video", code="not_found")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, clips, port=0, pace=0.15, key="", with_events=True):
        """clips: paths of mp4 files; a picture CLIP.jpg beside one is its thumbnail."""
        super().__init__(("127.0.0.1", port), Handler)
        self.jobs, self.key, self.with_events, self.seen, self.connections = Jobs(clips, pace), key, with_events, [], []
        self.thumbnails = {c.read_bytes(): c.with_suffix(".jpg").read_bytes() for c in clips if c.with_suffix(".jpg").exists()}

    def handle_error(self, request, client_address):
        pass  # a browser that hangs up

    def close(self):
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def process_request(self, request, client_address):
        self.connections.append(request)
        super().process_request(request, client_address)

    def seed(self, prompts):
        """Finished videos, oldest first."""
        for prompt in prompts:
            job = self.jobs.add({"prompt": prompt, "seed": len(prompt)})
            with self.jobs.changed:
                self.jobs.finish(self.jobs.jobs[job["id"]])

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"


SEEDED = ["a red ball rolling to the right over green hills", "a yellow star moving up over the sea", "a small blue boat moving to the left on the sea",
          "a green car driving to the right on a road at night", "a big orange bird flying to the left over the mountains",
          "a purple balloon rising in a snowy landscape"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=pathlib.Path, required=True)
    parser.add_argument("--port", type=int, default=8085)
    parser.add_argument("--pace", type=float, default=0.25, help="seconds a step")
    parser.add_argument("--key", default="")
    parser.add_argument("--no-events", action="store_true", help="no server-sent events: the page polls")
    parser.add_argument("--seeded", action="store_true", help="begin with finished videos")
    args = parser.parse_args()
    server = Server(sorted(args.clips.glob("*.mp4")), args.port, args.pace, args.key, not args.no_events)
    if args.seeded:
        server.seed(SEEDED)
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
