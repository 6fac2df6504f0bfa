#!/usr/bin/env python3
"""Schemathesis against the OpenAPI document that the server serves: what the document allows is accepted, what it does not is refused,
every answer is in it, and videos that were made are found, remixed, cancelled and deleted by the links between the calls.

    python3 tests/server/openapi.py SWAN [--seconds 15] [--seed N]

Exits with 77 (skipped) where schemathesis is not installed; ./check puts it into build/clients (clients.txt has the versions).
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from client import DATA, Server, package_python  # noqa: E402

# A model whose videos take a moment, so that one that is asked for is soon there.
QUICK = {"width": 64, "height": 48, "num_frames": 5, "num_inference_steps": 1, "guidance_scale": 1, "taehv": "taehv-tiny.safetensors"}
# Sizes have a product that the document cannot bound: of these calls openapi_checks.py looks at each refusal instead.
CONFIG = """
hooks = "openapi_checks"
[[operations]]
include-operation-id = ["createVideo", "createVideoAndWait"]
checks.positive_data_acceptance.enabled = false
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("swan", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    python = package_python("schemathesis")
    if not python:
        print("skipped: the package schemathesis is not installed")
        return 77
    with tempfile.TemporaryDirectory(prefix="swan-openapi-") as folder:
        folder = pathlib.Path(folder)
        model = shutil.copytree(DATA / "wan-tiny", folder / "quick")
        shutil.copy(DATA / "taehv-tiny.safetensors", model)
        (model / "swan.json").write_text(json.dumps(QUICK))
        (folder / "schemathesis.toml").write_text(CONFIG)
        with Server(args.swan.resolve(), "--metrics", "--alias", "other", "--max-pixels", 64 * 64 * 33, "--max-steps", 3,
                    model=["-m", model, "-t", 1]) as s:
            done = subprocess.run([pathlib.Path(python).with_name("st"), "--config-file", folder / "schemathesis.toml", "run",
                                   f"http://127.0.0.1:{s.port}/openapi.json", "--max-time", str(args.seconds), "--seed", str(args.seed),
                                   "--max-examples", "50", "--continue-on-failure", "--request-timeout", "20", "--no-color", "--warnings", "off",
                                   "--generation-database", "none"], cwd=folder, env={**os.environ, "PYTHONPATH": str(HERE)}, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=args.seconds + 120)
            lines = [line[:400] for line in done.stdout.splitlines()]
            print("\n".join(lines if done.returncode else lines[-22:]))
            made = [v for v in s.get("/v1/videos?limit=100").json["data"] if v["status"] == "completed"]
            broken = [v for v in s.get("/v1/videos?limit=100").json["data"] if v["status"] == "failed"]
            assert s.process.poll() is None and s.get("/health").status == 200, "the server is gone"
            assert not broken, f"failed: {broken[0]}"
            assert made, "no video was made: the calls that need one were not tested"
            return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
