"""What the peers share: timing as `swan bench` does it, and one JSON line a row."""

import json
import statistics
import time

import torch


def synchronise():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(call, runs):
    """Seconds of `runs` calls, each on an idle device and waited for; the first is cold (compilation included)."""
    times = []
    for _ in range(runs):
        synchronise()
        start = time.perf_counter()
        call()
        synchronise()
        times.append(time.perf_counter() - start)
    return times


def tell(name, times, **more):
    """One line: cold, and median, min and max of the warm runs, in seconds."""
    warm, gpu = times[1:] or times, torch.cuda.is_available()
    print(json.dumps({"name": name, "cold_s": times[0], "median_s": statistics.median(warm), "min_s": min(warm), "max_s": max(warm),
                      "runs_s": times, "peak_bytes": torch.cuda.max_memory_allocated() if gpu else 0, "device": torch.cuda.get_device_name() if gpu else "CPU",
                      "torch": torch.__version__, **more}), flush=True)
