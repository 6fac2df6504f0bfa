#!/usr/bin/env python3
"""Looks through every tracked text file for what must never be in the repository: paths of one machine, package registries and
mirrors, secrets, words about how the work was done instead of what it is.

    python3 tools/check_words.py [ROOT]

Prints one line `file:line: what` for each hit and exits with 1 when there is any. Patterns are put together from pieces, so that
this file does not find itself. Standard library only.
"""

import pathlib
import re
import subprocess
import sys

# (what it is, pieces of a regular expression, without regard to case)
PATTERNS = [
    ("a path of one machine", ("/wo", r"rk/\w")),
    ("a path of one machine", (r"(?<![\w.])/ro", r"ot/")),
    ("a path of one machine", (r"(?<![\w.])/ho", r"me/[a-z]")),
    ("a path of one machine", (r"/Us", r"ers/[a-z]")),
    ("a path outside the repository", (r"\.\./sha", r"red\b")),
    ("a path outside the repository", (r"\.lib", r"rary/")),
    ("a package registry", (r"\bpy", r"pi\.(?:org|python\.org)")),
    ("a package registry", ("files.python", r"hosted\.org")),
    ("a package registry", ("download.py", r"torch\.org")),
    ("a package registry", ("registry.np", r"mjs\.org")),
    ("a package registry", ("proxy.gol", r"ang\.org")),
    ("a package mirror", (r"\b(?:deb|ftp|security|snapshot)\.(?:\w+\.)?deb", r"ian\.(?:org|net)")),
    ("a package mirror", (r"\b(?:archive|security|ports)\.ub", r"untu\.com")),
    ("how the work was done", ("device ", "machine")),
    ("how the work was done", (r"\bhelper ", "session")),
    ("how the work was done", (r"\bsub-?", r"agents?\b")),
    ("how the work was done", (r"\bthis ", r"session's (?:work|checkout|report)")),
    ("how the work was done", (r"\bas an A", r"I\b")),
    ("how the work was done", (r"\bissues ", r"(?:show|list|close) ?\d*\b")),
    ("how the work was done", ("co-authored", r"-by:")),
    ("how the work was done", (r"\b(?:clau", r"de|anthro", r"pic|chat", r"gpt|code", r"x)\b")),
    ("a secret", ("-----BEGIN [A-Z ]*PRIV", "ATE KEY-----")),
    ("a secret", (r"\b(?:hf", r"_[A-Za-z]{30,}|gh", r"[pousr]_[A-Za-z0-9]{30,}|AK", r"IA[0-9A-Z]{16})\b")),
]
RULES = [(what, re.compile("".join(pieces), re.I)) for what, pieces in PATTERNS]
SHOWN = 60  # characters of a hit


def tracked(root):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    return [root / name.decode() for name in listed.split(b"\0") if name]


def text_of(path):
    """The file's text, or None when it is binary or was deleted."""
    if not path.is_file():
        return None
    data = path.read_bytes()
    return None if b"\0" in data else data.decode("utf-8", "replace")


def main(args):
    root = pathlib.Path(args[0] if args else pathlib.Path(__file__).parents[1]).resolve()
    hits = files = 0
    for path in tracked(root):
        text = text_of(path)
        if text is None:
            continue
        files += 1
        for number, line in enumerate(text.splitlines(), 1):
            for what, rule in RULES:
                found = rule.search(line)
                if found:
                    print(f"{path.relative_to(root).as_posix()}:{number}: {what}: {found[0][:SHOWN]}")
                    hits += 1
    print(f"words: {files} text files, {hits} hits")
    return 1 if hits or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
