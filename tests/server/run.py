#!/usr/bin/env python3
"""The server as its clients see it: a real `swan serve` on this machine with the small model of tests/parity/data.

    python3 tests/server/run.py SWAN [--kills N] [--noise SECONDS] [--without NAME...] [NAME...]

--kills: how often server and worker are killed in the middle of a batch (10; the full run: 100). --noise: how long the server gets
damaged requests (3; the full run: 600). NAME: only these cases.
Exits with 77 when all that was asked for was skipped. Standard library only.
"""

import argparse
import base64
import concurrent.futures
import http.client
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from client import LONG, SMALL, Server, events, form, raw, until  # noqa: E402
from schema import Document  # noqa: E402

SWAN = None
KILLS = 10
NOISE = 3
CASES = []


def case(function):
    CASES.append(function)
    return function


def aside(function):
    """A case that mostly waits: runs beside the others."""
    function.aside = True
    return case(function)


class Skipped(Exception):
    """This machine cannot do it."""


def expect(reply, status, code=None, param=None):
    assert reply.status == status, (status, reply.status, reply.body[:400])
    if code:
        assert reply.error["code"] == code, reply.error
        assert reply.error["param"] == param, reply.error
        assert reply.error["message"], reply.error
    return reply


def is_mp4(data):
    """Boxes from the first byte to the last, so that a cut file is noticed."""
    at, names = 0, []
    while at + 8 <= len(data):
        size = int.from_bytes(data[at:at + 4], "big")
        names.append(data[at + 4:at + 8])
        if size < 8:
            return False
        at += size
    return at == len(data) and names[:1] == [b"ftyp"] and b"moov" in names and b"mdat" in names


def is_jpeg(data):
    return data[:2] == b"\xff\xd8" and data[-2:] == b"\xff\xd9"


# ---- the API ----------------------------------------------------------------------------------------------------------


@case
def life_of_a_video():
    with Server(SWAN, "--metrics", "--alias", "sora-2,other") as s:
        document = Document(s.get("/openapi.json").json)

        def ask(method, path, body=None, **headers):
            reply = s.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            document.check(method, path, reply)
            return reply

        model = ask("GET", "/v1/models").json["data"]
        assert [m["id"] for m in model] == ["wan-tiny", "sora-2", "other"], model
        assert model[0]["defaults"]["size"] == "832x480"
        made = ask("POST", "/v1/videos", {**SMALL, "seed": 5, "model": "sora-2"})
        assert made.headers["openai-poll-after-ms"]
        v = made.json
        assert (v["status"], v["seed"], v["size"], v["num_frames"], v["seconds"]) == ("queued", 5, "64x48", 9, "0.5"), v
        assert v["num_inference_steps"] == 2 and v["guidance_scale"] == 5 and v["flow_shift"] == 3 and v["fps"] == 16, v
        expect(ask("GET", f"/v1/videos/{v['id']}/content"), 409 if s.video(v["id"])["status"] != "completed" else 200)
        done = s.finish(v["id"])
        assert done["status"] == "completed" and done["progress"] == 100 and done["seed"] == 5 and done["sampler"] == "unipc", done
        assert done["expires_at"] - done["completed_at"] == 86400
        ask("GET", "/v1/videos/" + v["id"])

        whole = expect(ask("GET", f"/v1/videos/{v['id']}/content"), 200)
        assert whole.headers["content-type"] == "video/mp4" and is_mp4(whole.body)
        part = expect(ask("GET", f"/v1/videos/{v['id']}/content?variant=video", Range="bytes=10-19"), 206)
        assert part.body == whole.body[10:20] and part.headers["content-range"] == f"bytes 10-19/{len(whole.body)}"
        assert expect(ask("GET", f"/v1/videos/{v['id']}/content", Range="bytes=-7"), 206).body == whole.body[-7:]
        expect(ask("GET", f"/v1/videos/{v['id']}/content", Range=f"bytes={len(whole.body)}-"), 416, "invalid_range", "Range")
        etag = whole.headers["etag"]
        assert expect(ask("GET", f"/v1/videos/{v['id']}/content", If_None_Match=etag), 304).body == b""
        expect(ask("GET", f"/v1/videos/{v['id']}/content", Range="bytes=0-1", If_Range=etag), 206)
        expect(ask("GET", f"/v1/videos/{v['id']}/content", Range="bytes=0-1", If_Range='"other"'), 200)
        head = s.request("HEAD", f"/v1/videos/{v['id']}/content")
        assert head.status == 200 and head.body == b"" and int(head.headers["content-length"]) == len(whole.body)
        for variant in ("thumbnail", "spritesheet"):
            picture = expect(ask("GET", f"/v1/videos/{v['id']}/content?variant={variant}"), 200)
            assert picture.headers["content-type"] == "image/jpeg" and is_jpeg(picture.body)
        expect(ask("GET", f"/v1/videos/{v['id']}/content?variant=poster"), 400, "invalid_value", "variant")

        remix = ask("POST", f"/v1/videos/{v['id']}/remix", {"prompt": "a blue ball"}).json
        assert remix["remixed_from_video_id"] == v["id"] and remix["prompt"] == "a blue ball" and remix["seed"] == 5 and remix["size"] == "64x48"
        assert s.finish(remix["id"])["status"] == "completed"
        again = ask("POST", "/v1/videos", {**SMALL, "seed": 5}).json
        s.finish(again["id"])
        assert s.get(f"/v1/videos/{again['id']}/content").body == whole.body, "the same seed and settings give other bytes"
        expect(ask("POST", f"/v1/videos/{v['id']}/remix", {"prompt": "x", "seed": 1}), 400, "unknown_parameter", "seed")

        listed = ask("GET", "/v1/videos?limit=2").json
        assert [x["id"] for x in listed["data"]] == [again["id"], remix["id"]] and listed["has_more"] and listed["last_id"] == remix["id"]
        rest = ask("GET", f"/v1/videos?limit=2&after={listed['last_id']}").json
        assert [x["id"] for x in rest["data"]] == [v["id"]] and not rest["has_more"]
        assert [x["id"] for x in ask("GET", "/v1/videos?order=asc").json["data"]][0] == v["id"]
        for query, param in (("limit=0", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=x", "after")):
            expect(ask("GET", "/v1/videos?" + query), 400, "invalid_value", param)
        expect(ask("GET", "/v1/videos?after=video_" + "0" * 32), 404, "not_found", "after")

        assert expect(ask("DELETE", "/v1/videos/" + v["id"]), 200).json == {"id": v["id"], "object": "video.deleted", "deleted": True}
        expect(ask("DELETE", "/v1/videos/" + v["id"]), 404, "not_found", "video_id")
        for path in ("", "/content", "/events"):
            expect(ask("GET", f"/v1/videos/{v['id']}{path}"), 404, "not_found", "video_id")
        assert not (pathlib.Path(s.directory) / "videos" / v["id"]).exists()
        expect(ask("POST", f"/v1/videos/{remix['id']}/cancel"), 409, "already_over", "video_id")
        metrics = expect(ask("GET", "/metrics"), 200).body.decode()
        assert 'swan_videos{status="completed"} 2' in metrics and 'swan_jobs_ended_total{outcome="completed"} 3' in metrics
        expect(ask("GET", "/health"), 200)
        expect(ask("GET", "/v1/health"), 200)
        page = expect(ask("GET", "/"), 200)
        policy = page.headers["content-security-policy"]
        nonce = policy.split("'nonce-")[1].split("'")[0]
        assert policy.startswith("default-src 'none'") and page.body.count(nonce.encode()) >= 2
        assert nonce not in s.get("/").headers["content-security-policy"]
        assert expect(s.request("PUT", "/v1/videos"), 405, "method_not_allowed").headers["allow"] == "POST, GET, HEAD"
        expect(s.get("/v1/nothing"), 404, "not_found")
        for path in ("/../../etc/passwd", "/v1/videos/../jobs.sqlite/content", "/v1/videos/%2e%2e/content"):
            assert s.get(path).status == 404


@case
def paging():
    with Server(SWAN) as s:
        empty = s.get("/v1/videos").json
        assert empty == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}, empty
        ids = [s.create(seed=i)["id"] for i in range(5)]
        for limit, order, expected in ((5, "asc", ids), (2, "desc", ids[::-1]), (1, "asc", ids), (100, "desc", ids[::-1])):
            found, after = [], ""
            for _ in range(6):
                page = s.get(f"/v1/videos?limit={limit}&order={order}{after}").json
                found += [v["id"] for v in page["data"]]
                assert page["first_id"] == page["data"][0]["id"] and page["last_id"] == page["data"][-1]["id"]
                assert page["has_more"] == (len(found) < 5), "has_more at the edge"
                if not page["has_more"]:
                    break
                after = "&after=" + page["last_id"]
            assert found == expected, (limit, order)
        assert s.get(f"/v1/videos?order=asc&after={ids[-1]}").json["data"] == []
        s.request("DELETE", "/v1/videos/" + ids[2])
        expect(s.get("/v1/videos?after=" + ids[2]), 404, "not_found", "after")
        assert [v["id"] for v in s.get("/v1/videos?order=asc").json["data"]] == ids[:2] + ids[3:]


@case
def remixes():
    """Of what was made, of a remix, of what failed or waits; never of what is gone."""
    with Server(SWAN) as s:
        expect(s.post("/v1/videos/video_" + "0" * 32 + "/remix", {"prompt": "x"}), 404, "not_found", "video_id")
        v = s.finish(s.create(seed=9, flow_shift=4, negative_prompt="rain", guidance_scale=2.5, fps=8)["id"])
        expect(s.post(f"/v1/videos/{v['id']}/remix", {}), 400, "missing_parameter", "prompt")
        expect(s.post(f"/v1/videos/{v['id']}/remix", {"prompt": "x", "model": "wan-tiny"}), 400, "unknown_parameter", "model")
        body, kind = form({"prompt": "a form"})
        first = expect(s.post(f"/v1/videos/{v['id']}/remix", body, Content_Type=kind), 200).json
        kept = ("size", "num_frames", "fps", "num_inference_steps", "guidance_scale", "flow_shift", "seed", "negative_prompt", "model", "seconds")
        assert {k: first[k] for k in kept} == {k: v[k] for k in kept} and first["prompt"] == "a form"
        second = s.post(f"/v1/videos/{first['id']}/remix", {"prompt": "another"}).json
        assert second["remixed_from_video_id"] == first["id"]
        s.request("DELETE", "/v1/videos/" + v["id"])  # the source may go: a remix has all it needs
        done = s.finish(second["id"])
        assert done["status"] == "completed" and {k: done[k] for k in kept} == {k: v[k] for k in kept}
        assert s.video(first["id"])["remixed_from_video_id"] == v["id"]
        waiting = [s.create(**LONG), s.create(seed=5)][1]
        again = s.post(f"/v1/videos/{waiting['id']}/remix", {"prompt": "of one that waits"}).json
        assert again["seed"] == 5 and again["status"] == "queued"


@case
def pictures():
    """Thumbnail, tiles and the last preview have the colours and places that the video has."""
    def rgb(data, *arguments):
        with tempfile.NamedTemporaryFile() as f:
            f.write(data)
            f.flush()
            return subprocess.run(["ffmpeg", "-v", "error", "-i", f.name, *arguments, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout

    def close(a, b):
        """Means of red, green and blue. 6 levels: the noisy frames of this model are saturated, and H.264's halved chroma clips them;
        a limited range taken for a full one is 13 off, swapped channels 30 and more."""
        assert len(a) == len(b), (len(a), len(b))
        return all(abs(sum(a[i::3]) - sum(b[i::3])) * 3 / len(a) <= 6 for i in range(3))

    with Server(SWAN) as s:
        v = s.create(size="128x96", num_frames=33)
        seen = [d["jpeg"] for n, d in events(s, v["id"]) if n == "preview"]
        film = s.get(f"/v1/videos/{v['id']}/content").body
        frame = 128 * 96 * 3
        frames = rgb(film)
        assert len(frames) == 33 * frame
        thumbnail = rgb(s.get(f"/v1/videos/{v['id']}/content?variant=thumbnail").body)
        assert close(frames[16 * frame:17 * frame], thumbnail)
        if seen:
            assert len(rgb(base64.b64decode(seen[-1]))) == frame
        sheet = rgb(s.get(f"/v1/videos/{v['id']}/content?variant=spritesheet").body)
        assert len(sheet) == 25 * frame  # 25 tiles, none enlarged
        for tile in (0, 7, 24):
            row, column = divmod(tile, 5)
            rows = [sheet[((row * 96 + y) * 5 + column) * 128 * 3:][:128 * 3] for y in range(96)]
            shown = tile * 32 // 24
            assert close(frames[shown * frame:(shown + 1) * frame], b"".join(rows)), f"tile {tile} is not frame {shown}"


@case
def bad_requests():
    with Server(SWAN, "--max-prompt", "50", "--max-pixels", 64 * 48 * 81, "--max-steps", "20", "--max-body", "10000",
                "--request-timeout", "3") as s:
        document = Document(s.get("/openapi.json").json)
        for fields, status, param in (
                ({"prompt": ""}, 400, "prompt"), ({"prompt": "x" * 51}, 400, "prompt"), ({"model": "sora-2"}, 404, "model"),
                ({"size": "64"}, 400, "size"), ({"size": "72x48"}, 400, "size"), ({"size": "832x480"}, 400, "size"),
                ({"num_inference_steps": 21}, 400, "num_inference_steps"), ({"input_reference": "data:image/png;base64,"}, 400, "input_reference"),
                ({"output": "/tmp/x.mp4"}, 400, "output"), ({"seed": "x"}, 400, "seed"), ({"seconds": "0"}, 400, "seconds"),
                ({"lora": []}, 400, "lora"), ({"prompt": {"a": 1}}, 400, "prompt")):
            reply = s.post("/v1/videos", {**SMALL, **fields})
            document.check("POST", "/v1/videos", reply)
            assert reply.status == status and reply.error["param"] == param, (fields, reply.body)
        for body in (b"", b"{", b"[]", b"null", b'{"prompt":"a","prompt":"b"}', b"\xff\xfe", b'{"prompt":"\xff"}', b'{"prompt":"a\\u0000b"}', b"[" * 5000):
            reply = s.post("/v1/videos", body, Content_Type="application/json")
            document.check("POST", "/v1/videos", reply)
            assert reply.status == 400, (body, reply.body)
        expect(s.post("/v1/videos", b'{"prompt":"x"}', Content_Type="text/plain"), 415, "unsupported_media_type")
        expect(s.post("/v1/videos", b"{}"), 415, "unsupported_media_type")
        expect(s.post("/v1/videos", {**SMALL, "negative_prompt": "x" * 12000}), 413, "body_too_large")
        # far too large: answered before it is read, or the connection ends
        connection = http.client.HTTPConnection("127.0.0.1", s.port, timeout=20)
        try:
            connection.request("POST", "/v1/videos", b"x" * 3000000, {"Content-Type": "application/json"})
            assert connection.getresponse().status == 413
        except (ConnectionError, http.client.HTTPException):
            pass
        got = raw(s.port, b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        assert b" 413 " in got.split(b"\r\n")[0], got[:200]
        chunks = b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n"
        got = raw(s.port, chunks + b"1000\r\n" + b"x" * 4096 + b"\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n0\r\n\r\n" + b"GET / HTTP/1.0\r\n\r\n")
        assert b" 413 " in got.split(b"\r\n")[0], got[:200]
        body, kind = form({**SMALL, "seed": "7"})
        assert expect(s.post("/v1/videos", body, Content_Type=kind), 200).json["seed"] == 7
        body, kind = form({**SMALL, "input_reference": ("a.png", b"\x89PNG\0\r\n")})
        expect(s.post("/v1/videos", body, Content_Type=kind), 400, "unsupported_parameter", "input_reference")
        expect(s.post("/v1/videos", body[:-20], Content_Type=kind), 400, "invalid_form")
        expect(s.post("/v1/videos", body, Content_Type="multipart/form-data"), 400, "invalid_form")
        for line in (b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0\0\0\0\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 100000 + b"\r\n\r\n",
                     b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            raw(s.port, line)  # whatever the answer: the server goes on
        assert s.get("/health").status == 200 and s.process.poll() is None


@case
def sync_and_events():
    with Server(SWAN) as s:
        body, kind = form({**{k: v for k, v in SMALL.items() if k != "num_frames"}, "seconds": "0.5"})
        reply = expect(s.post("/v1/videos/sync", body, Content_Type=kind), 200)
        assert is_mp4(reply.body) and s.video(reply.headers["x-video-id"])["num_frames"] == 9
        expect(s.post("/v1/videos/sync", {"prompt": ""}), 400, "missing_parameter", "prompt")
        v = s.create(size="128x128", num_inference_steps=12, num_frames=17)
        got = events(s, v["id"])
        names = [n for n, _ in got]
        assert names[-1] == "completed" and got[-1][1]["progress"] == 100, names
        assert "preview" in names and "progress" in names, names
        shown = [d["progress"] for n, d in got if n in ("status", "progress", "completed")]
        assert shown == sorted(shown) and all(p < 100 for p in shown[:-1]), shown
        steps = [d["step"] for n, d in got if n == "preview"]
        assert steps == sorted(set(steps)) and steps[-1] <= 12, steps
        assert is_jpeg(base64.b64decode([d["jpeg"] for n, d in got if n == "preview"][0]))
        assert events(s, v["id"])[0][0] == "completed"  # of one that is over: its end
        long = s.create(**LONG)
        watcher = concurrent.futures.ThreadPoolExecutor(1).submit(events, s, long["id"])
        s.started(long["id"])
        waiting = s.create()
        assert events(s, waiting["id"], limit=1)[0][0] == "status"
        assert s.video(waiting["id"])["queue_position"] == 1
        s.request("DELETE", "/v1/videos/" + long["id"])
        assert watcher.result(20)[-1] == ("deleted", {"id": long["id"], "object": "video.deleted", "deleted": True})
        assert s.finish(waiting["id"])["status"] == "completed"


@case
def events_of_every_end():
    """Several watchers see the same end, whatever it is; one that goes away harms nobody; answers outlive --request-timeout."""
    with Server(SWAN, "--request-timeout", "1") as s:
        running, waiting = s.create(**LONG), s.create()
        s.started(running["id"])
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            watchers = [pool.submit(events, s, v["id"]) for v in (running, running, waiting)]
            synced = pool.submit(s.post, "/v1/videos/sync", {**SMALL, "seed": 1})
            gone = socket.create_connection(("127.0.0.1", s.port))
            gone.sendall(f"GET /v1/videos/{running['id']}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            until(lambda: b"event:" in gone.recv(4096), 5, "no event")
            gone.close()
            time.sleep(2.5)  # more than the timeout, with a margin for its tick
            assert s.video(running["id"])["status"] == "in_progress"
            s.post(f"/v1/videos/{waiting['id']}/cancel", None)
            assert [n for n, _ in watchers[2].result(10)] == ["status", "cancelled"]
            [pid] = s.workers()
            os.kill(pid, signal.SIGKILL)
            for w in watchers[:2]:
                name, v = w.result(10)[-1]
                assert name == "failed" and v["error"]["code"] == "worker_crashed", (name, v)
            assert is_mp4(expect(synced.result(20), 200).body)
        # one that is cancelled or deleted while its sync is awaited is told so
        for how, code in (("cancel", "cancelled"), ("delete", "deleted")):
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                reply = pool.submit(s.post, "/v1/videos/sync", LONG)
                v = until(lambda: next((x for x in s.get("/v1/videos").json["data"] if x["status"] == "in_progress"), None), 10, "does not begin")
                s.post(f"/v1/videos/{v['id']}/cancel", None) if how == "cancel" else s.request("DELETE", "/v1/videos/" + v["id"])
                expect(reply.result(10), 409, code)
        # the end of the server is the end of a stream
        v = s.create(**LONG)
        s.started(v["id"])
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            watcher, reply = pool.submit(events, s, v["id"]), pool.submit(s.post, "/v1/videos/sync", SMALL)
            until(lambda: len(s.get("/v1/videos").json["data"]) >= 3, 5, "sync has not begun")
            time.sleep(0.2)
            s.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            s.process.send_signal(signal.SIGTERM)
            assert watcher.result(10)[-1][0] in ("status", "progress", "preview")
            expect(reply.result(10), 503, "shutting_down")
        assert s.process.wait(10) == 0


@aside
def signs_of_life():
    """A stream with nothing to tell says so now and then."""
    with Server(SWAN) as s:
        v = s.create(**LONG)
        s.started(v["id"])
        [pid] = s.workers()
        os.kill(pid, signal.SIGSTOP)
        with socket.create_connection(("127.0.0.1", s.port), timeout=20) as c:
            c.sendall(f"GET /v1/videos/{v['id']}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            got = b""
            while b": still here" not in got:
                got += c.recv(65536)
        os.kill(pid, signal.SIGKILL)


@case
def cancelling():
    with Server(SWAN, "--queue", "1") as s:
        for how in ("cancel", "delete"):
            first = s.create(**LONG)
            s.started(first["id"])
            second = s.create()
            pid = s.workers()
            at = time.monotonic()
            if how == "cancel":
                assert expect(s.post(f"/v1/videos/{first['id']}/cancel", None), 200).json["status"] == "cancelled"
            else:
                expect(s.request("DELETE", "/v1/videos/" + first["id"]), 200)
            until(lambda: s.video(second["id"])["status"] != "queued", 20, "its place is not free")
            took = time.monotonic() - at
            assert took < 1, f"the place was free only after {took:.2f} s"
            assert s.finish(second["id"], 20)["status"] == "completed"
            assert s.workers() == pid, "the worker was replaced instead of asked"
            if how == "cancel":
                v = s.video(first["id"])
                assert v["status"] == "cancelled" and v["error"]["code"] == "cancelled" and v["progress"] < 100
                expect(s.get(f"/v1/videos/{first['id']}/content"), 404, "no_content", "video_id")
        first = s.create(**LONG)
        s.started(first["id"])
        waiting = s.create()
        refused = s.post("/v1/videos", SMALL)
        expect(refused, 429, "queue_full")
        assert 1 <= int(refused.headers["retry-after"]) <= 60 and refused.error["type"] == "rate_limit_error"
        expect(s.post(f"/v1/videos/{first['id']}/remix", {"prompt": "x"}), 429, "queue_full")
        expect(s.post("/v1/videos/sync", SMALL), 429, "queue_full")
        expect(s.request("DELETE", "/v1/videos/" + waiting["id"]), 200)
        third = s.create()
        expect(s.post(f"/v1/videos/{first['id']}/cancel", None), 200)
        assert s.finish(third["id"])["status"] == "completed"
        until(lambda: not os.listdir(pathlib.Path(s.directory) / "work"), 5, "files of cancelled videos are left")


# ---- safety -----------------------------------------------------------------------------------------------------------


@case
def keys_hosts_origins():
    keys = tempfile.NamedTemporaryFile("w", suffix=".keys")
    keys.write("# comment\nsecret-1\nsecret-2\n")
    keys.flush()
    with Server(SWAN, "--api-key-file", keys.name, "--cors-origin", "https://app.example", "--allow-host", "swan.example") as s:
        good = {"Authorization": "Bearer secret-2"}
        expect(s.get("/v1/videos"), 401, "invalid_api_key")
        assert s.get("/v1/videos").headers["www-authenticate"] == "Bearer"
        for value in ("Bearer secret", "Bearer secret-22", "secret-2", "Basic secret-2", "Bearer secret-1,secret-2"):
            expect(s.get("/v1/models", Authorization=value), 401, "invalid_api_key")
        expect(s.post("/v1/videos", SMALL), 401, "invalid_api_key")
        expect(s.get("/v1/videos", **good), 200)
        for path in ("/", "/health", "/v1/health", "/openapi.json"):
            expect(s.get(path), 200)
        expect(s.get("/metrics", **good), 404, "not_found")  # off
        expect(s.get("/v1/videos", Host="swan.example", **good), 200)
        expect(s.get("/v1/videos", Host="evil.example", **good), 403, "host_not_allowed")
        expect(s.post("/v1/videos", SMALL, Host="evil.example", **good), 403, "host_not_allowed")
        expect(s.post("/v1/videos", SMALL, Origin="https://evil.example", **good), 403, "origin_not_allowed")
        expect(s.post("/v1/videos", SMALL, Origin="null", **good), 403, "origin_not_allowed")
        expect(s.post("/v1/videos", SMALL, Sec_Fetch_Site="cross-site", **good), 403, "origin_not_allowed")
        expect(s.request("DELETE", "/v1/videos/video_" + "0" * 32, headers={"Origin": "https://evil.example", **good}), 403, "origin_not_allowed")
        own = expect(s.post("/v1/videos", SMALL, Origin=f"http://127.0.0.1:{s.port}", **good), 200)
        assert "access-control-allow-origin" not in own.headers
        other = expect(s.post("/v1/videos", SMALL, Origin="https://app.example", **good), 200)
        assert other.headers["access-control-allow-origin"] == "https://app.example" and "Origin" in other.headers["vary"]
        assert "access-control-allow-credentials" not in other.headers
        asked = expect(s.request("OPTIONS", "/v1/videos", headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}), 204)
        assert "POST" in asked.headers["access-control-allow-methods"]
        expect(s.request("OPTIONS", "/v1/videos", headers={"Origin": "https://evil.example"}), 403, "origin_not_allowed")
        assert b"403" in raw(s.port, b"GET /v1/videos HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\nConnection: close\r\n\r\n")
    for flags, message in ((["--host", "0.0.0.0"], "--api-key"), (["--host", "localhost.example"], "--host"), (["--tls-cert", "x"], "--tls-key"),
                           (["--port", "70000"], "--port"), (["--queue", "0"], "--queue"), (["--max-body", "1X"], "--max-body")):
        done = subprocess.run([SWAN, "serve", "--data", tempfile.gettempdir() + "/swan-none", *flags], capture_output=True, text=True, timeout=60)
        assert done.returncode != 0 and message in done.stderr, (flags, done.stderr)
    with Server(SWAN, "--host", "0.0.0.0", "--allow-no-key") as s:
        expect(s.get("/v1/videos", Host="10.1.2.3:80"), 200)


@case
def slow_clients():
    with Server(SWAN, "--request-timeout", "2", "--connections", "40") as s:
        def drip(first, every, piece):
            """Sends a little again and again; how long until the server ends it."""
            at = time.monotonic()
            with socket.create_connection(("127.0.0.1", s.port), timeout=20) as c:
                c.sendall(first)
                while time.monotonic() - at < 15:
                    time.sleep(every)
                    try:
                        c.sendall(piece)
                        c.setblocking(False)
                        try:
                            if c.recv(100) == b"":
                                break
                        except BlockingIOError:
                            pass
                        c.setblocking(True)
                    except OSError:
                        break
            return time.monotonic() - at

        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            headers = [pool.submit(drip, b"GET / HTTP/1.1\r\nHost: localhost\r\n", 0.3, b"A: b\r\n") for _ in range(12)]
            bodies = [pool.submit(drip, b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n", 0.3, b" ") for _ in range(12)]
            idle = [pool.submit(drip, b"", 0.3, b"") for _ in range(2)]
            time.sleep(0.5)
            at = time.monotonic()
            assert s.get("/health").status == 200 and time.monotonic() - at < 1, "slow clients hold up the others"
            times = [f.result() for f in headers + bodies + idle]
        assert all(1 < t < 6 for t in times), sorted(times)
        # more connections than there may be: those that fit are served
        open_ = []
        for _ in range(60):
            open_.append(socket.create_connection(("127.0.0.1", s.port), timeout=10))
        time.sleep(3.5)
        for c in open_:
            c.close()
        assert until(lambda: s.get("/health").status == 200, 10, "the server does not recover from many connections")


@case
def noise():
    """Requests with bytes changed, cut, doubled and put in: whatever the answers, the server goes on."""
    rng = random.Random(5)
    body, kind = form({**SMALL, "seed": "7"})
    seeds = [
        b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"prompt\": \"x\"}",
        f"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body,
        b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n",
        b"GET /v1/videos?limit=5&after=video_0&order=asc HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\nIf-None-Match: *\r\n\r\n",
        b"OPTIONS /v1/videos/video_00000000000000000000000000000000/content?variant=%00 HTTP/1.1\r\nHost: [::1]:1\r\nOrigin: null\r\n\r\n",
        b"DELETE /v1/videos/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"]
    with Server(SWAN, "--queue", "1", "--request-timeout", "3") as s:
        sent, answered, end = 0, 0, time.monotonic() + NOISE
        while time.monotonic() < end:
            data = bytearray(rng.choice(seeds))
            for _ in range(rng.choice([0, 1, 2, 8])):
                at = rng.randrange(len(data))
                change = rng.randrange(4)
                if change == 0:
                    data[at] = rng.randrange(256)
                elif change == 1:
                    del data[at:at + rng.randrange(1, 20)]
                elif change == 2:
                    data[at:at] = data[at:at + rng.randrange(1, 40)]
                else:
                    data[at:at] = rng.choice([b"\0", b"\r\n\r\n", b"%", b"\xff" * 9, b"9" * 30, b"-1", b": ", b'"'])
                data = data or bytearray(b"x")
            with socket.create_connection(("127.0.0.1", s.port), timeout=0.05) as c:  # an unfinished one is not waited for
                sent += 1
                try:
                    c.sendall(data)
                    answered += c.recv(100)[:5] == b"HTTP/"
                except OSError:
                    pass
        assert answered > 20 and s.process.poll() is None
        until(lambda: s.get("/health").status == 200, 10, "the server does not recover")
        print(f"      noise: {sent} requests, {answered} answered, memory {s.resident() / 2**20:.1f} MiB")


@case
def two_workers():
    with Server(SWAN, "--device", "cpu,cpu") as s:
        until(lambda: len(s.workers()) == 2, 10, "wanted two workers")
        first, second = s.create(**LONG), s.create(**LONG)
        s.started(first["id"]), s.started(second["id"])
        expect(s.request("DELETE", "/v1/videos/" + first["id"]), 200)
        third = s.create()
        assert s.finish(third["id"], 20)["status"] == "completed" and s.video(second["id"])["status"] == "in_progress"
        expect(s.request("DELETE", "/v1/videos/" + second["id"]), 200)


@case
def tls():
    if not shutil.which("openssl"):
        raise Skipped("no openssl")
    import ssl
    with tempfile.TemporaryDirectory() as d:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", d + "/key.pem", "-out", d + "/cert.pem", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
        with Server(SWAN, "--tls-cert", d + "/cert.pem", "--tls-key", d + "/key.pem", wait=False) as s:
            assert s.scheme == "https"
            context = ssl.create_default_context(cafile=d + "/cert.pem")

            def health():
                c = http.client.HTTPSConnection("127.0.0.1", s.port, timeout=20, context=context)
                c.request("GET", "/health")
                return c.getresponse().status
            until(lambda: health() == 200, 30, "no health over TLS")
            assert b"200" not in raw(s.port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")[:20]


# ---- faults -----------------------------------------------------------------------------------------------------------


@case
def worker_dies():
    with Server(SWAN, "--metrics", "--stall-timeout", "2") as s:
        first = s.create(**LONG)
        second = s.create()
        s.started(first["id"])
        [pid] = s.workers()
        os.kill(pid, signal.SIGKILL)
        v = s.finish(first["id"])
        assert v["status"] == "failed" and v["error"]["code"] == "worker_crashed" and "signal 9" in v["error"]["message"], v
        assert s.finish(second["id"])["status"] == "completed", "the queue stands still"
        assert s.workers() != [pid]
        first = s.create(**LONG)
        s.started(first["id"])
        [pid] = s.workers()
        os.kill(pid, signal.SIGSTOP)  # hangs
        at = time.monotonic()
        v = s.finish(first["id"], 20)
        assert v["status"] == "failed" and v["error"]["code"] == "worker_hung" and time.monotonic() - at < 6, v
        until(lambda: s.get("/health").status == 200, 20, "no new worker")
        assert s.finish(s.create()["id"])["status"] == "completed"
        metrics = s.get("/metrics").body.decode()
        assert "swan_worker_restarts_total 2" in metrics and 'outcome="failed"} 2' in metrics, metrics


@case
def a_model_that_cannot_be_opened():
    done = subprocess.run([SWAN, "serve", "--port", "0", "--data", tempfile.mkdtemp(), "-m", "/nonexistent"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "nonexistent" in done.stderr, done.stderr
    done = subprocess.run([SWAN, "worker"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "swan serve" in done.stderr, done.stderr


@case
def loading_and_draining():
    with Server(SWAN, "--drain", "120", wait=False) as s:
        for _ in range(20):  # a worker that is stopped before it has loaded
            [pid] = until(s.workers, 5, "no worker")
            os.kill(pid, signal.SIGSTOP)
            if s.get("/health").status == 503:
                break
            os.kill(pid, signal.SIGCONT)
            s.kill()
            s.start(wait=False)
        # as long as nothing is loaded: 503, in llama.cpp's words; videos that are there can be had
        assert expect(s.get("/health"), 503).json == {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
        assert s.get("/v1/health").status == 503 and s.get("/v1/models").json["data"] == [] and s.get("/v1/videos").status == 200
        refused = expect(s.post("/v1/videos", SMALL), 503, "loading")
        assert refused.headers["retry-after"] and s.get("/").status == 200
        os.kill(pid, signal.SIGCONT)
        until(lambda: s.get("/health").status == 200, 30, "not ready")
        v = s.create(**{**LONG, "num_inference_steps": 12, "size": "192x192", "num_frames": 17})
        s.started(v["id"])
        waiting = s.create()
        s.process.send_signal(signal.SIGTERM)
        until(lambda: s.post("/v1/videos", SMALL).status == 503, 5, "takes jobs while it drains")
        assert s.get("/health").status == 503
        assert s.process.wait(130) == 0
        until(lambda: not os.path.exists(f"/proc/{pid}"), 5, "the worker is left behind")
        s.start()
        assert s.video(v["id"])["status"] == "completed", "what ran was not finished"
        assert s.finish(waiting["id"])["status"] == "completed", "what waited is lost"
        # a second signal does not wait: the job goes back into the queue, as if it had not begun
        v = s.create(**LONG)
        s.started(v["id"])
        at = time.monotonic()
        s.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        s.process.send_signal(signal.SIGTERM)
        assert s.process.wait(20) == 0 and time.monotonic() - at < 8
        s.start()
        s.started(v["id"])
        assert s.video(v["id"])["attempt"] == 1
        other = subprocess.run([SWAN, "serve", "--port", "0", "--data", s.directory], capture_output=True, text=True, timeout=60)
        assert other.returncode == 1 and "another swan serve" in other.stderr, other.stderr


@case
def disk_full():
    """On a small disk of its own. Where none can be mounted without being root, file_limit has to do."""
    data = tempfile.mkdtemp(prefix="swan-disk-")
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c", f'mount -t tmpfs -o size=4m none {data} && exec "$@"', "sh"]
    if subprocess.run([*mount, "true"], capture_output=True).returncode != 0:
        raise Skipped("no file system can be mounted here, which takes root or user namespaces")
    large = {"size": "256x256", "num_frames": 33, "num_inference_steps": 1}
    with Server(SWAN, "--min-free", "16K", data=data, inside=mount) as s:
        disk = pathlib.Path(f"/proc/{s.process.pid}/root{data}")

        def fill(leave):
            """Takes all the room but so many bytes."""
            with open(disk / "filler", "ab", buffering=0) as f:
                try:
                    while True:
                        f.write(b"x" * 4096)
                except OSError:
                    pass
            os.truncate(disk / "filler", max(0, (disk / "filler").stat().st_size - leave))

        kept = s.finish(s.create()["id"])
        assert kept["status"] == "completed"
        fill(65536)
        v = s.finish(s.create(**large)["id"])
        assert v["status"] == "failed" and v["error"]["code"] == "storage_failed" and "No space left" in v["error"]["message"], v
        expect(s.get(f"/v1/videos/{v['id']}/content"), 404, "no_content", "video_id")
        assert os.listdir(disk / "videos") == [kept["id"]] and os.listdir(disk / "work") == [], "something half-written is left"
        assert is_mp4(s.get(f"/v1/videos/{kept['id']}/content").body)
        small = s.create()  # the queue goes on
        assert s.finish(small["id"])["status"] == "completed", "what fits is not made"
        # full to the last byte while one is made and one waits
        running = s.create(**{**LONG, "num_inference_steps": 8, "num_frames": 17})
        s.started(running["id"])
        waiting = s.create()
        fill(0)
        expect(s.post("/v1/videos", SMALL), 507, "disk_full")
        expect(s.post("/v1/videos/sync", SMALL), 507, "disk_full")
        ends = [s.finish(x["id"]) for x in (running, waiting)]
        assert [(e["status"], e["error"]["code"]) for e in ends] == [("failed", "storage_failed")] * 2, ends
        assert s.get("/health").status == 200 and s.get("/v1/videos").status == 200
        # what is there can be removed, and makes room
        expect(s.request("DELETE", "/v1/videos/" + small["id"]), 200)
        assert os.listdir(disk / "videos") == [kept["id"]]
        os.remove(disk / "filler")
        v = s.create(**large)
        assert s.finish(v["id"])["status"] == "completed", "the server does not recover"


@case
def file_limit():
    """A limit on the size of files is met like a full disk: an error, not the end of a process."""
    with Server(SWAN, inside=["sh", "-c", 'ulimit -f 500 && exec "$@"', "sh"]) as s:
        workers = until(s.workers, 5, "no worker")
        v = s.finish(s.create(size="320x320", num_frames=49, num_inference_steps=1)["id"], 200)
        assert v["status"] == "failed" and v["error"]["code"] == "storage_failed" and "File too large" in v["error"]["message"], v
        assert os.listdir(pathlib.Path(s.directory) / "work") == []
        assert s.finish(s.create()["id"])["status"] == "completed" and s.workers() == workers


@aside
def results_expire():
    with Server(SWAN, "--keep", "1", "--max-stored", "1K") as s:
        v = s.create()
        # completed, or gone already
        until(lambda: (r := s.get("/v1/videos/" + v["id"])).status == 404 or r.json["status"] == "completed", 30, "not completed")
        if s.get("/v1/videos/" + v["id"]).status == 200:
            reply = s.post("/v1/videos", SMALL)
            assert reply.status == 200 or expect(reply, 507, "storage_full")
        until(lambda: s.get("/v1/videos/" + v["id"]).status == 404, 30, "does not expire")
        until(lambda: not (pathlib.Path(s.directory) / "videos" / v["id"]).exists(), 5, "its files are left")
        assert s.post("/v1/videos", SMALL).status in (200, 507)


def check_batch(s, accepted, restarts):
    """Everything that was accepted ended once, whole or with a reason; nothing else is there."""
    listed, after = {}, ""
    while True:
        page = s.get(f"/v1/videos?limit=100&order=asc{after}").json
        for v in page["data"]:
            assert v["id"] not in listed, "listed twice"
            listed[v["id"]] = v
        if not page["has_more"]:
            break
        after = "&after=" + page["last_id"]
    assert set(accepted) <= set(listed), f"lost: {set(accepted) - set(listed)}"
    done = failed = 0
    for id, v in listed.items():
        assert v["status"] in ("completed", "failed"), v
        if v["status"] == "failed":
            failed += 1
            assert v["error"]["code"] in ("server_restarted", "worker_crashed") and v["error"]["message"], v
            assert s.get(f"/v1/videos/{id}/content").status == 404
            continue
        done += 1
        assert v["progress"] == 100 and v["attempt"] <= restarts + 1
        assert is_mp4(s.get(f"/v1/videos/{id}/content").body), f"{id} is not whole"
        assert is_jpeg(s.get(f"/v1/videos/{id}/content?variant=spritesheet").body)
    files = set(os.listdir(pathlib.Path(s.directory) / "videos"))
    assert files == {id for id, v in listed.items() if v["status"] == "completed"}, "files and rows differ"
    return done, failed


@case
def killed_at_any_moment():
    """kill -9 of the server or its worker at random moments during a batch."""
    rng = random.Random(11)
    accepted, servers, workers = [], 0, 0
    with Server(SWAN, "--queue", "200", "--attempts", "3") as s:
        round_ = 0
        while servers + workers < KILLS:  # a worker that is not there yet cannot be killed
            round_ += 1
            for i in range(3):
                fields = {"seed": 100 * round_ + i, "num_inference_steps": rng.choice([2, 8, 30]), "size": rng.choice(["64x48", "128x128"])}
                try:
                    reply = s.post("/v1/videos", {**SMALL, **fields})
                    if reply.status == 200:
                        accepted.append(reply.json["id"])
                    else:
                        assert reply.status in (503, 429), reply.body  # no model is known yet; others use the machine, too
                except OSError:
                    raise AssertionError("the server is gone unasked")
            time.sleep(rng.random() * 0.25)
            if rng.random() < 0.6:
                s.kill()
                servers += 1
                s.start(wait=rng.random() < 0.7)
            else:
                for pid in s.workers():
                    try:
                        os.kill(pid, signal.SIGKILL)
                        workers += 1
                    except ProcessLookupError:
                        pass
        until(lambda: all(v["status"] in ("completed", "failed") for v in s.get("/v1/videos?limit=100").json["data"]), 240, "the batch does not end")
        totals = check_batch(s, accepted, servers)
        s.kill()
        s.start()
        assert check_batch(s, accepted, servers + 1) == totals, "a restart changes what is over"
        print(f"      kills: {servers} of the server, {workers} of workers; {len(accepted)} accepted, {totals[0]} completed, {totals[1]} failed with a reason")


def run(function):
    """What to print about a case, and how it ended."""
    at = time.monotonic()
    try:
        function()
        return f"ok    {function.__name__} ({time.monotonic() - at:.1f} s)", "ok"
    except Skipped as why:
        return f"skipped: {function.__name__}: {why}", "skipped"
    except Exception:
        return f"FAIL  {function.__name__} ({time.monotonic() - at:.1f} s)\n" + "".join("      " + line for line in traceback.format_exc().splitlines(True)), "failed"


def main():
    global SWAN, KILLS, NOISE
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("swan")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--noise", type=float, default=3)
    parser.add_argument("--without", nargs="*", metavar="NAME")
    parser.add_argument("names", nargs="*")
    args = parser.parse_intermixed_args()
    SWAN, KILLS, NOISE = str(pathlib.Path(args.swan).resolve()), args.kills, args.noise
    chosen = [f for f in CASES if (f.__name__ in args.names if args.names else not args.without or f.__name__ not in args.without)]
    ends = set()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = [pool.submit(run, f) for f in chosen if hasattr(f, "aside")]
        for done in [lambda f=f: run(f) for f in chosen if not hasattr(f, "aside")] + [w.result for w in waiting]:
            text, end = done()
            ends.add(end)
            print(text, flush=True)
    return 1 if "failed" in ends else 77 if ends == {"skipped"} else 0


if __name__ == "__main__":
    sys.exit(main())
