#!/usr/bin/env python3
"""Load: many clients against a short queue, while another process asks how far a video is.

    python3 tests/server/load.py SWAN [--requests 1000] [--clients 64] [--queue 32] [--limit-ms 20] [--growth-mib 16]

Fails when an accepted video does not end exactly once and whole, a refused request got anything but 429 with Retry-After, the 99th
percentile of GET /v1/videos/ID is above the limit, or the server's memory grows by more. Standard library only.
"""

import argparse
import collections
import http.client
import json
import multiprocessing
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from client import SMALL, Server, until  # noqa: E402



def probe(port, id, stop, out):
    """Asks again and again over one connection; sends the times in seconds when told to stop."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    times = []
    while not stop.is_set():
        at = time.perf_counter()
        connection.request("GET", "/v1/videos/" + id)
        reply = connection.getresponse()
        body = reply.read()
        times.append(time.perf_counter() - at)
        assert reply.status == 200, body
        time.sleep(0.004)
    out.put(times)


def client(server, count, results, lock):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    for _ in range(count):
        connection.request("POST", "/v1/videos", json.dumps(SMALL), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        body = json.loads(reply.read())
        with lock:
            results.append((reply.status, body, reply.getheader("Retry-After")))
        if reply.status == 429:  # less patient than it was asked to be
            time.sleep(random.uniform(0.2, 0.6) * float(reply.getheader("Retry-After") or 1))


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, int(len(values) * p))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("swan")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--queue", type=int, default=32)
    parser.add_argument("--limit-ms", type=float, default=20)
    # libraries' pools and SQLite's cache, which end somewhere; a leak per request does not
    parser.add_argument("--growth-mib", type=float, default=16)
    args = parser.parse_args()
    with Server(pathlib.Path(args.swan).resolve(), "--queue", args.queue, "--metrics") as s:
        warm = [s.finish(s.create()["id"])["id"] for _ in range(20)]
        before = s.resident()
        stop, times = multiprocessing.Event(), multiprocessing.Queue()
        prober = multiprocessing.Process(target=probe, args=(s.port, warm[0], stop, times))
        prober.start()
        results, lock, at = [], threading.Lock(), time.monotonic()
        share = [args.requests // args.clients + (i < args.requests % args.clients) for i in range(args.clients)]
        threads = [threading.Thread(target=client, args=(s, n, results, lock)) for n in share]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        accepted = [body["id"] for status, body, _ in results if status == 200]
        until(lambda: s.get("/metrics").body.decode().count('swan_videos{status="queued"} 0\nswan_videos{status="in_progress"} 0'), 600, "the queue does not end")
        took = time.monotonic() - at
        stop.set()
        asked = times.get()
        prober.join()
        after = s.resident()
        failures = []
        refused = [(status, retry) for status, _, retry in results if status != 200]
        if len(results) != args.requests or any(status != 429 or not retry for status, retry in refused):
            failures.append(f"answers: {collections.Counter(status for status, _, _ in results)}")
        if len(set(accepted)) != len(accepted):
            failures.append("an id was given out twice")
        bad = [id for id in accepted if s.video(id)["status"] != "completed" or s.get(f"/v1/videos/{id}/content").body[4:8] != b"ftyp"]
        if bad:
            failures.append(f"{len(bad)} accepted videos are not whole: {bad[:3]}")
        files = len(os.listdir(pathlib.Path(s.directory) / "videos"))
        if files != len(accepted) + len(warm):
            failures.append(f"{files} videos on disk, {len(accepted)} accepted and {len(warm)} before them")
        p50, p99, worst = (1000 * x for x in (percentile(asked, 0.5), percentile(asked, 0.99), max(asked)))
        if p99 > args.limit_ms:
            failures.append(f"GET: 99th percentile {p99:.1f} ms")
        if after - before > args.growth_mib * 2**20:
            failures.append("memory grows")
        print(f"{len(results)} requests from {args.clients} clients, queue {args.queue}: {len(accepted)} accepted and completed, {len(refused)} refused (429), in {took:.1f} s")
        print(f"GET while generating: {len(asked)} requests, median {p50:.2f} ms, 99% {p99:.2f} ms, longest {worst:.1f} ms")
        print(f"memory of the server: {before / 2**20:.1f} MiB before, {after / 2**20:.1f} MiB after")
        for failure in failures:
            print("FAIL", failure)
        return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
