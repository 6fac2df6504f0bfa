#!/usr/bin/env python3
"""The fidelity harness: its measures against their definitions, and a whole comparison on a small model.

    tests/e2e/fidelity.py build/release/swan

Needs NumPy; ends with status 77 where there is none.
"""

import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tools"))
try:
    import numpy as np
except ImportError:
    print("skipped: no NumPy")
    sys.exit(77)
import fidelity_metrics as m  # noqa: E402

SWAN = None
DATA = ROOT / "tests" / "parity" / "data"
SMALL = f"--taehv {DATA / 'taehv-tiny.safetensors'} --size 64x48 --frames 9 --steps 2"


def clip(seed, frames=3, height=20, width=24):
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)


class Measures(unittest.TestCase):
    def test_psnr(self):
        a = np.full((2, 12, 12, 3), 100, np.uint8)
        self.assertEqual(m.psnr(a, a), m.PSNR_MOST)
        self.assertAlmostEqual(m.psnr(a, a + np.uint8(5)), 20 * math.log10(255 / 5), places=6)
        self.assertAlmostEqual(m.psnr(a, a - np.uint8(5)), 20 * math.log10(255 / 5), places=6)  # no wrap around 0
        b = a.copy()
        b[0, 0, 0, 0] = 255  # one value of 864
        self.assertAlmostEqual(m.psnr(a, b), 10 * math.log10(255 ** 2 / (155 ** 2 / 864)), places=4)

    def test_ssim_is_its_definition(self):
        """Against the formula written out at every place of the window, in two dimensions."""
        a, b = clip(1), clip(2)
        b[1:] = a[1:] // 2 + b[1:] // 4
        g = np.exp(-((np.arange(11) - 5)[:, None] ** 2 + (np.arange(11) - 5)[None, :] ** 2) / (2 * 1.5 ** 2))
        g /= g.sum()
        total, count = 0.0, 0
        for x, y in zip(m.luma(a), m.luma(b)):
            for i in range(x.shape[0] - 10):
                for j in range(x.shape[1] - 10):
                    p, q = x[i:i + 11, j:j + 11], y[i:i + 11, j:j + 11]
                    mp, mq = (g * p).sum(), (g * q).sum()
                    vp, vq, pq = (g * (p - mp) ** 2).sum(), (g * (q - mq) ** 2).sum(), (g * (p - mp) * (q - mq)).sum()
                    total += (2 * mp * mq + 2.55 ** 2) * (2 * pq + 7.65 ** 2) / ((mp ** 2 + mq ** 2 + 2.55 ** 2) * (vp + vq + 7.65 ** 2))
                    count += 1
        self.assertAlmostEqual(m.ssim(a, b), total / count, places=9)
        self.assertAlmostEqual(m.ssim(a, a), 1, places=12)
        self.assertLess(m.ssim(a, clip(3)), 0.2)

    def test_motion(self):
        a = np.zeros((3, 12, 12, 3), np.uint8)
        self.assertEqual(m.motion(a), 0)
        a[1] = 10
        a[2] = 40
        self.assertAlmostEqual(m.motion(a), 20)

    def test_relative_l2(self):
        self.assertEqual(m.relative_l2(np.array([3.0, 4.0]), np.array([3.0, 4.0])), 0)
        self.assertAlmostEqual(m.relative_l2(np.array([3.0, 4.0]), np.array([3.0, 4.5])), 0.1)

    def test_interval(self):
        rng = np.random.default_rng(5)
        ones, picks = np.ones(64), m.draws(64)
        self.assertTrue(np.array_equal(picks, m.draws(64)))
        x = rng.normal(7, 2, 64)
        v, lo, hi = m.interval(x, ones, picks)
        self.assertAlmostEqual(v, x.mean())
        half = 1.96 * x.std() / 8  # what the normal law says of the mean of 64
        self.assertAlmostEqual(lo, v - half, delta=0.15 * half)
        self.assertAlmostEqual(hi, v + half, delta=0.15 * half)
        self.assertEqual(m.interval(np.full(64, 3.0), ones, picks), [3, 3, 3])
        self.assertIsNone(m.interval(np.zeros(64), np.zeros(64), picks))
        asked = np.arange(64) < 3  # resamples that draw none of the three are left out
        v, lo, hi = m.interval(asked & (np.arange(64) < 1), asked, picks)
        self.assertAlmostEqual(v, 1 / 3)
        self.assertTrue(0 <= lo < v < hi <= 1)

    def test_pairing(self):
        """The interval of a paired difference does not see what both share."""
        rng = np.random.default_rng(6)
        hard, ones, picks = rng.normal(0, 10, 40), np.ones(40), m.draws(40)
        _, lo, hi = m.interval((hard + 1) - hard, ones, picks)
        self.assertLess(hi - lo, 1e-9)

    def test_png(self):
        picture = clip(4, frames=1)[0]
        with tempfile.TemporaryDirectory() as d:
            m.png(d + "/x.png", picture)
            raw = pathlib.Path(d + "/x.png").read_bytes()
        self.assertEqual(struct.unpack(">II", raw[16:24]), (24, 20))
        at, data = 8, b""
        while at < len(raw):
            size, name = struct.unpack(">I4s", raw[at:at + 8])
            self.assertEqual(zlib.crc32(raw[at + 4:at + 8 + size]), struct.unpack(">I", raw[at + 8 + size:at + 12 + size])[0])
            data += raw[at + 8:at + 8 + size] if name == b"IDAT" else b""
            at += 12 + size
        rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(20, 1 + 72)
        self.assertTrue(np.array_equal(rows[:, 1:].reshape(20, 24, 3), picture))

    def test_sheet(self):
        a = np.zeros((9, 8, 12, 3), np.uint8) + np.arange(9, dtype=np.uint8)[:, None, None, None]
        s = m.strip(a)
        self.assertEqual(s.shape, (4, 30, 3))
        self.assertEqual([int(s[0, 6 * k, 0]) for k in range(5)], [0, 2, 4, 6, 8])
        self.assertEqual(m.sheet([(s, s)] * 3).shape, (3 * 4 + 2 * 3, 68, 3))


class Comparison(unittest.TestCase):
    def run_it(self, model, *args):
        folder = tempfile.TemporaryDirectory(prefix="swan-fidelity-")
        self.addCleanup(folder.cleanup)
        here = pathlib.Path(folder.name)
        (here / "prompts").write_text("a red ball moving to the right\n\na blue fish\na third one\n")
        command = [sys.executable, ROOT / "tools" / "fidelity.py", SWAN, model, "--prompts", here / "prompts", "--all", SMALL, "--n", "2",
                   "-o", here / "out", *args]
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads((here / "out" / "fidelity.json").read_text()), sorted(p.name for p in (here / "out").iterdir()), done.stdout

    def test_modes(self):
        found, files, text = self.run_it(DATA / "wan-tiny", "--no-judge", "--a", "--exact", "--b", "again:: --exact", "--b", "--parity-bf16", "--b",
                                         "--attention vsa", "--b", "--steps 3")
        self.assertEqual(files, ["fidelity.json", "fidelity.md", "sheet-1.png", "sheet-2.png", "sheet-4.png"])
        self.assertEqual(found["n"], 2)
        same, rounded, refused, steps = found["modes"]
        self.assertEqual((same["latents"], same["psnr"], same["motion_ratio"]), ([0] * 3, [m.PSNR_MOST] * 3, [1] * 3))
        self.assertTrue(1e-4 < rounded["latents"][0] < 0.1)  # the same noise: bf16's own would be another clip
        self.assertTrue(30 < rounded["psnr"][1] <= rounded["psnr"][0] <= rounded["psnr"][2] < 60)
        self.assertIn("to_gate_compress", refused["refused"])
        self.assertGreater(steps["latents"][0], rounded["latents"][0])
        self.assertIn("| `--attention vsa` | refused", text)
        self.assertIn("| again | 0 | 100.0 |", text)

    def test_judge_and_kept_clips(self):
        """A second run takes the clips of the first and says the same."""
        keep = tempfile.TemporaryDirectory(prefix="swan-fidelity-keep-")
        self.addCleanup(keep.cleanup)
        runs = [self.run_it(DATA / "wan-tiny", "--keep", keep.name, "--b", "--guidance 1", "--jobs", jobs) for jobs in (1, 2)]
        self.assertEqual(runs[0][0], runs[1][0])
        self.assertEqual(len(list(pathlib.Path(keep.name).iterdir())), 4)
        first = runs[0][0]["clips"][0]["judged"]
        self.assertEqual({"object", "colour", "motion", "joint"} - set(first), set())
        self.assertIn("object", runs[0][0]["modes"][0]["difference"])

    def test_zero_gates(self):
        """All tiles and gates of zero: sparse attention is dense attention."""
        vsa = "--size 160x96 --attention vsa --vsa-sparsity"  # six tiles
        found, _, _ = self.run_it(ROOT / "models" / "tinyworld", "--no-judge", "--zero-gates", "--a", "--exact --size 160x96", "--b", vsa + " 0",
                                  "--b", vsa + " 0.7")
        dense, sparse = found["modes"]
        self.assertLess(dense["latents"][2], 1e-4)
        self.assertGreater(sparse["latents"][1], 1e-3)


if __name__ == "__main__":
    if len(sys.argv) < 2 or not pathlib.Path(sys.argv[1]).is_file():
        sys.exit(__doc__)
    SWAN = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=1)
