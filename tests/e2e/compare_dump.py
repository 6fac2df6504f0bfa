#!/usr/bin/env python3
"""Compares what `swan generate --exact --dump` writes with the reference pipelines, file by file.

    tests/e2e/compare_dump.py build/release/swan [CASE ...]         run and compare, cases of tests/parity/data/pipeline
    tests/e2e/compare_dump.py --only DUMP_DIR FIXTURE_DIR [BOUND]   compare two folders of .npy files

Every file of the fixture must be in the dump with its type and shape (context_negative and ids_negative, which the program
does not write, aside); integers must be equal, arrays within the case's bound in relative L2. Standard library only.
"""

import array
import json
import math
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASES = ROOT / "tests" / "parity" / "data" / "pipeline"
BOUND = 1e-4  # of --exact; every fixture is within 1e-5 of fp64 (tests/parity/README.md)
NOT_DUMPED = ("ids_negative.npy", "context_negative.npy")


def load(path):
    """(shape, values) of a little-endian C-ordered .npy of f32 or i32."""
    data = path.read_bytes()
    if data[:6] != b"\x93NUMPY":
        raise ValueError(f"{path}: not a .npy file")
    size = struct.unpack("<H", data[8:10])[0] + 10 if data[6] == 1 else struct.unpack("<I", data[8:12])[0] + 12
    header = data[:size].decode("latin1")
    descr = re.search(r"'descr': *'([^']*)'", header).group(1)
    if "'fortran_order': False" not in header or descr not in ("<f4", "<i4"):
        raise ValueError(f"{path}: {header}")
    shape = tuple(int(n) for n in re.search(r"'shape': *\(([^)]*)\)", header).group(1).split(",") if n.strip())
    values = array.array("f" if descr == "<f4" else "i")
    values.frombytes(data[size:])
    if sys.byteorder == "big":
        values.byteswap()
    if len(values) != math.prod(shape):
        raise ValueError(f"{path}: {len(values)} values for shape {shape}")
    return shape, values


def distance(got, want):
    d = w = 0.0
    for a, b in zip(got, want):
        d += (a - b) * (a - b)
        w += b * b
    return math.sqrt(d / w) if w else (0.0 if d == 0 else math.inf)


def compare(dump, fixture, bounds):
    """Prints one line a file; returns the number of files that are not as they should be.

    bounds: by file name without number and ending, or "*".
    """
    failures = 0
    names = sorted(p.name for p in fixture.glob("*.npy") if p.name not in NOT_DUMPED)
    if not names:
        print(f"{fixture}: no .npy files")
        return 1
    for name in names:
        if not (dump / name).exists():
            print(f"  {name:18} MISSING")
            failures += 1
            continue
        shape, got = load(dump / name)
        wanted, want = load(fixture / name)
        if shape != wanted or got.typecode != want.typecode:
            print(f"  {name:18} {got.typecode} {shape}, wanted {want.typecode} {wanted}  FAIL")
            failures += 1
        elif want.typecode == "i":
            same = got == want
            print(f"  {name:18} {'equal' if same else 'DIFFERENT'}")
            failures += not same
        else:
            bound = bounds.get(re.sub(r"(_\d+)?\.npy$", "", name), bounds["*"])
            e = distance(got, want)
            good = e <= bound  # False for a NaN
            print(f"  {name:18} relative L2 {e:.2e}  bound {bound:.0e}{'' if good else '  FAIL'}")
            failures += not good
    return failures


def run(swan, case):
    what = json.loads((CASES / case / "case.json").read_text())
    with tempfile.TemporaryDirectory(prefix="swan-compare-") as folder:
        dump = pathlib.Path(folder) / "dump"
        out = str(pathlib.Path(folder) / "out.mp4")
        command = [swan, "generate", what["prompt"], *what["args"], "--dump", str(dump), "-o", out]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace")
        print(f"{case}: swan generate {' '.join(what['args'])}")
        if done.returncode != 0:
            print(done.stdout)
            print(f"{case}: exit status {done.returncode}")
            return 1
        return compare(dump, CASES / case, what["bounds"])


def main(args):
    if args[:1] == ["--only"] and len(args) in (3, 4):
        bound = float(args[3]) if len(args) == 4 else BOUND
        failures = compare(pathlib.Path(args[1]), pathlib.Path(args[2]), {"*": bound})
    elif args and not args[0].startswith("-"):
        swan = str(pathlib.Path(args[0]).resolve())
        cases = args[1:] or sorted(p.parent.name for p in CASES.glob("*/case.json"))
        failures = sum(run(swan, case) for case in cases)
    else:
        sys.exit(__doc__)
    print("every file within its bound" if not failures else f"{failures} FAILED")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
