"""Settings, files and places that cannot be used: one message, no crash, nothing left behind."""

import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile

from harness import FASTWAN, TAEHV, WAN, Case, Done, entries, npy

import harness


class Sizes(Case):
    def test_not_a_multiple(self):
        for size, nearest in (("60x48", "64x48"), ("64x49", "64x48"), ("17x23", "16x16"), ("1000x1000", "1008x1008")):
            with self.subTest(size=size):
                self.refuses_to_generate("x", "--size", size, says=(f"size: wanted multiples of 16, found {size}", f"the nearest is {nearest}"))
                self.refuses("plan", "-m", WAN, "--size", size, says=nearest)

    def test_too_many_tokens(self):
        self.refuses_to_generate("x", "--size", "16384x16384", "--frames", 4097, says=("16384x16384", "tokens"))


class Choices(Case):
    def test_do_not_fit_the_model(self):
        self.refuses_to_generate("x", "--attention", "vsa", says=("attention vsa", "to_gate_compress"))
        self.refuses_to_generate("x", "--vsa-sparsity", "0.5", says=("vsa_sparsity", "to_gate_compress"))
        self.refuses_to_generate("x", "--attention", "dense", "--vsa-sparsity", "0.5", model=FASTWAN, says=("contradict", "0.5"))
        self.refuses_to_generate("x", "--sigma-grid", "fastvideo", model=FASTWAN, says="grid")


class Prompts(Case):
    def test_invalid_utf8(self):
        for text in (b"a \xff fox", b"\xc0\x80", b"\xed\xa0\x80", b"fox \xe2\x82", b"\xf5\x80\x80\x80"):
            for more in ((), ("--no-metadata",), ("--json",)):
                with self.subTest(text=text, more=more):
                    self.refuses_to_generate(text, *more, says=("prompt", "not valid UTF-8"))
            self.refuses_to_generate("x", b"--negative-prompt", text, says="not valid UTF-8")

    def test_huge(self):
        self.refuses_to_generate("fox " * 10000, says=("the prompt has 40000 bytes", "32768"))
        self.refuses_to_generate("x", "--negative-prompt", "fox " * 10000, says="32768")


class Outputs(Case):
    def test_unknown_endings(self):
        for name in ("x.gif", "x", "x.mp4.webm", "x.mkv", ".mp4", "mp4", "dir.mp4/x"):
            with self.subTest(name=name):
                self.refuses_to_generate("x", "-o", name, "--dump", "d", says=(name, "cannot write this kind of file", ".mp4"))

    def test_a_directory(self):
        (self.here / "d.mp4").mkdir()
        self.refuses_to_generate("x", "-o", "d.mp4", says="d.mp4: wanted a file, found a directory")
        self.refuses_to_generate("x", "-o", "d.mp4/", says="d.mp4/")

    def test_no_such_place(self):
        self.refuses_to_generate("x", "-o", "not/there/x.mp4", says="not/there/x.mp4: cannot be written")
        (self.here / "file").write_text("")
        self.refuses_to_generate("x", "-o", "file/x.mp4", says="file/x.mp4")
        self.refuses_to_generate("x", "-o", "/dev/null.mp4/x.mp4", says="/dev/null.mp4/x.mp4")
        self.refuses_to_generate("x", "-o", "n" * 300 + ".mp4", says="name too long")
        self.refuses_to_generate("x", "-o", "n/" * 3000 + "x.mp4", says="long")

    def test_permissions(self):
        program, model = self.readable_by_all()
        (self.here / "locked").mkdir(mode=0o555)
        (self.here / "open").mkdir()
        (self.here / "open").chmod(0o777)
        (self.here / "open" / "old.mp4").write_text("old")
        (self.here / "open" / "old.mp4").chmod(0o444)
        before = entries(self.here)
        small = ("generate", "x", "-m", "model", "--size", "64x48", "--frames", 9, "--steps", 2)
        for args, says in ((("-o", "locked/x.mp4"), "locked/x.mp4: cannot be written: Permission denied"),
                           (("-o", "open/old.mp4"), "open/old.mp4: cannot be overwritten"),
                           (("-o", "open/x.mp4", "--dump", "locked/d"), "locked/d: cannot make the directory: Permission denied"),
                           (("-o", "open/x.mp4", "--dump", "locked"), "locked/ids.npy: cannot be written: Permission denied")):
            with self.subTest(args=args):
                done = self.as_user(program, *small, *args)
                self.assertEqual((done.status, done.message), (1, "swan: " + says + done.message[len("swan: " + says):]))
                self.assertEqual(entries(self.here), before)
        self.assertEqual((self.here / "open" / "old.mp4").read_text(), "old")

    def test_file_size_limit(self):
        """A quota: the limit comes somewhere in the middle of the file."""
        for limit in (0, 100, 4096):
            with self.subTest(limit=limit):
                self.refuses_to_generate("x", says="out.mp4", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        done = self.generate("x", "-o", "out.mp4", "--dump", "d", run=self.swan,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000)))
        self.assertEqual((done.status, done.message), (1, "swan: d/noise.npy: cannot be written: File too large"))
        self.assertEqual(entries(self.here), ["d", "d/context.npy", "d/ids.npy"])  # what came before it is whole

    def test_full_disk(self):
        if os.geteuid() != 0 or not shutil.which("mount"):
            self.skipTest("mounting a small file system takes root")
        disk = self.here / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("no file system can be mounted here")
        try:
            for args in (("--frames", 33), ("--frames", 33, "--quality", 1, "--size", "128x96")):
                done = self.generate("x", "-o", "disk/x.mp4", *args, run=self.swan)
                self.assertEqual((done.status, entries(disk)), (1, []))
                self.assertRegex(done.message, r"disk/x\.mp4: .*No space left on device$")
            done = self.generate("x", "-o", "x.mp4", "--dump", "disk/d", run=self.swan)
            self.assertEqual((done.status, (self.here / "x.mp4").exists()), (1, False))
            self.assertRegex(done.message, r"disk/d/\w+\.npy: .*No space left on device$")
            self.assertFalse([p for p in entries(disk) if ".swan-" in p])
        finally:
            subprocess.run(["umount", disk], check=True)


class Dumps(Case):
    def test_places(self):
        (self.here / "file").write_text("")
        self.refuses_to_generate("x", "--dump", "file", says="file: wanted a directory for --dump")
        self.refuses_to_generate("x", "--dump", "not/there", says="not/there: cannot make the directory: No such file")
        self.refuses_to_generate("x", "--dump", "file/d", says="file/d")


class Noise(Case):
    def refuses_noise(self, content, *says):
        (self.here / "n.npy").write_bytes(content)
        self.refuses_to_generate("x", "--noise", "n.npy", says=("n.npy", *says))

    def test_files(self):
        self.refuses_to_generate("x", "--noise", "none.npy", says="none.npy: No such file")
        self.refuses_to_generate("x", "--noise", ".", says="directory")
        good = npy((16, 3, 6, 8))
        self.refuses_noise(b"")
        self.refuses_noise(b"garbage" * 1000, "wanted a .npy file")
        self.refuses_noise(good[:-1])
        self.refuses_noise(good[:20])
        self.refuses_noise(good + b"x")
        self.refuses_noise(npy((16, 3, 8, 6)), "wanted the shape [16, 3, 6, 8], found [16, 3, 8, 6]")
        self.refuses_noise(npy((3, 16, 6, 8)), "[3, 16, 6, 8]")
        self.refuses_noise(npy((16 * 3 * 6 * 8,)), "wanted the shape")
        self.refuses_noise(npy((16, 3, 6, 8), descr="<i4"), "wanted float32, float16 or float64, found I32")
        self.refuses_noise(npy((16, 3, 6, 8), descr="|O"))
        self.refuses_noise(good.replace(b"False", b"True "))


class Memory(Case):
    """However little memory there is, the program ends by itself, with one message about it or a video."""

    def setUp(self):
        super().setUp()
        if harness.SANITIZED:
            self.skipTest("sanitizers reserve more address space than any limit")

    def limited(self, limit, *args):
        process = subprocess.run([str(harness.SWAN), "generate", "x", *map(str, self.small()), "-o", "out.mp4", "--threads", "1", *map(str, args)],
                                 cwd=self.here, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                                 env=dict(os.environ, OPENBLAS_NUM_THREADS="1"),
                                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        return Done(process)

    def starts(self, limit):
        """Whether the dynamic linker and the libraries' own beginnings get through: nothing of ours runs before."""
        done = subprocess.run([str(harness.SWAN), "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env=dict(os.environ, OPENBLAS_NUM_THREADS="1"),
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        return done.returncode == 0

    def test_address_space(self):
        step = 4 << 20
        limit = step
        while not self.starts(limit):
            limit += step
            self.assertLess(limit, 16 << 30)
        refused = 0
        for _ in range(64):
            limit += step
            done = self.limited(limit)
            with self.subTest(mib=limit >> 20):
                self.assertGreaterEqual(done.status, 0, f"ended by signal {-done.status} at {limit >> 20} MiB\n{done.err}")
                if done.status == 0:
                    break
                self.assertEqual(done.status, 1, done.err)
                self.assertEqual(len(done.message.splitlines()), 1, done.err)
                # x264 does not say why it gave up; libav then calls it an error in an external library
                self.assertRegex(done.message, "(?i)memory|could not reserve|could be started|encoder|encoding")
                self.assertEqual(entries(self.here), [])
                refused += 1
        self.assertEqual(done.status, 0)
        self.assertGreater(refused, 2)

    def test_a_video_too_large(self):
        """Its arenas are asked for before any work, and refused with their name and size."""
        done = self.limited(2 << 30, "--size", "2048x2048", "--frames", 129)
        self.assertEqual((done.status, entries(self.here)), (1, []), done.err)
        self.assertRegex(done.message, r"^swan: \w[\w ]*: could not reserve [\d.]+ MiB on CPU$")
        self.assertNotIn("denoise", done.err)
