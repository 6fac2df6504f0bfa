"""The program under test, small models to run it on, and what every run has to obey. Standard library only."""

import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "parity" / "data"
WAN = DATA / "wan-tiny"          # base Wan: UniPC with guidance
FASTWAN = DATA / "fastwan-tiny"  # gates and class WanDMDPipeline: DMD with sparse attention
TAEHV = DATA / "taehv-tiny.safetensors"
SWAN = pathlib.Path(sys.argv[0])  # set by run.py
SANITIZED = False                 # the program was built with a sanitizer that slows it down; set by run.py
MESSAGE_LINES = 2                # of a failure on stderr: what is wrong, and where help is


class Done:
    """A finished run."""

    def __init__(self, process):
        self.status = process.returncode
        self.out = process.stdout.decode("utf-8", "replace")
        self.err = process.stderr.decode("utf-8", "replace")

    @property
    def message(self):
        """What the program said about its failure: the lines that begin with its name, and what follows them."""
        at = self.err.find("swan: ")
        at = at if at >= 0 else self.err.find("swan ")
        return self.err[at:].strip() if at >= 0 else ""


def entries(folder):
    return sorted(str(p.relative_to(folder)) for p in pathlib.Path(folder).rglob("*"))


class Case(unittest.TestCase):
    """Every test has a directory of its own, self.here, which is also the program's working directory."""

    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="swan-e2e-")
        self.addCleanup(folder.cleanup)
        self.here = pathlib.Path(folder.name)
        self.here.chmod(0o755)

    # ---- running ----

    def swan(self, *args, timeout=60, **more):
        """Runs the program; it must end by itself, and never through a signal."""
        more.setdefault("cwd", self.here)
        command = [str(SWAN), *(a if isinstance(a, bytes) else str(a) for a in args)]
        done = Done(subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                                   **more))
        self.assertGreaterEqual(done.status, 0, f"ended by signal {-done.status}: {args}\n{done.err}")
        return done

    def works(self, *args, **more):
        done = self.swan(*args, **more)
        self.assertEqual(done.status, 0, f"{args}\n{done.err}")
        return done

    def refuses(self, *args, says=(), status=1, **more):
        """A failure: this status, one message with each of `says` in it, and nothing left behind."""
        before = entries(self.here)
        done = self.swan(*args, **more)
        self.assertEqual(done.status, status, f"{args}\n{done.out}{done.err}")
        lines = done.message.splitlines()
        self.assertTrue(1 <= len(lines) <= MESSAGE_LINES, f"{args}\nwanted one message, found {done.err!r}")
        for text in says if isinstance(says, (tuple, list)) else (says,):
            self.assertIn(str(text), lines[0])
        self.assertLess(len(lines[0]), 1100)
        self.assertNotIn("bug", done.err.replace(self.here.name, "").lower())  # one random name in thousands has it
        self.assertEqual(entries(self.here), before, f"{args}: left something behind")
        return done

    def generate(self, *args, model=WAN, run=None, **more):
        """A small video of a small model, in under a tenth of a second."""
        args = ("generate", *self.small(model), *args)
        return (run or self.works)(*args, **more)

    def small(self, model=WAN):
        return ("-m", model, "--taehv", TAEHV, "--size", "64x48", "--frames", 9, "--steps", 2)

    def refuses_to_generate(self, *args, **more):
        return self.generate("-o", "out.mp4", *args, run=self.refuses, **more)

    # ---- models that differ from a good one ----

    def model(self, name="model", base=WAN):
        """A directory that is the base model by links; parts of it can be replaced without touching the base."""
        folder = self.here / name
        for path in sorted(base.rglob("*")):
            target = folder / path.relative_to(base)
            if path.is_dir():
                target.mkdir(parents=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path)
        return folder

    def replace(self, path, data):
        path.unlink(missing_ok=True)
        if isinstance(data, str):
            data = data.encode()
        path.write_bytes(data)
        return path

    def edit_json(self, path, **changes):
        """Changes keys of a JSON file; None removes one."""
        value = json.loads(path.read_text())
        for key, new in changes.items():
            if new is None:
                value.pop(key, None)
            else:
                value[key] = new
        self.replace(path, json.dumps(value))

    def readable_by_all(self):
        """What an ordinary user needs to run the program on a model in self.here, when the tests are run by root."""
        program = self.here / "swan"
        shutil.copy(SWAN, program)
        program.chmod(0o755)
        model = self.here / "model"
        shutil.copytree(WAN, model)
        shutil.copy(TAEHV, model / "taew2_1.safetensors")
        for path in model.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return program, model

    def as_user(self, program, *args):
        """Runs a copy of the program so that permissions count: as nobody when we are root."""
        who = dict(user=65534, group=65534, extra_groups=[]) if os.geteuid() == 0 else {}
        done = Done(subprocess.run([str(program), *map(str, args)], cwd=self.here, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, timeout=60, **who))
        self.assertGreaterEqual(done.status, 0, f"ended by signal {-done.status}: {args}\n{done.err}")
        return done


# ---- safetensors ----

def read_safetensors(path):
    """(header without __metadata__, data)"""
    raw = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    return header, raw[8 + size:]


def safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def rebuilt(path, change):
    """The file again, each tensor as change(name, dtype, shape, bytes) gives it: the last three, or None to leave it out."""
    header, data = read_safetensors(path)
    entries, parts, at = {}, [], 0
    for name, e in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        kept = change(name, e["dtype"], e["shape"], data[slice(*e["data_offsets"])])
        if kept is None:
            continue
        dtype, shape, part = kept
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(part)]}
        parts.append(part)
        at += len(part)
    return safetensors(entries, b"".join(parts))


def rename(header, old, new):
    return {new if name == old else name: value for name, value in header.items()}


def npy(shape, values=None, descr="<f4", width=4):
    """A .npy file: values are bytes, zeros when left out."""
    count = 1
    for n in shape:
        count *= n
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + (values if values is not None else bytes(count * width))


# ---- mp4 ----

def boxes(path):
    """Names and sizes of an mp4's top-level boxes."""
    data, at, found = pathlib.Path(path).read_bytes(), 0, []
    while at + 8 <= len(data):
        size, name = struct.unpack(">I4s", data[at:at + 8])
        if size < 8:
            break
        found.append((name.decode("latin1"), size))
        at += size
    return found


def probe(path):
    """The video stream as ffprobe sees it; None when there is no ffprobe."""
    if not shutil.which("ffprobe"):
        return None
    done = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json", str(path)],
                          stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def fractions(text):
    return [float(x) / 100 for x in re.findall(r"(\d+)%", text)]
