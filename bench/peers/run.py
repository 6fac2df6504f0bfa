#!/usr/bin/env python3
"""`swan bench` and what a user would run instead, in turns, in one command, on one GPU; prints the table with ratios.

    bench/peers/run.py --swan build/cuda/swan                       everything: about six minutes, most of it compiling and loading
    bench/peers/run.py --swan build/cuda/swan --rows dense --peers compile-cudnn --rounds 2

Rows of ours (--rows): dense (wan2.1-1.3b), vsa (fastwan2.1-1.3b); each gives text, denoise, decode and prompt to closed mp4.
Peers (--peers): eager-fa2, eager-cudnn, compile-cudnn (dit.py), umt5 (umt5.py), taehv (taehv.py). A round runs one of ours and then a
peer until both lists are through. Weights are random; nothing is downloaded. Standard library only; the peers need PyTorch, umt5.py
transformers.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
MODELS = {"dense": "wan2.1-1.3b", "vsa": "fastwan2.1-1.3b"}
PEERS = ("eager-fa2", "eager-cudnn", "compile-cudnn", "umt5", "taehv")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swan", default="build/release/swan")
    parser.add_argument("--rows", default="dense,vsa")
    parser.add_argument("--peers", default=",".join(PEERS), help="'' for none")
    parser.add_argument("--size", default="832x480")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=4, help="of each program in a round; the first one is cold")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limit", type=int, default=300, help="seconds that one program may take")
    parser.add_argument("--within", type=float, default=3600, help="seconds for everything: what does not begin or end in time is left out")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--swan-flag", action="append", default=[], help="handed on to swan bench; may be repeated")
    parser.add_argument("--json", type=pathlib.Path, help="also write everything there")
    options = parser.parse_args(argv)
    options.end = time.monotonic() + options.within
    options.rows = [r for r in options.rows.split(",") if r]
    options.peers = [p for p in options.peers.split(",") if p]
    for name, known in [(r, MODELS) for r in options.rows] + [(p, PEERS) for p in options.peers]:
        if name not in known:
            parser.error(f"{name}: wanted one of {', '.join(known)}")
    return options


def run(options, command):
    """The JSON lines of a program; what went wrong is shown, and its rows are missing then."""
    start = time.monotonic()
    limit = min(options.limit, options.end - start)
    if limit < 1:
        return []
    try:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=limit)
        out, problem = done.stdout, done.stderr.strip()[-600:] if done.returncode else None
    except subprocess.TimeoutExpired as late:
        out, problem = (late.stdout or b"").decode(), f"more than {limit:.0f} s"
    name = " ".join(pathlib.Path(str(c)).name for c in command[:4])
    print(f"  {name}: {time.monotonic() - start:.1f} s{'; FAILED: ' + problem if problem else ''}", file=sys.stderr, flush=True)
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def ours(options, row, folder):
    flags = [f for text in options.swan_flag for f in text.split()]
    return run(options, [options.swan, "bench", "-m", MODELS[row], "--weights", "random", "--device", options.device, "--size", options.size, "--frames",
                options.frames, "--steps", options.steps, "--tokens", options.tokens, "--runs", options.runs, "--json", "-o",
                pathlib.Path(folder) / "bench.mp4", *flags])


def theirs(options, peer):
    python, geometry = sys.executable, ["--size", options.size, "--frames", options.frames, "--runs", options.runs]
    if peer == "umt5":
        return run(options, [python, HERE / "umt5.py", "--tokens", options.tokens, "--runs", options.runs])
    if peer == "taehv":
        return run(options, [python, HERE / "taehv.py", *geometry])
    return run(options, [python, HERE / "dit.py", peer, *geometry, "--steps", options.steps])


class Samples(dict):
    """name -> seconds of all warm runs of all rounds."""

    def take(self, name, runs):
        self.setdefault(name, []).extend(runs[1:] or runs)

    def median(self, name):
        return statistics.median(self[name])

    def say(self, name):
        values = sorted(self[name])
        return f"{1e3 * statistics.median(values):.1f} ({1e3 * values[0]:.1f} to {1e3 * values[-1]:.1f})"


def collect(options):
    samples, kept = Samples(), []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for i in range(max(len(options.rows), len(options.peers))):
                if i < len(options.rows):
                    row = options.rows[i]
                    for result in ours(options, row, folder):
                        kept.append(result)
                        for stage in ("text", "denoise", "decode", "close", "total"):
                            samples.take(f"{row} {stage}", result[stage]["runs_s"])
                if i < len(options.peers):
                    for result in theirs(options, options.peers[i]):
                        kept.append(result)
                        samples.take(result["name"], result["runs_s"])
    return samples, kept


def table(options, samples):
    """Markdown. Against which peer a stage is held: the same work, by other means."""
    dit, text, decode = ([n for n in samples if n.startswith(first)] for first in ("dit ", "umt5 ", "taehv"))
    titles = {"denoise": f"denoise, {options.steps} steps", "text": f"text, {options.tokens} tokens", "decode": "decode",
              "total": "prompt to closed mp4"}
    print(f"{options.size}, {options.frames} frames, {options.steps} steps; milliseconds, warm: median (min to max)\n")
    print("| | swan | peer | peer's | peer / swan |\n|---|---|---|---|---|")
    for stage, peers in (("denoise", dit), ("text", text), ("decode", decode), ("total", [])):
        for row in options.rows:
            name = f"{row} {stage}"
            if name not in samples:
                continue
            first = f"{titles[stage]}, {row}"
            there = [p for p in peers if p in samples]
            for peer in there:
                print(f"| {first} | {samples.say(name)} | {peer} | {samples.say(peer)} | {samples.median(peer) / samples.median(name):.2f} |")
            if not there:
                print(f"| {first} | {samples.say(name)} | | | |")


def main():
    options = parse(sys.argv[1:])
    samples, kept = collect(options)
    table(options, samples)
    for result in kept:
        if "process_peak_bytes" in result:
            gib = 1 << 30
            print(f"\n{result['model']} on {result['device_name']}: device memory {result['device_peak_bytes'] / gib:.2f} GiB "
                  f"(planned {result['device_planned_bytes'] / gib:.2f}), host {result['process_peak_bytes'] / gib:.2f} GiB, file "
                  f"{result['output_bytes'] / 1e6:.2f} MB")
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1) + "\n")
    wanted = [f"{row} total" for row in options.rows]
    return 0 if all(name in samples for name in wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
