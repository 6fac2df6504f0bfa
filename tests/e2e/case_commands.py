"""Commands other than generate, help, and what is said about wrong ones."""

import json
import re
import shutil
import subprocess

import harness
from harness import FASTWAN, TAEHV, WAN, Case

COMMANDS = ("generate", "plan", "info", "inspect", "kernels", "bench", "verify", "completion")


class Help(Case):
    def test_version(self):
        for word in ("--version", "version"):
            self.assertRegex(self.works(word).out, r"^swan \d+\.\d+\.\d+\n$")

    def test_overview(self):
        for word in ("--help", "-h", "help"):
            done = self.works(word)
            self.assertEqual(done.err, "")
            for command in COMMANDS:
                self.assertIn(f"\n  {command} ", done.out)

    def test_nothing_given(self):
        done = self.swan()
        self.assertEqual((done.status, done.out), (2, ""))
        self.assertIn("usage: swan COMMAND", done.err)

    def test_every_command(self):
        for command in COMMANDS:
            for word in ("--help", "-h"):
                done = self.works(command, word)
                self.assertTrue(done.out.startswith(f"usage: swan {command} "), done.out)
                self.assertEqual(done.err, "")
                self.assertLessEqual(max(map(len, done.out.splitlines())), 132)
        text = self.works("generate", "--help").out
        for flag in ("--model", "-m", "--taehv", "--size", "--frames", "--seed", "--steps", "--sampler", "--exact", "--parity-bf16", "--noise",
                     "--dump", "--vsa-sparsity", "--attention", "--no-metadata", "-o", "--json", "--quiet", "--kernels", "--guidance"):
            self.assertIn(flag, text)

    def test_help_wins_over_what_follows(self):
        self.assertIn("usage:", self.works("generate", "--help", "--nonsense").out)


class Wrong(Case):
    def test_commands(self):
        self.refuses("gnerate", status=2, says=('there is no command "gnerate"', "did you mean generate?"))
        self.refuses("plam", status=2, says="did you mean plan?")
        self.refuses("paint", status=2, says='there is no command "paint"')
        self.refuses("--generate", status=2, says="did you mean generate?")

    def test_options(self):
        for typed, meant in (("--sede", "--seed"), ("--frmes", "--frames"), ("--stpes=4", "--steps"), ("--guidence", "--guidance"),
                             ("--negative", "--negative-prompt"), ("--jsn", "--json"), ("--vsa-sparsty", "--vsa-sparsity")):
            name = typed.split("=")[0]
            self.refuses("generate", "x", typed, status=2, says=("swan generate", f"unknown option {name}; did you mean {meant}?"))
        done = self.refuses("generate", "x", "--frobnicate", status=2, says="unknown option --frobnicate")
        self.assertNotIn("mean", done.err)
        self.refuses("generate", "-x", status=2, says="unknown option -x")
        self.refuses("info", "--seed", 3, status=2, says="unknown option --seed")  # another command's
        self.refuses("kernels", "--prompt", "x", status=2, says="unknown option --prompt")

    def test_values(self):
        self.refuses("generate", "x", "--seed", status=2, says="--seed wants a value")
        self.refuses("generate", "x", "--exact=yes", status=2, says="--exact takes no value")
        self.refuses("generate", "one", "two", status=2, says='unexpected argument "two"')
        self.refuses("generate", "x", "--sampler", "ddim", status=2, says=("--sampler", "dmd|unipc|euler", '"ddim"'))
        self.refuses("generate", "x", "--precision", "fp8", status=2, says=("--precision", "auto|exact|parity-bf16", '"fp8"'))
        self.refuses("bench", "--runs", "abc", status=2, says=("--runs", '"abc"'))
        self.refuses("bench", "--runs", "0", status=2, says=("--runs", "1 to 100"))
        self.refuses("bench", "--runs", "", status=2, says="--runs")
        self.refuses("completion", "fish", status=2, says="swan completion bash")

    def test_numbers(self):
        """Zero, huge, negative and no number at all, for each option that takes one. Zero is fine for some."""
        bad = ("huge", "-7", "", "1e99", "99999999999999999999", "4 ", "0x8", "nan", "3.7.1")
        for flag, wanted, zero in (("--threads", "from 0 to 1024", True), ("--frames", "from 1 to 4097", False), ("--fps", "from 1 to 240", False),
                                   ("--seed", "from 0 to 4294967295", True), ("--steps", "from 1 to 1000", False),
                                   ("--shift", "from 0.01 to 100", False), ("--guidance", "from 0 to 100", True),
                                   ("--vsa-sparsity", "from 0 to 1", True), ("--quality", "from 1 to 51", False)):
            for value in bad + (() if zero else ("0",)):
                with self.subTest(flag=flag, value=value):
                    self.refuses("generate", "x", f"{flag}={value}", status=2, says=(f"{flag}: wanted", wanted, f'"{value}"'))
        for value in ("", "0x0", "x", "64", "64x", "64xx48", "-64x48", "99999x99999", "9999999999999999x48", "64x48.5"):
            with self.subTest(value=value):
                self.refuses("generate", "x", f"--size={value}", status=2, says=("--size: wanted", f'"{value}"'))


class Model(Case):
    def test_info(self):
        info = json.loads(self.works("info", WAN).out)
        self.assertEqual(info["name"], "wan-tiny")
        self.assertEqual(info["class"], "WanPipeline")
        self.assertEqual(info["recipe"]["rule"], "base Wan")
        self.assertEqual(info["recipe"]["sampler"], "unipc")
        self.assertEqual(info["transformer"]["gates"], False)
        self.assertEqual(info["transformer"]["dim"], 256)
        self.assertIsNone(info["taehv"])
        self.assertIn("attn.dense", info["kernels"])
        info = json.loads(self.works("info", "-m", FASTWAN, "--taehv", TAEHV, "--kernels", "attn.dense=ref").out)
        self.assertEqual(info["recipe"]["rule"], "weights with to_gate_compress")
        self.assertEqual((info["recipe"]["attention"], info["recipe"]["vsa_sparsity"]), ("vsa", 0.8))
        self.assertEqual(info["kernels"]["attn.dense"], "ref")
        self.assertEqual(info["taehv"]["path"], str(TAEHV))

    def test_published_name(self):
        (self.here / "FastWan-QAD-1.3B").symlink_to(WAN)
        info = json.loads(self.works("info", "FastWan-QAD-1.3B/").out)
        recipe = info["recipe"]
        self.assertEqual(recipe["rule"], "published id FastWan-QAD-1.3B")
        self.assertEqual((recipe["sampler"], recipe["num_inference_steps"], recipe["flow_shift"], recipe["guidance_scale"]), ("unipc", 3, 3, 1))

    def test_plan(self):
        args = self.small(FASTWAN)
        plan = json.loads(self.works("plan", *args, "--json").out)
        self.assertEqual([p["name"] for p in plan["phases"]], ["text", "denoise", "decode"])
        self.assertEqual((plan["width"], plan["height"], plan["frames"], plan["steps"], plan["tokens"]), (64, 48, 9, 2, 36))
        self.assertEqual(plan["session_bytes"], plan["state_bytes"] + max(p["activation_bytes"] for p in plan["phases"]))
        for phase in plan["phases"]:
            self.assertGreater(phase["launches"], 0)
            self.assertGreater(phase["flops"], 0)
        text = self.works("plan", *args).out
        for word in ("denoise", "process peak", "36 tokens", "64x48"):
            self.assertIn(word, text)
        without = json.loads(self.works("plan", "-m", WAN, "--size", "64x48", "--frames", 9, "--json").out)
        self.assertEqual(len(without["phases"]), 2)  # no decoder, no phase
        self.assertEqual(entries_of(self.here), [])

    def test_kernels(self):
        text = self.works("kernels").out
        self.assertRegex(text, r"\* attn\.dense ")
        self.assertIn("ref", text)
        self.assertRegex(self.works("kernels", "--kernels", "attn.dense=ref").out, r"\* attn\.dense +ref ")
        self.refuses("kernels", "--kernels", "attn.dense=magic", says=("attn.dense", "magic", "there is: "))
        self.refuses("kernels", "--kernels", "attn.sparkle=ref", says='there is no slot "attn.sparkle"')
        self.refuses("kernels", "--kernels", "ref", says="family.slot=variant")

    def test_bench(self):
        result = json.loads(self.works("bench", *self.small(), "--runs", 2, "--json").out)
        self.assertEqual((result["runs"], result["frames"], result["steps"]), (2, 9, 2))
        for phase in ("text", "denoise", "decode", "total"):
            self.assertGreater(result[phase]["median_s"], 0)
            self.assertGreaterEqual(result[phase]["max_s"], result[phase]["min_s"])
        self.assertIn("denoise", self.works("bench", *self.small(), "--runs", 1).out)
        self.assertEqual(entries_of(self.here), [])

    def test_bench_without_files(self):
        args = ("bench", "-m", "fasttiny", "--weights", "random", "--size", "64x48", "--frames", 9, "--steps", 3)
        result = json.loads(self.works(*args, "--runs", 3, "--tokens", 40, "--json", "-o", "x.mp4").out)
        self.assertEqual((result["model"], result["weights"], result["prompt_tokens"], result["steps"]), ("fasttiny", "random", 40, 3))
        self.assertEqual(result["output_bytes"], (self.here / "x.mp4").stat().st_size)
        self.assertEqual((result["encoder"], result["preset"], result["quality"]), ("libx264", "veryfast", 18))
        self.assertTrue(30 < result["y_psnr_db"] < 70)
        text = self.works(*args, "--runs", 1, "-o", "y.mp4", "--quality", 45).out  # as reported, but for the rounding
        worse = float(re.search(r"Y-PSNR +([0-9.]+) dB", text)[1])
        self.assertIn("libx264, preset veryfast, quality 45", text)
        self.assertLess(worse, result["y_psnr_db"] - 5)
        for stage in ("text", "denoise", "step", "decode", "close", "total"):
            self.assertEqual(len(result[stage]["runs_s"]), 3)
            self.assertEqual(result[stage]["cold_s"], result[stage]["runs_s"][0])
        self.assertAlmostEqual(result["step"]["median_s"], result["denoise"]["median_s"] / 3, delta=1e-5)
        whole = sum(result[stage]["cold_s"] for stage in ("text", "denoise", "decode", "close"))
        self.assertAlmostEqual(whole, result["total"]["cold_s"], delta=0.002)
        plan = json.loads(self.works("plan", *args[1:], " ".join(["word"] * 39), "--json").out)  # what is called work is what is planned
        for stage, phase in zip(("text", "denoise", "decode"), plan["phases"]):
            self.assertAlmostEqual(result[stage]["gflops"] * result[stage]["median_s"] * 1e9, phase["flops"], delta=2e-3 * phase["flops"])
        text = self.works(*args, "--attention", "dense").out
        self.assertIn("a prompt of 64", text)
        self.assertIn("  a step", text)
        self.assertNotIn("encode+close", text)  # nothing was written
        self.refuses("bench", "-m", "fasttiny", "--weights", "random", "--tokens", "0", status=2, says=("--tokens", "1 to 512"))
        self.refuses(*args, "a prompt", "--tokens", "9", status=2, says="there is one already")
        self.refuses("bench", "-m", "wan9", "--weights", "random", says=("wan2.1-1.3b", "wan9"))

    def test_verify(self):
        text = self.works("verify", "--only", "norm.layer=ref", "--device", "cpu").out
        self.assertRegex(text, r"(?m)^ok   norm\.layer=ref \(F32\) +\d+ cases$")
        self.assertIn("1 passed, 0 failed, 0 skipped", text)
        failed = self.swan("verify", "--only", "norm.nonsense", "--device", "cpu")
        self.assertEqual(failed.status, 1)
        self.assertIn('no row is called "norm.nonsense"', failed.out)
        self.refuses("verify", "--device", "gpu7", status=2, says=("--device", "cuda:N"))
        self.refuses("verify", "--seed", "x", status=2, says="--seed")
        self.assertEqual(self.swan("verify", "--device", "cuda:63").status, 1)
        self.assertEqual(entries_of(self.here), [])

    def test_completion(self):
        script = self.works("completion", "bash").out
        if not shutil.which("bash"):
            self.skipTest("no bash")
        ask = 'eval "$1"; COMP_WORDS=(swan "${@:2}"); COMP_CWORD=$(($# - 1)); _swan; echo "${COMPREPLY[@]}"'
        complete = lambda *words: subprocess.run(["bash", "-c", ask, "bash", script, *words], stdout=subprocess.PIPE, check=True).stdout.decode().split()
        self.assertEqual(complete("gen"), ["generate"])
        self.assertEqual(complete("generate", "--fra"), ["--frames"])
        self.assertEqual(complete("info", "--fra"), [])
        for command in COMMANDS:  # what help lists is what is completed
            flags = re.findall(r"^ +(?:-\w, )?(--[\w-]+)", self.works(command, "--help").out, re.M)
            self.assertEqual(sorted(complete(command, "--")), sorted(flags))


def entries_of(folder):
    return harness.entries(folder)
