#!/usr/bin/env python3
"""swan pull, models and rm against a hub on this machine that misbehaves in every way we could think of.

    python3 tests/hub/run.py PROGRAM [unittest options]

Standard library only; every address is loopback.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import server  # noqa: E402

SWAN = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/release/swan").resolve()
ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "parity" / "data"
ID = "FastVideo/FastWan2.1-T2V-1.3B-Diffusers"
BIG = "transformer/diffusion_pytorch_model.safetensors"


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hub = server.Hub()
        cls.addClassCleanup(cls.hub.close)

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="swan-hub-")
        self.addCleanup(folder.cleanup)
        self.cache = pathlib.Path(folder.name) / "cache"
        self.hub.reset()
        self.hub.requests.clear()
        self.hub.repositories = {ID: server.Repository(server.random_model())}

    @property
    def repository(self):
        return self.hub.repositories[ID]

    def directory(self, name=ID):
        return self.cache / "models" / name

    def partial(self, name=ID):
        owner, rest = name.split("/")
        return self.cache / "models" / owner / f".{rest}.partial"

    def environment(self, **more):
        keep = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith(("HF_", "SWAN_"))}
        return {**keep, "SWAN_CACHE": str(self.cache), "HF_ENDPOINT": self.hub.hub, "SWAN_TAEHV_URL": self.hub.hub + "/nowhere", **more}

    def swan(self, *args, **more):
        return subprocess.run([SWAN, *map(str, args)], env=self.environment(**more), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60)

    def start(self, *args, **more):
        process = subprocess.Popen([SWAN, *map(str, args)], env=self.environment(**more), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def pull(self, *args, name=ID, **more):
        return self.swan("pull", name, "--taehv", "none", "--retries", 3, *args, **more)

    def pulls(self, *args, **more):
        done = self.pull(*args, **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.whole()
        return done

    def whole(self, name=ID):
        """The model is there, every byte right, and nothing else."""
        files = self.hub.repositories[name].files
        there = sorted(str(p.relative_to(self.directory(name))) for p in self.directory(name).rglob("*") if p.is_file())
        self.assertEqual(there, sorted(server.NEEDED + ["swan.json", "pull.json"]))
        for path in server.NEEDED:
            self.assertEqual((self.directory(name) / path).read_bytes(), files[path], path)
        self.assertEqual([p.name for p in self.directory(name).parent.iterdir() if p.name.startswith(".")], [])

    def refuses(self, *says, args=(), done=None, status=1):
        """A failure with these words, and no model that could be found."""
        done = done or self.pull(*args)
        self.assertEqual(done.returncode, status, done.stderr)
        for text in says:
            self.assertIn(text, done.stderr)
        self.assertFalse(self.directory().exists())
        return done

    def wait_until(self, condition, seconds=15):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "it did not happen")
            time.sleep(0.01)

    def arrived(self):
        """Bytes of parts on the disk. A pull may be at work there: what it renames between our list and our look is listed again."""
        while True:
            try:
                return sum(p.stat().st_size for p in (self.partial() / "parts").glob("*") if not p.name.endswith(".etag"))
            except FileNotFoundError:
                pass


class Plain(Case):
    def test_only_what_is_needed_and_all_of_it(self):
        done = self.pulls("--json")
        fetched = sorted(r.path.split(f"/resolve/{self.repository.commit}/")[1] for r in self.hub.requests if "/resolve/" in r.path)
        self.assertEqual(fetched, sorted(server.NEEDED))
        manifest = json.loads((self.directory() / "pull.json").read_text())
        self.assertEqual((manifest["source"], manifest["revision"]), (ID, self.repository.commit))
        self.assertEqual({f["path"] for f in manifest["files"]}, set(server.NEEDED))
        recipe = json.loads((self.directory() / "swan.json").read_text())
        self.assertEqual(recipe, {"name": ID.split("/")[1], "source": ID, "revision": self.repository.commit, "sampler": "dmd",
                                  "num_inference_steps": 3, "flow_shift": 8, "guidance_scale": 1, "vsa_sparsity": 0.8, "width": 832,
                                  "height": 480, "num_frames": 81, "fps": 16})
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(events[0]["event"], "start")
        self.assertEqual(events[-1]["event"], "done")
        self.assertEqual(events[-1]["directory"], str(self.directory()))
        self.assertEqual([e["text"] for e in events if e["event"] == "file"].sort(), server.NEEDED.sort())
        total = sum(len(self.repository.files[p]) for p in server.NEEDED)
        self.assertEqual({e["bytes"] for e in events[:-1]}, {total})
        self.assertEqual(events[-2]["done_bytes"], total)

    def test_pages_and_odd_names(self):
        self.repository.page = 3
        self.pulls()
        self.assertGreater(sum("/tree/" in r.path for r in self.hub.requests), 4)

    def test_alias_name_and_repository_are_the_same(self):
        self.pulls(name="fastwan")
        before = len(self.hub.requests)
        for name in ("fastwan", ID.split("/")[1], ID):
            done = self.pull(name=name)
            self.assertEqual(done.returncode, 0)
            self.assertIn("there already", done.stderr)
        self.assertEqual(len(self.hub.requests), before, "a model that is there asks the network nothing")

    def test_names_that_are_none(self):
        for name, hint in (("fastwam", "did you mean fastwan?"), ("../../etc", "OWNER/NAME"), ("a/b/c", "OWNER/NAME"), ("a/..", "OWNER/NAME"),
                           (".a/b", "OWNER/NAME"), ("a/b\n", "OWNER/NAME"), ("a" * 97 + "/b", "OWNER/NAME"), ("", "OWNER/NAME")):
            done = self.pull(name=name)
            self.assertEqual(done.returncode, 2, name)
            self.assertIn(hint, done.stderr)
        self.assertEqual(self.hub.requests, [])
        self.assertFalse(self.cache.exists())

    def test_revision(self):
        self.pulls("--revision", "refs/pr/1")
        self.assertTrue(any("/revision/refs%2Fpr%2F1" in r.path for r in self.hub.requests))
        for bad in ("a b", "../x", "a..b", ""):
            self.assertEqual(self.pull("--revision", bad, "--update").returncode, 1)

    def test_update_takes_the_new_commit_and_keeps_what_is_the_same(self):
        self.pulls()
        old, first = self.repository.commit, dict(self.repository.files)
        self.repository.set({**first, "model_index.json": b"other"})
        self.assertIn(f"commit {old[:12]}", self.pull().stderr)
        done = self.pull("--revision", "main")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--update replaces it", done.stderr)
        self.assertEqual((self.directory() / "model_index.json").read_bytes(), first["model_index.json"])
        self.hub.requests.clear()
        self.pulls("--update")
        self.assertEqual([r.path.rsplit("/", 1)[1] for r in self.hub.requests if "/resolve/" in r.path], ["model_index.json"])
        self.assertIn("there already", self.pulls("--update").stderr)

    def test_the_same_file_of_another_model_is_linked_and_checked(self):
        other = "FastVideo/FastWan-QAD-1.3B"
        self.hub.repositories[other] = server.Repository({**self.repository.files, BIG: b"q" * 5000})
        self.pulls()
        shard = "text_encoder/model-00001-of-00002.safetensors"
        self.hub.requests.clear()
        self.assertEqual(self.pull(name="fastwan-qad").returncode, 0)
        self.assertEqual([r.path.rsplit("/", 1)[1] for r in self.hub.requests if "/resolve/" in r.path], [pathlib.Path(BIG).name])
        self.assertEqual((self.directory(other) / shard).stat().st_nlink, 2)
        # a damaged copy is noticed, and left as it is
        self.assertEqual(self.swan("rm", "fastwan-qad", "--yes").returncode, 0)
        damaged = bytearray(self.repository.files[shard])
        damaged[7] ^= 1
        (self.directory() / shard).write_bytes(damaged)
        self.assertEqual(self.pull(name="fastwan-qad").returncode, 0)
        self.assertEqual((self.directory(other) / shard).read_bytes(), self.repository.files[shard])
        self.assertEqual((self.directory() / shard).read_bytes(), damaged)

    def test_a_recipe_in_the_repository_stays(self):
        self.repository.set({**self.repository.files, "swan.json": b'{"fps": 8}', "taew2_1.safetensors": b"decoder"})
        done = self.swan("pull", ID)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.directory() / "swan.json").read_bytes(), b'{"fps": 8}')
        self.assertEqual((self.directory() / "taew2_1.safetensors").read_bytes(), b"decoder")

    def test_a_proxy_from_the_environment(self):
        done = self.pull(HF_ENDPOINT="http://hub.invalid", http_proxy=self.hub.hub)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.whole()
        self.assertTrue(all(r.path.startswith("http://hub.invalid/") for r in self.hub.requests))


class Network(Case):
    def test_cuts_at_random_bytes(self):
        rng = random.Random(7)
        for path in server.NEEDED:
            size = len(self.repository.files[path])
            self.hub.cuts[path] = sorted(rng.randrange(1, max(2, size // 5)) for _ in range(4))
        done = self.pulls("--jobs", "3")
        self.assertIn("note: ", done.stderr)
        for path in server.NEEDED:
            requests = self.hub.of(path)
            self.assertEqual(len(requests), 5, path)
            at = 0
            for r in requests:
                self.assertEqual((r.start, r.status), (at, 206 if at else 200))
                self.assertEqual("if-range" in r.headers, at > 0)
                at += r.sent
        needed = sum(len(self.repository.files[p]) for p in server.NEEDED)
        self.assertEqual(self.hub.sent(), needed, "no byte came twice")

    def test_cut_before_the_first_byte(self):
        self.hub.cuts[BIG] = [0, 0]
        self.pulls()
        self.hub.reset()
        self.assertEqual(self.swan("rm", ID, "--yes").returncode, 0)
        self.hub.cuts[BIG] = [0] * 9
        self.refuses("attempt 3, the last", args=("--retries", 2))

    def test_no_range_support(self):
        self.hub.ranges = False
        self.hub.cuts[BIG] = [100_000, 250_000]
        self.pulls()
        self.assertEqual([r.status for r in self.hub.of(BIG)], [200, 200, 200])

    def test_no_range_support_and_never_further_is_given_up(self):
        self.hub.ranges = False
        self.hub.cuts[BIG] = [100_000] * 20
        self.refuses("the last")
        self.assertEqual(len(self.hub.of(BIG)), 4)

    def test_without_etags(self):
        self.hub.etags = False
        self.hub.cuts[BIG] = [100_000]
        self.pulls()
        self.assertEqual([(r.start, "if-range" in r.headers) for r in self.hub.of(BIG)], [(0, False), (100_000, False)])

    def test_the_file_changes_between_attempts(self):
        for if_range in (True, False):
            with self.subTest(if_range=if_range):
                shutil.rmtree(self.cache, ignore_errors=True)
                self.setUp()
                self.hub.if_range = if_range
                right = self.repository.files[BIG]
                self.repository.files[BIG] = bytes(len(right))
                self.repository.entries = server.Repository({**self.repository.files, BIG: right}).listing()
                self.hub.cuts[BIG] = [150_000]
                self.hub.rate = 0
                process = self.start("pull", ID, "--taehv", "none", "--timeout", 5)
                self.wait_until(lambda: len(self.hub.of(BIG)) == 1 and self.hub.of(BIG)[0].sent)
                self.repository.files[BIG] = right
                said = process.communicate(timeout=30)[1]
                self.assertEqual(process.returncode, 0)
                self.whole()
                self.assertEqual("the server's file changed" in said, not if_range, said)
                self.assertNotIn("damaged", said, "noticed before all of it had come")

    def test_silence(self):
        self.hub.hang[BIG], self.hub.hang_s = 123_456, 30
        started = time.monotonic()
        self.pulls("--timeout", "1")
        self.assertEqual([r.start for r in self.hub.of(BIG)], [0, 123_456])
        self.assertLess(time.monotonic() - started, 15)

    def test_throttled(self):
        self.hub.rate = 1_000_000
        done = self.pulls("--json", "--jobs", "1")
        progress = [json.loads(line) for line in done.stdout.splitlines() if '"progress"' in line]
        self.assertGreater(len(progress), 2)
        self.assertEqual([p["done_bytes"] for p in progress], sorted(p["done_bytes"] for p in progress))
        self.assertTrue(any(200_000 < p["bytes_per_s"] < 2_000_000 and p.get("remaining_s", -1) >= 0 for p in progress), progress)

    def test_nobody_listens(self):
        self.refuses("Failed to connect", "attempt 1, the last", args=("--retries", "0"),
                     done=self.swan("pull", ID, "--retries", "0", HF_ENDPOINT="http://127.0.0.1:9"))

    def test_server_errors_pass(self):
        places = (f"/api/models/{ID}/revision/main", f"/api/models/{ID}/tree/{self.repository.commit}", *server.NEEDED[:4])
        for path, status in zip(places, (429, 500, 502, 503, 504, 408)):
            self.hub.answers[path] = [(status, {"Retry-After": "0"}, b"busy")]
        done = self.pulls()
        for status in (429, 500, 502, 503, 504, 408):
            self.assertIn(f"HTTP {status}", done.stderr)

    def test_retry_after_is_obeyed(self):
        self.hub.answers[BIG] = [(429, {"Retry-After": "2"}, b"slow down")]
        started = time.monotonic()
        self.pulls()
        self.assertGreater(time.monotonic() - started, 1.9)

    def test_server_errors_that_stay(self):
        self.hub.answers[BIG] = [(500, {}, b"")] * 20
        self.refuses("HTTP 500", "attempt 3, the last", args=("--retries", 2))

    def test_refusals(self):
        for status, says in ((401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "no such repository, revision or file"), (410, "HTTP 410"),
                             (407, "proxy wants a name")):
            with self.subTest(status=status):
                self.hub.requests.clear()
                self.hub.answers[BIG] = [(status, {"X-Error-Message": "because \x1b[31m of us"}, b"")]
                done = self.refuses(f"HTTP {status}", says, "because ?[31m of us")
                self.assertEqual(len(self.hub.of(BIG)), 1, "no second attempt")
                self.assertNotIn("\x1b", done.stderr)
        self.hub.answers.clear()
        self.pulls()

    def test_no_such_repository(self):
        self.refuses("no such repository", done=self.pull(name="nobody/nothing"))
        self.assertFalse((self.cache / "models" / "nobody").exists())

    def test_a_web_page_instead(self):
        page = (200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>please log in</html>")
        self.hub.answers[BIG] = [page]
        self.refuses("a web page came instead")
        self.hub.answers = {"*": [page]}
        self.refuses("web page")

    def test_a_signed_address_that_ran_out(self):
        self.hub.redirect = True
        self.hub.answers["*"] = []
        original = server.Repository.listing
        self.addCleanup(setattr, server.Repository, "listing", original)

        def listing(repository):  # from now on: the first download is refused by the other host
            self.hub.answers["/" + ID + f"/blob/{repository.commit}/{BIG}"] = [(403, {}, b"Request has expired")]
            return original(repository)

        server.Repository.listing = listing
        self.pulls()
        self.assertEqual([r.status for r in self.hub.of(BIG, "cdn")], [403, 200])


class Trust(Case):
    def test_the_token_stays_with_its_host(self):
        self.hub.token, self.hub.redirect = "hf-secret", True
        self.refuses("HF_TOKEN", done=self.pull())
        self.refuses("may not read it", done=self.pull(HF_TOKEN="hf-wrong"))
        self.hub.requests.clear()
        self.hub.cuts[BIG] = [1000, 2000]
        done = self.pulls(HF_TOKEN="hf-secret")
        for r in self.hub.requests:
            self.assertEqual(r.headers.get("authorization"), "Bearer hf-secret" if r.site == "hub" else None, r.path)
        self.assertEqual(len(self.hub.of(BIG, "cdn")), 3)
        self.assertEqual([r.start for r in self.hub.of(BIG, "cdn")], [0, 1000, 3000])
        for text in (done.stdout, done.stderr, *(p.read_text() for p in self.directory().glob("*.json") if p.name != "model_index.json")):
            self.assertNotIn("hf-secret", text)
            self.assertNotIn("signature", text)

    def test_the_token_does_not_travel_in_clear(self):
        self.refuses("travel in clear", done=self.pull(HF_TOKEN="t", HF_ENDPOINT="http://hub.invalid"))
        self.refuses("without spaces or line ends", done=self.pull(HF_TOKEN="a\r\nX-Other: b"))
        self.refuses("travel in clear", done=self.pull(HF_TOKEN="t", HF_ENDPOINT="http://localhost.hub.invalid"))

    def test_a_wrong_byte_once(self):
        self.hub.corrupt[BIG] = 1
        done = self.pulls()
        self.assertIn("damaged on the way", done.stderr)
        self.hub.corrupt = {}

    def test_a_wrong_byte_in_a_small_file(self):
        self.hub.corrupt["transformer/config.json"] = 1
        self.pulls()

    def test_wrong_bytes_always(self):
        for path, what in ((BIG, "SHA-256"), ("model_index.json", "git blob")):
            self.hub.corrupt = {path: 99}
            self.hub.requests.clear()
            shutil.rmtree(self.cache, ignore_errors=True)
            self.refuses(f"{path}: damaged: wanted {what} ")
            self.assertEqual(len(self.hub.of(path)), 3)

    def test_a_wrong_byte_before_the_cut(self):
        self.hub.cuts[BIG] = [300_000]
        self.hub.corrupt[BIG] = 1  # in the middle, which the first answer still reaches
        self.pulls()
        self.assertEqual([r.start for r in self.hub.of(BIG)], [0, 300_000, 0])

    def test_sizes_that_are_not_as_listed(self):
        size = len(self.repository.files[BIG])
        for claimed in (size - 10, size + 10, 10**15):
            self.hub.length[BIG] = claimed
            self.refuses(f"wanted {size} bytes as listed, the server has {claimed}")
        self.hub.length.clear()
        self.hub.surplus[BIG] = 1
        self.refuses(f"wanted {size} bytes, more came")

    def test_a_range_that_begins_elsewhere(self):
        self.hub.cuts[BIG], self.hub.shift = [1000], 5
        self.refuses("asked for the bytes from 1000 on, got those from 1005")

    def test_hostile_lists(self):
        good = server.Repository(self.repository.files).listing()
        for path in ("../evil", "transformer/../../evil", "/etc/passwd", "a//b", "a/./b", "", "a\nb", "a\x1b[31m", "a/", "x" * 256, ".."):
            with self.subTest(path=path):
                self.repository.entries = good + [{"type": "file", "path": path, "size": 1, "oid": "0" * 40}]
                done = self.refuses("without \"..\" or control characters")
                self.assertNotIn("\x1b", done.stderr)
        for size in (-1, 2**40 + 1, 2**63 - 1, 1.5, "9", None):
            self.repository.entries = good + [{"type": "file", "path": "z", "size": size, "oid": "0" * 40}]
            self.refuses("z: size: wanted an integer")
        self.repository.entries = [{"type": "file", "path": f"f{i}", "size": 2**40, "oid": "0" * 40} for i in range(5)]
        self.refuses("bytes in all")
        self.repository.entries = [{"type": "file", "path": f"f{i}", "size": 0, "oid": "0" * 40} for i in range(20001)]
        self.refuses("wanted at most 20000 files")
        self.repository.entries = good + good[-1:]
        self.refuses("is listed twice")
        self.repository.entries = {"error": "no"}
        self.refuses("wanted a list of files")
        self.repository.entries = b"[{" * 100000
        self.refuses("wanted JSON")
        self.assertFalse(any("/resolve/" in r.path for r in self.hub.requests))
        self.assertEqual([p for p in self.cache.rglob("*") if p.is_file()], [])

    def test_a_list_that_goes_on_at_another_host(self):
        self.hub.token = "hf-secret"
        self.hub.answers["*"] = []
        listing = f"/api/models/{ID}/tree/{self.repository.commit}"
        self.hub.answers[listing] = [(200, {"Link": f'<{self.hub.cdn}/api/more>; rel="next"', "Content-Type": "application/json"}, b"[]")]
        self.refuses("goes on at another host", done=self.pull(HF_TOKEN="hf-secret"))
        self.assertFalse(any(r.site == "cdn" for r in self.hub.requests))

    def test_a_commit_that_is_none(self):
        self.hub.answers[f"/api/models/{ID}/revision/main"] = [(200, {}, json.dumps({"sha": sha}).encode()) for sha in ("main", "../..", 7)]
        for _ in range(3):
            self.refuses("wanted the 40 digits of a commit")

    def test_a_part_is_missing(self):
        for path, says in (("model_index.json", "no model_index.json"), ("tokenizer/spiece.model", "no tokenizer/spiece.model"),
                           (BIG, "no weights in transformer/")):
            kept = {k: v for k, v in server.random_model().items() if k != path}
            self.repository.set(kept)
            self.refuses(says)

    def test_no_room(self):
        self.repository.entries = server.Repository(self.repository.files).listing()
        for entry in self.repository.entries:
            if entry["path"] == BIG:
                entry["size"] = 2**40
        self.refuses("GiB more", "are free")
        self.assertFalse(any("/resolve/" in r.path for r in self.hub.requests))

    def test_the_decoder_is_known_by_its_hash(self):
        self.hub.repositories["a/b"] = server.Repository({"taew2_1.safetensors": bytes(5000)})
        url = f"{self.hub.hub}/a/b/resolve/{self.hub.repositories['a/b'].commit}/taew2_1.safetensors"
        done = self.swan("pull", ID, "--retries", 2, SWAN_TAEHV_URL=url, HF_TOKEN="hf-secret")
        self.refuses("taew2_1.safetensors: damaged: wanted git blob ec1a2be453a250aa406e912bb630c34463ba0b2f", done=done)
        for r in self.hub.of("taew2_1.safetensors"):
            self.assertNotIn("authorization", r.headers)


class Stops(Case):
    def test_kill_9_at_random_moments(self):
        self.hub.rate = 400_000
        rng = random.Random(3)
        for _ in range(6):
            before = self.arrived()
            self.hub.allowed = 150_000  # six times this is less than the model: none of them gets to the end, however late we look
            process = self.start("pull", ID, "--taehv", "none")
            goal = before + rng.randrange(20_000, 130_000)
            self.wait_until(lambda: self.arrived() >= goal)
            process.kill()
            process.wait()
            self.assertEqual(process.returncode, -signal.SIGKILL)
            self.assertFalse(self.directory().exists())
        kept = self.arrived()
        self.assertGreater(kept, 80_000)
        self.hub.rate, self.hub.allowed = 0, None
        self.hub.requests.clear()
        self.pulls()
        total = sum(len(self.repository.files[p]) for p in server.NEEDED)
        self.assertEqual(self.hub.sent(), total - kept, "only what was missing")
        self.assertTrue(any(r.start for r in self.hub.requests))

    def test_ctrl_c_keeps_and_says_how_to_go_on(self):
        self.hub.rate, self.hub.allowed = 150_000, 100_000
        process = self.start("pull", "fastwan", "--taehv", "none")
        self.wait_until(lambda: self.arrived() > 50_000)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        process.wait(10)
        self.assertLess(time.monotonic() - started, 2.5)
        self.assertEqual(process.returncode, 130)
        self.assertIn("swan pull fastwan", process.stderr.read())
        models = self.swan("models").stdout
        self.assertIn("incomplete: swan pull " + ID, models)
        self.assertIn("not here yet: swan pull fastwan", self.swan("info", "fastwan").stderr)
        self.hub.rate, self.hub.allowed = 0, None
        self.pulls(name="fastwan")

    def test_the_branch_moves_between_two_runs(self):
        self.hub.cuts[BIG] = [100_000] + [0] * 9
        self.refuses("the last", args=("--retries", 1))
        new = bytes(reversed(self.repository.files[BIG]))
        self.repository.set({**self.repository.files, BIG: new})
        old = {p.name for p in (self.partial() / "parts").glob("*.part")}
        self.hub.cuts[BIG] = [0] * 9
        self.refuses("the last", args=("--retries", 1))
        self.assertEqual(old & {p.name for p in (self.partial() / "parts").iterdir()}, set(), "what no commit needs is gone")
        self.hub.cuts.clear()
        self.hub.requests.clear()
        self.pulls()
        self.assertEqual([(r.path.rsplit("/", 1)[1], r.start) for r in self.hub.requests if "/resolve/" in r.path], [(pathlib.Path(BIG).name, 0)])

    def test_damaged_partials(self):
        self.hub.cuts[BIG] = [100_000] + [0] * 9
        self.refuses("the last", args=("--retries", 1))
        self.hub.cuts.clear()
        part = next((self.partial() / "parts").glob("*.part"))
        for damage in (b"", b"x" * 50_000, b"x" * 600_000, b"y" * len(self.repository.files[BIG])):
            shutil.copytree(self.cache, self.cache.with_name("copy"))
            part.write_bytes(damage)
            self.pulls()
            shutil.rmtree(self.cache)
            self.cache.with_name("copy").rename(self.cache)

    def test_two_at_once(self):
        self.hub.rate, self.hub.allowed = 200_000, 100_000
        process = self.start("pull", ID, "--taehv", "none")
        self.wait_until(lambda: self.arrived() > 10_000)
        for args in (("pull", ID), ("rm", ID, "--yes")):
            done = self.swan(*args)
            self.assertEqual(done.returncode, 1)
            self.assertIn("another process", done.stderr)
        self.hub.rate, self.hub.allowed = 0, None
        process.wait(30)
        self.assertEqual(process.returncode, 0)
        self.whole()

    def test_an_update_that_stopped_between_its_renames(self):
        self.pulls()
        replaced = self.directory().with_name("." + self.directory().name + ".replaced")
        self.directory().rename(replaced)
        self.assertIn("there already", self.pulls().stderr)
        shutil.copytree(self.directory(), replaced)
        self.assertIn("there already", self.pulls().stderr)
        removed = self.directory().with_name("." + self.directory().name + ".removed")
        self.directory().rename(removed)
        self.assertNotIn("there already", self.pulls().stderr)


class Cache(Case):
    def test_list(self):
        self.assertIn("tinyworld", self.swan("models").stdout)
        self.pulls()
        out = self.swan("models").stdout
        self.assertIn(f"commit {self.repository.commit[:12]}", out)
        listed = json.loads(self.swan("models", "--json").stdout)
        self.assertEqual([(m["repository"], m["alias"], m["complete"]) for m in listed["pulled"]], [(ID, "fastwan", True)])
        self.assertIn("FastVideo/FastWan-QAD-FP8-1.3B", [p["repository"] for p in listed["published"]])

    def test_remove(self):
        self.pulls()
        done = self.swan("rm", "fastwan")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--yes", done.stderr)
        self.assertTrue(self.directory().exists())
        self.assertEqual(self.swan("rm", "fastwan", "--yes").returncode, 0)
        self.assertEqual(list((self.cache / "models").iterdir()), [])
        self.assertEqual(self.swan("rm", "fastwan", "--yes").returncode, 1)

    def test_remove_an_unfinished_one(self):
        self.hub.cuts[BIG] = [1000] + [0] * 9
        self.refuses("the last", args=("--retries", 1))
        self.assertEqual(self.swan("rm", ID, "--yes").returncode, 0)
        self.assertFalse(self.partial().exists())

    def test_remove_never_leaves_the_cache(self):
        self.pulls()
        outside = self.cache.parent / "outside"
        outside.mkdir()
        (outside / "precious").write_text("mine")
        (self.directory() / "link").symlink_to(outside)
        linked = self.cache / "models" / "someone" / "linked"
        linked.parent.mkdir()
        linked.symlink_to(outside)
        for name in ("../outside", "..", ".", "/", str(outside), "someone/../../../outside", "someone", ""):
            self.assertNotEqual(self.swan("rm", "--yes", name).returncode, 0, name)
        self.assertEqual(self.swan("rm", "--yes", "someone/linked").returncode, 0)
        self.assertEqual(self.swan("rm", "--yes", ID).returncode, 0)
        self.assertEqual((outside / "precious").read_text(), "mine")

    def test_where_the_cache_is(self):
        home = self.cache.parent
        for more, place in (({"XDG_CACHE_HOME": str(home / "x")}, home / "x" / "swan"), ({"XDG_CACHE_HOME": "relative", "HOME": str(home)},
                            home / ".cache" / "swan"), ({"XDG_CACHE_HOME": "", "HOME": str(home)}, home / ".cache" / "swan")):
            self.assertEqual(self.pull(SWAN_CACHE="", **more).returncode, 0)
            self.assertTrue((place / "models" / ID / "model_index.json").exists())

    def test_two_owners(self):
        for owner in ("one", "two"):
            self.hub.repositories[f"{owner}/thing"] = self.repository
            self.assertEqual(self.pull(name=f"{owner}/thing").returncode, 0)
        done = self.swan("info", "thing")
        self.assertEqual(done.returncode, 1)
        self.assertIn("several owners", done.stderr)


class Use(Case):
    def test_generate_with_a_pulled_model(self):
        tiny = DATA / "fastwan-tiny"
        files = {str(p.relative_to(tiny)): p.read_bytes() for p in tiny.rglob("*") if p.is_file()}
        self.repository.set(files)
        rng = random.Random(1)
        self.hub.cuts[BIG] = [rng.randrange(1, 600_000) for _ in range(5)]
        self.hub.redirect = True
        done = self.swan("pull", "fastwan", "--taehv", DATA / "taehv-tiny.safetensors")
        self.assertEqual(done.returncode, 0, done.stderr)
        recipe = json.loads((self.directory() / "swan.json").read_text())
        self.assertEqual(recipe["taehv"], "taew2_1.safetensors")
        self.assertFalse((self.directory() / "vae").exists())
        for name in ("fastwan", ID.split("/")[1], ID, str(self.directory())):
            info = self.swan("info", name)
            self.assertEqual(info.returncode, 0, info.stderr)
            self.assertEqual(json.loads(info.stdout)["recipe"]["vsa_sparsity"], 0.8)
            self.assertEqual(json.loads(info.stdout)["recipe"]["rule"], "published id " + ID.split("/")[1])
        video = self.cache / "out.mp4"
        done = self.swan("generate", "a red ball", "-m", "fastwan", "--size", "64x48", "--frames", 9, "--seed", 1, "-o", video)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(video.stat().st_size, 500)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
