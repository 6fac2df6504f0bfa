#!/usr/bin/env python3
"""Compiles every header under include/ and src/ alone: as C11, and as C++17 where it is shared with C++ or CUDA. Each is
included twice, and its guard must be its path (SWAN_BASE_STATUS_H).

    python3 tools/check_headers.py [ROOT]      CC and CXX in the environment choose the compilers

Headers that need CUDA's own are skipped, and counted, where nvcc is not there; headers of vectors are compiled once for each
instruction set. Prints one line `file:line: what` for each violation. Standard library only.
"""

import concurrent.futures
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sys

WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Werror", "-fsyntax-only", "-D_POSIX_C_SOURCE=200809L", "-Iinclude", "-Isrc"]
C = ["-std=c11", "-Wconversion", "-Wno-sign-conversion", "-Wstrict-prototypes", "-Wmissing-prototypes", "-x", "c"]
CXX = ["-std=c++17", "-x", "c++"]

SHARED = {"include/swan/swan.h", "src/kernel/args.h", "src/tensor/tensor.h"}  # and whatever has extern "C"
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = AVX2 + ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]


def package_flags(name):
    found = subprocess.run(["pkg-config", "--cflags", name], capture_output=True, text=True)
    return shlex.split(found.stdout) if found.returncode == 0 else []


def guard_of(name):
    """SWAN_BASE_STATUS_H for src/base/status.h; SWAN_SWAN_H for include/swan/swan.h."""
    short = name.removeprefix("src/").removeprefix("include/")
    if short.startswith("swan/"):
        short = short.removeprefix("swan/")
    return "SWAN_" + re.sub(r"[^A-Za-z0-9]", "_", short).upper()


def jobs_of(name, text, extra):
    """(compiler line) for each way in which a header is compiled; None for one that cannot be compiled here."""
    cc, cxx = shlex.split(os.environ.get("CC", "cc")), shlex.split(os.environ.get("CXX", "c++"))
    if name.endswith(".cuh") or re.search(r"#\s*include <cuda", text):
        if not shutil.which("nvcc"):
            return None
        return [["nvcc", "-std=c++17", "-arch=sm_90a", "-Iinclude", "-Isrc", "-x", "cu", "-c", "-o", os.devnull]]
    ways = [[]]
    if name.startswith("src/kernel/cpu/simd") and platform.machine() == "x86_64":
        ways += [AVX2, AVX512]
    jobs = [cc + C + WARNINGS + extra + way for way in ways]
    if name in SHARED or 'extern "C"' in text:
        jobs.append(cxx + CXX + WARNINGS + extra)
    return jobs


def compile_alone(root, name, command):
    """One line of complaint, or None."""
    header = name.removeprefix("src/").removeprefix("include/")
    unit = f'#include "{header}"\n#include "{header}"\n'
    if command[0] != "nvcc":
        unit += "typedef int swan_nothing;\n"
    done = subprocess.run(command + ["-"], input=unit, cwd=root, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    first = next((l for l in done.stderr.splitlines() if "error" in l), done.stderr.strip().split("\n")[0])
    language = "C++17" if "-std=c++17" in command else "C11"
    where = re.match(r"(?:<stdin>|src/|include/)[^:]*:(\d+)", first)
    return f"{name}:{where[1] if where else 1}: does not compile alone as {language}: {first}"


def check_guard(name, text):
    guard = guard_of(name)
    if re.search(rf"#ifndef {guard}\n#define {guard}\b", text) or (name.endswith(".cuh") and "#pragma once" in text):
        return None
    return f"{name}:1: wanted the guard {guard}"


def main(args):
    root = pathlib.Path(args[0] if args else pathlib.Path(__file__).parents[1]).resolve()
    extra = package_flags("jansson")
    work, complaints, skipped = [], [], []
    paths = sorted(p for folder in ("include", "src") for p in (root / folder).rglob("*") if p.suffix in (".h", ".cuh"))
    for path in paths:
        name, text = path.relative_to(root).as_posix(), path.read_text(errors="replace")
        complaints.append(check_guard(name, text))
        jobs = jobs_of(name, text, extra)
        if jobs is None:
            skipped.append(name)
        else:
            work += [(name, job) for job in jobs]
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        complaints += pool.map(lambda w: compile_alone(root, *w), work)
    complaints = [c for c in complaints if c]
    for complaint in complaints:
        print(complaint)
    if skipped:
        print(f"skipped, because nvcc is not here: {len(skipped)} headers for CUDA")
    print(f"headers: {len(paths)} files, {len(work)} compilations, {len(complaints)} violations")
    return 1 if complaints or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
