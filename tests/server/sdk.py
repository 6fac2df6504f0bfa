#!/usr/bin/env python3
"""The official `openai` Python SDK against the server, unchanged but for its base URL. Tested with openai 3.54.0.

    python3 tests/server/sdk.py SWAN

Exits with 77 (skipped) where the package is not installed; ./check puts it into build/clients (clients.txt has the versions).
"""

import os
import pathlib
import sys
import tempfile
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from client import LONG, Server, package_python  # noqa: E402

python = package_python("openai")
if not python:
    print("skipped: the package openai is not installed")
    sys.exit(77)
if python != sys.executable:
    os.execv(python, [python, *sys.argv])
import openai  # noqa: E402

warnings.simplefilter("ignore", DeprecationWarning)  # of OpenAI's own service, which ended; the shape lives on
EXTRA = {"num_frames": 9, "num_inference_steps": 2, "seed": 3}


def raises(kind, call):
    try:
        call()
    except kind as e:
        return e
    raise AssertionError(f"{kind.__name__} was not raised")


def main():
    key = "sdk-secret"
    with tempfile.NamedTemporaryFile("w") as keys:
        keys.write(key)
        keys.flush()
        with Server(pathlib.Path(sys.argv[1]).resolve(), "--api-key-file", keys.name) as s:
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key=key, max_retries=0)
            video = client.videos.create_and_poll(prompt="a red ball", size="64x48", extra_body=EXTRA)
            assert video.status == "completed" and video.progress == 100 and video.size == "64x48" and video.seconds == "0.5", video
            assert video.model == "wan-tiny" and video.seed == 3
            data = client.videos.download_content(video.id).read()
            assert data[4:8] == b"ftyp"
            assert client.videos.download_content(video.id, variant="thumbnail").read()[:2] == b"\xff\xd8"
            remix = client.videos.remix(video.id, prompt="a blue ball")
            assert remix.remixed_from_video_id == video.id
            assert client.videos.poll(remix.id).status == "completed"
            listed = [v.id for v in client.videos.list(limit=1)]  # pages by itself
            assert listed == [remix.id, video.id], listed
            assert client.videos.retrieve(video.id).id == video.id
            assert client.videos.delete(video.id).deleted
            raises(openai.NotFoundError, lambda: client.videos.retrieve(video.id))
            assert raises(openai.BadRequestError, lambda: client.videos.create(prompt="x", size="65x48")).param == "size"
            image = raises(openai.BadRequestError, lambda: client.videos.create(prompt="x", input_reference=("a.png", b"\x89PNG")))
            assert image.param == "input_reference"
            raises(openai.NotFoundError, lambda: client.videos.create(prompt="x", model="sora-2"))
            raises(openai.AuthenticationError, lambda: openai.OpenAI(base_url=client.base_url, api_key="other", max_retries=0).videos.list())
            running = client.videos.create(prompt="x", extra_body={k: v for k, v in LONG.items() if k != "prompt"})
            assert client.videos.delete(running.id).deleted
            assert [m.id for m in client.models.list()] == ["wan-tiny"]
            print(f"ok    openai {openai.__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
