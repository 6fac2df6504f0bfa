"""What is packaged says what the program does: the manual page, the systemd unit, the Dockerfile."""

import re
import shutil
import subprocess

import harness

ROOT = harness.ROOT


class Packaging(harness.Case):
    def help(self, *command):
        done = self.swan(*command, "--help")
        self.assertEqual(done.status, 0, done.err)
        return done.out

    def test_manual(self):
        page = self.swan("man").out
        plain = page.replace("\\-", "-")
        commands = re.findall(r"^  ([a-z]+) ", self.help(), re.M)
        self.assertGreater(len(commands), 5)
        for command in set(commands) - {"man", "swan"}:
            self.assertTrue(f".SS swan {command}\n" in plain, command)
            for flag in re.findall(r"^ +(?:-\w, )?(--[\w-]+)", self.help(command), re.M):
                self.assertTrue(f" {flag} " in plain, f"{command} {flag}")
        if shutil.which("groff"):
            done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=page.encode(), capture_output=True)
            self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_unit(self):
        unit = (ROOT / "packaging/swan.service").read_text()
        command = re.search(r"^ExecStart=/usr/local/bin/swan (.*)$", unit, re.M)[1].split()
        options = self.help("serve")
        for word in command:
            self.assertTrue(word == "serve" or word.startswith(("/", "$")) or f" {word} " in options, word)
        if shutil.which("systemd-analyze"):
            (self.here / "swan.service").write_text(re.sub("(?m)^(Documentation=.*|ExecStart=.*)$", lambda m: "ExecStart=/bin/true" if "Exec" in m[1] else "", unit))
            done = subprocess.run(["systemd-analyze", "verify", self.here / "swan.service"], capture_output=True, text=True)
            self.assertNotRegex(done.stderr, r"swan\.service:.*(Unknown|Failed|Invalid|ignoring)")

    def test_dockerfile(self):
        text = (ROOT / "packaging/Dockerfile").read_text()
        for path in re.findall(r"\. (tools/[\w./-]+);", text):
            self.assertTrue((ROOT / path).is_file(), path)
        entry = re.search(r"^ENTRYPOINT (\[.*\])$", text, re.M)[1]
        options = self.help("serve")
        for flag in re.findall(r'"(--[\w-]+)"', entry):
            self.assertIn(f" {flag} ", options)
