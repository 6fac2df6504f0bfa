"""Videos, what is said while they are made, and how a run is stopped."""

import array
import json
import os
import pty
import re
import signal
import subprocess
import time

import harness
from harness import FASTWAN, TAEHV, WAN, Case, boxes, entries, npy, probe


class Video(Case):
    def test_file(self):
        done = self.generate("a red fox", "-o", "fox.mp4", "--seed", 7, "--fps", 12)
        self.assertEqual(entries(self.here), ["fox.mp4"])
        self.assertIn("fox.mp4: 64x48, 9 frames at 12 fps", done.err)
        self.assertEqual(done.out, "")
        names = [name for name, size in boxes(self.here / "fox.mp4")]
        self.assertLess(names.index("moov"), names.index("mdat"))  # plays while it loads
        seen = probe(self.here / "fox.mp4")
        if seen is None:
            self.skipTest("no ffprobe")
        stream = seen["streams"][0]
        self.assertEqual(len(seen["streams"]), 1)
        self.assertEqual((stream["codec_name"], stream["pix_fmt"]), ("h264", "yuv420p"))
        self.assertEqual((stream["width"], stream["height"], stream["nb_read_frames"]), (64, 48, "9"))
        self.assertEqual((stream["r_frame_rate"], stream["avg_frame_rate"]), ("12/1", "12/1"))
        self.assertEqual(seen["format"]["tags"]["title"], "a red fox")

    def test_recipe_is_in_the_file(self):
        prompt = 'a "red" fox \\ \u96ea\U0001f98a'
        done = self.generate(prompt, "-o", "fox.mp4", "--seed", 7, "--guidance", 4.5, "--negative-prompt", "dark", "--exact")
        self.assertIn("seed 7", done.err)
        self.assertEqual(json.loads(self.works("inspect", "fox.mp4").out), {
            "swan": self.works("--version").out.split()[1], "model": "wan-tiny", "prompt": prompt, "negative_prompt": "dark", "seed": 7,
            "width": 64, "height": 48, "num_frames": 9, "fps": 16, "sampler": "unipc", "sigma_grid": "diffusers", "num_inference_steps": 2,
            "flow_shift": 3.0, "guidance_scale": 4.5, "attention": "dense", "vsa_sparsity": 0.0, "precision": "exact"})

    def test_no_metadata(self):
        self.generate("a very particular fox", "-o", "fox.mp4", "--no-metadata")
        self.assertNotIn(b"particular", (self.here / "fox.mp4").read_bytes())
        self.refuses("inspect", "fox.mp4", says=("fox.mp4", "holds no recipe"))

    def test_inspect_other_files(self):
        (self.here / "text.mp4").write_text("this is no video")
        (self.here / "empty.mp4").write_bytes(b"")
        self.refuses("inspect", "text.mp4", says=("text.mp4", "not a readable mp4"))
        self.refuses("inspect", "empty.mp4", says="empty.mp4")
        self.refuses("inspect", "none.mp4", says="none.mp4")
        self.refuses("inspect", ".", says="directory")
        self.refuses("inspect", says="usage: swan inspect FILE")

    def test_default_name(self):
        self.generate("A Red Fox, running!")
        self.generate("A Red Fox, running!")
        self.generate("../../etc/x")
        self.generate("\u96ea")
        self.generate("word " * 40)
        self.assertEqual(entries(self.here), ["a-red-fox-running-2.mp4", "a-red-fox-running.mp4", "etc-x.mp4", "swan.mp4",
                                              ("word-" * 40)[:48].strip("-") + ".mp4"])

    def test_prompt_spellings(self):
        for i, args in enumerate((("a fox",), ("--prompt", "a fox"), ("-p", "a fox"), ("--prompt=a fox",), ("--", "a fox"))):
            self.generate(*(("-o", f"{i}.mp4", "--seed", 3) + args))
        videos = {p.read_bytes() for p in self.here.glob("*.mp4")}
        self.assertEqual(len(videos), 1)
        self.generate("-o", "dash.mp4", "--", "--fox")
        self.assertEqual(json.loads(self.works("inspect", "dash.mp4").out)["prompt"], "--fox")

    def test_overwrites(self):
        (self.here / "fox.mp4").write_text("old")
        self.generate("x", "-o", "fox.mp4")
        self.assertGreater((self.here / "fox.mp4").stat().st_size, 1000)

    def test_ending_in_capitals(self):
        self.generate("x", "-o", "FOX.MP4")
        self.assertEqual(entries(self.here), ["FOX.MP4"])

    def test_adjusted_frames_are_said(self):
        done = self.generate("x", "--frames", 8, "-o", "x.mp4")
        self.assertIn("8 is not 4n+1; making 9 frames", done.err)
        self.assertIn("9 frames at", done.err)
        self.assertIn("making 1 frames", self.generate("x", "--frames", 2, "-o", "x.mp4").err)

    def test_one_frame_and_smallest_size(self):
        self.generate("x", "--frames", 1, "--size", "16x16", "-o", "x.mp4")
        seen = probe(self.here / "x.mp4")
        if seen:
            self.assertEqual((seen["streams"][0]["nb_read_frames"], seen["streams"][0]["width"]), ("1", 16))

    def test_empty_prompt(self):
        self.generate("", "-o", "x.mp4")
        self.generate("-o", "y.mp4")

    def test_longest_prompt(self):
        self.generate("fox " * 8000, "-o", "x.mp4")  # 512 tokens are used, up to 32 KiB are taken


class Seeds(Case):
    def make(self, *args, model=WAN):
        self.generate("a fox", "-o", "x.mp4", *args, model=model)
        return (self.here / "x.mp4").read_bytes()

    def test_same_seed_same_file(self):
        for model in (WAN, FASTWAN):
            first = self.make("--seed", 5, model=model)
            self.assertEqual(self.make("--seed", 5, model=model), first)
            self.assertEqual(self.make("--seed", 5, "--threads", 1, model=model), first)
            self.assertNotEqual(self.make("--seed", 6, model=model), first)
        self.assertNotEqual(self.make("--seed", 4294967295), self.make("--seed", 0))

    def test_random_seed_is_printed_and_stored(self):
        seeds = []
        for args in ((), ("--seed", -1)):
            done = self.generate("a fox", "-o", "r.mp4", *args)
            seeds.append(re.search(r"seed (\d+)", done.err).group(1))
            self.assertEqual(json.loads(self.works("inspect", "r.mp4").out)["seed"], int(seeds[-1]))
            first = (self.here / "r.mp4").read_bytes()
            self.assertEqual(self.make("--seed", seeds[-1]), first)  # the file's name does not matter
        self.assertNotEqual(*seeds)


class Settings(Case):
    def recipe(self, *args, model=WAN):
        self.generate("a fox", "-o", "x.mp4", "--seed", 1, *args, model=model)
        return json.loads(self.works("inspect", "x.mp4").out)

    def frames(self, *args, model=WAN):
        """The frames as numbers, through --dump."""
        self.generate("a fox", "-o", "x.mp4", "--seed", 1, "--dump", "d", *args, model=model)
        return (self.here / "d" / "frames.npy").read_bytes()

    def test_rule_is_said(self):
        self.assertIn("recipe: base Wan", self.generate("x", "-o", "x.mp4").err)
        self.assertIn("recipe: weights with to_gate_compress", self.generate("x", "-o", "x.mp4", model=FASTWAN).err)

    def test_recipe_of_a_distilled_model(self):
        r = self.recipe(model=FASTWAN)
        self.assertEqual((r["sampler"], r["attention"], r["vsa_sparsity"], r["guidance_scale"], r["flow_shift"]), ("dmd", "vsa", 0.8, 1, 8))

    def test_sampler_switch(self):
        r = self.recipe("--sampler", "dmd")
        self.assertEqual((r["sampler"], r["flow_shift"], r["guidance_scale"], r["num_inference_steps"]), ("dmd", 8, 1, 2))
        r = self.recipe("--sampler", "euler")
        self.assertEqual((r["sampler"], r["sigma_grid"], r["flow_shift"], r["guidance_scale"]), ("euler", "default", 3, 5))
        r = self.recipe("--sampler", "unipc", "--sigma-grid", "original", model=FASTWAN)
        self.assertEqual((r["sampler"], r["sigma_grid"], r["attention"]), ("unipc", "original", "vsa"))

    def test_attention(self):
        size = ("--size", "144x80")  # more than one tile, partial ones among them
        sparse, dense = self.frames(*size, model=FASTWAN), self.frames(*size, "--attention", "dense", model=FASTWAN)
        self.assertNotEqual(sparse, dense)
        self.assertEqual(self.frames(*size, "--vsa-sparsity", "0", model=FASTWAN), dense)  # all tiles, gates kept
        self.assertNotEqual(self.frames(*size, "--vsa-sparsity", "0.5", model=FASTWAN), sparse)
        r = self.recipe("--attention", "dense", model=FASTWAN)
        self.assertEqual((r["attention"], r["vsa_sparsity"]), ("vsa", 0))

    def test_precision(self):
        exact = self.frames("--exact")
        self.assertEqual(self.frames("--precision", "exact"), exact)
        self.assertNotEqual(self.frames("--parity-bf16"), exact)
        self.assertEqual(self.recipe("--parity-bf16")["precision"], "parity-bf16")

    def test_guidance(self):
        plain = self.frames("--guidance", "1")
        self.assertEqual(self.frames("--guidance", "1", "--negative-prompt", "dark"), plain)  # not used
        guided = self.frames("--guidance", "4")
        self.assertNotEqual(guided, plain)
        self.assertNotEqual(self.frames("--guidance", "4", "--negative-prompt", "dark"), guided)

    def test_kernels(self):
        self.frames("--kernels", "attn.dense=ref,linear.f32=ref")

    def test_encoder_options(self):
        small, large = [], []
        for quality, sizes in (("40", small), ("1", large)):
            self.generate("x", "-o", "x.mp4", "--seed", 1, "--quality", quality)
            sizes.append((self.here / "x.mp4").stat().st_size)
        self.assertLess(small[0], large[0])
        self.refuses_to_generate("x", "--encoder", "mpeg4", says=("mpeg4", "H.264"))
        self.refuses_to_generate("x", "--encoder", "nothing", says="no encoder nothing")
        self.refuses_to_generate("x", "--encoder", "libx264", "--preset", "warp", says=("preset", "warp"))

    def test_dump(self):
        self.generate("a fox", "-o", "x.mp4", "--dump", "d", "--seed", 1, model=FASTWAN)
        self.assertEqual(sorted(p.name for p in (self.here / "d").iterdir()),
                         ["context.npy", "frames.npy", "ids.npy", "latents.npy", "noise.npy", "renoise_0.npy", "velocity_0.npy", "velocity_1.npy",
                          "x0_0.npy", "x0_1.npy"])
        self.generate("a fox", "-o", "x.mp4", "--dump", "d")  # again, into the same directory

    def test_noise_file(self):
        self.generate("a fox", "-o", "seed.mp4", "--dump", "d", "--seed", 9)
        self.generate("a fox", "-o", "file.mp4", "--noise", "d/noise.npy", "--seed", 4)
        video = lambda name: re.sub(rb'"seed":\d', b'"seed":_', (self.here / name).read_bytes())
        self.assertEqual(video("seed.mp4"), video("file.mp4"))
        half = array.array("d", bytes(8 * 16 * 3 * 6 * 8))
        (self.here / "f8.npy").write_bytes(npy((16, 3, 6, 8), half.tobytes(), "<f8"))
        self.generate("a fox", "-o", "zeros.mp4", "--noise", "f8.npy")

    def test_another_transformer(self):
        weights = FASTWAN / "transformer" / "diffusion_pytorch_model.safetensors"
        own = self.recipe(model=FASTWAN)
        other = self.recipe("--transformer", weights)  # gates come with it
        self.assertEqual((other["model"], other["sampler"], other["attention"]), ("wan-tiny", "dmd", "vsa"))
        self.assertEqual(own["sampler"], other["sampler"])


class Progress(Case):
    def test_plain_lines(self):
        done = self.generate("x", "-o", "x.mp4")
        self.assertNotIn("\r", done.err)
        self.assertNotIn("\033", done.err)
        for line in (r"text 0/1 \(", r"denoise 0/2 \(", r"denoise 1/2 \(", r"decode 0/9 \(", r"done 9/9 \(100%"):
            self.assertRegex(done.err, "(?m)^" + line)
        shown = harness.fractions("\n".join(re.findall(r"(?m)^\w+ \d+/\d+ .*$", done.err)))
        self.assertEqual(shown, sorted(shown))
        self.assertEqual(shown[-1], 1.0)

    def test_quiet(self):
        done = self.generate("x", "-o", "x.mp4", "--quiet")
        self.assertEqual((done.out, done.err), ("", ""))

    def test_json(self):
        done = self.generate('"q" \\ \u96ea', "-o", "a \"b\"\t.mp4", "--json", "--frames", 8, "--seed", 3)
        self.assertEqual(done.err, "")
        events = [json.loads(line) for line in done.out.splitlines()]
        self.assertTrue(all(e["event"] in ("log", "progress", "done") for e in events))
        logs = [e for e in events if e["event"] == "log"]
        self.assertEqual({e["level"] for e in logs}, {"info", "warning"})
        progress = [e for e in events if e["event"] == "progress"]
        fractions = [e["fraction"] for e in progress]
        self.assertEqual(fractions, sorted(fractions))
        self.assertEqual(fractions[-1], 1)
        self.assertTrue(all(0 <= f <= 1 for f in fractions))
        phases = [e["phase"] for e in progress]
        self.assertEqual(sorted(set(phases), key=phases.index), ["text", "denoise", "decode", "done"])
        self.assertEqual(len([p for p in phases if p == "denoise"]), 2)
        last = events[-1]
        self.assertEqual((last["event"], last["seed"], last["frames"], last["output"]), ("done", 3, 9, "a \"b\"\t.mp4"))
        self.assertEqual(last["output_bytes"], (self.here / last["output"]).stat().st_size)
        plan = json.loads(self.works("plan", *self.small(), "--json").out)
        self.assertEqual(last["session_bytes"], plan["session_bytes"])

    def test_names_that_are_no_text(self):
        """File names are bytes; JSON is not."""
        folder = os.fsencode(self.here) + b"/m\xff\xc3"
        os.symlink(WAN, folder)
        video = b"o\xed\xa0\x80\xe9 \xe2\x82\xac.mp4"
        done = self.generate("x", "-o", video, "--json", model=folder)
        last = [json.loads(line) for line in done.out.splitlines()][-1]
        self.assertEqual(last["output"], "o\ufffd\ufffd\ufffd\ufffd \u20ac.mp4")
        self.assertEqual(json.loads(self.works("inspect", video).out)["model"], "m??")
        self.assertEqual(json.loads(self.works("info", folder).out)["name"], "m??")

    def test_json_failure(self):
        done = self.refuses_to_generate("x", "--json", "--size", "60x48", says="64x48")
        for line in done.out.splitlines():
            json.loads(line)

    def test_terminal(self):
        master, slave = pty.openpty()
        process = subprocess.Popen([str(harness.SWAN), "generate", "x", *map(str, self.small()), "-o", "x.mp4"], cwd=self.here,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave)
        os.close(slave)
        shown = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # how Linux says that the other side is closed
                break
            if not piece:
                break
            shown += piece
        os.close(master)
        self.assertEqual((process.wait(60), process.stdout.read()), (0, b""))
        process.stdout.close()
        text = shown.decode()
        self.assertIn("\r\033[K[", text)
        self.assertIn("denoise 1/2", text)
        self.assertIn("s left", text)
        self.assertRegex(text, r"\[=+\] 100%  done 9/9")
        self.assertRegex(text, r"\r?\nx\.mp4: 64x48")  # the report begins on a line of its own
        bars = harness.fractions("".join(re.findall(r"\r\033\[K[^\r]*", text)))
        self.assertEqual(bars, sorted(bars))


class Stopping(Case):
    LONG = ("--steps", 1000)

    def start(self, *args, until, **more):
        """A run in the background that has come as far as `until` on stderr."""
        process = subprocess.Popen([str(harness.SWAN), "generate", "x", *map(str, self.small()), "-o", "x.mp4", *map(str, args)], cwd=self.here,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        for line in process.stderr:
            if line.startswith(until):
                return process
        self.fail(f"{until} never came")

    def stop(self, process, number):
        start = time.monotonic()
        process.send_signal(number)
        rest = process.stderr.read()
        status = process.wait(30)
        self.assertLess(time.monotonic() - start, 10 if harness.SANITIZED else 1)
        self.assertEqual(entries(self.here), [])
        self.assertIn("swan: cancelled", rest)
        return status

    def test_while_denoising(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number):
                process = self.start(*self.LONG, until="denoise 5/")
                self.assertEqual(entries(self.here), [p for p in entries(self.here) if p.startswith(".swan-")])
                self.assertEqual(self.stop(process, number), 130)

    def test_while_decoding(self):
        process = self.start("--size", "320x240", "--frames", 129, "--steps", 1, until="decode 0/")
        self.assertEqual(self.stop(process, signal.SIGINT), 130)

    def test_what_was_there_stays(self):
        (self.here / "x.mp4").write_text("old")
        process = self.start(*self.LONG, until="denoise 5/")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 130)
        self.assertEqual((self.here / "x.mp4").read_text(), "old")
        self.assertEqual(entries(self.here), ["x.mp4"])

    def test_reader_goes_away(self):
        process = subprocess.Popen([str(harness.SWAN), "generate", "x", *map(str, self.small()), "-o", "x.mp4", "--json"], cwd=self.here,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        process.stdout.readline()
        process.stdout.close()
        self.assertGreaterEqual(process.wait(30), 0)
        self.assertEqual([p for p in entries(self.here) if p != "x.mp4"], [])


class Decoder(Case):
    def test_beside_the_model(self):
        model = self.model()
        (model / "taew2_1.safetensors").symlink_to(TAEHV)
        self.works("generate", "x", "-m", model, "--size", "64x48", "--frames", 1, "--steps", 1, "-o", "x.mp4")

    def test_named_by_swan_json(self):
        model = self.model()
        (model / "dec").mkdir()
        (model / "dec" / "d.safetensors").symlink_to(TAEHV)
        (model / "swan.json").write_text(json.dumps({"taehv": "dec/d.safetensors", "default_prompt": "a default fox", "width": 64, "height": 48,
                                                     "num_frames": 5, "num_inference_steps": 1, "fps": 8}))
        done = self.works("generate", "-m", model, "-o", "x.mp4")
        self.assertIn("recipe: swan.json", done.err)
        recipe = json.loads(self.works("inspect", "x.mp4").out)
        self.assertEqual((recipe["prompt"], recipe["width"], recipe["num_frames"], recipe["fps"]), ("a default fox", 64, 5, 8))
