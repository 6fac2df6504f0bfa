"""Swan as a ComfyUI node: a prompt in, a batch of frames out. One file over bindings/python/swan.py.

Not run inside ComfyUI yet: it was written from ComfyUI's published interfaces and is tested with stand-ins for them
(tests/bindings/test_comfyui.py).

Install: a folder in ComfyUI's custom_nodes with this file as __init__.py, and swan.py and libswan.so beside it; docs/python.md
has the lines. The node is found as "Swan text to video"; its IMAGE goes to any node that takes a batch, for example to the
ones that write a video.
"""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import sys
from typing import Any, Optional


def _binding() -> Any:
    """The module swan: installed, beside this file, or where the source tree has it."""
    here = pathlib.Path(__file__).resolve().parent
    for path in (here / "swan.py", here.parent / "python" / "swan.py"):
        if not path.exists():
            continue
        name = "swan_binding"  # a name of our own: custom nodes share one interpreter
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
        return sys.modules[name]
    return importlib.import_module("swan")


def _optional(name: str) -> Optional[Any]:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


class _Hooks:
    """ComfyUI's progress bar and its cancel button, where they are there."""

    def __init__(self, total: int) -> None:
        utils, self.management = _optional("comfy.utils"), _optional("comfy.model_management")
        self.image = _optional("PIL.Image")
        self.total, self.picture = total, None
        self.bar = utils.ProgressBar(total) if utils else None

    def progress(self, at: Any) -> None:
        if self.management:
            self.management.throw_exception_if_processing_interrupted()  # stops the run and comes out of generate()
        if self.bar:
            self.bar.update_absolute(round(at.fraction * self.total), self.total, self.picture)
            self.picture = None  # shown once

    def preview(self, step: int, frame: Any) -> None:
        if self.image:
            self.picture = ("JPEG", self.image.fromarray(frame), 512)


class SwanTextToVideo:
    """Keeps the engine of the last model, so that only the first run loads it."""

    CATEGORY = "Swan"
    FUNCTION = "generate"
    RETURN_TYPES = ("IMAGE", "INT", "INT")
    RETURN_NAMES = ("frames", "fps", "seed")
    DESCRIPTION = "Makes a video with Swan, outside PyTorch. Zero and an empty text mean the model's own value."

    _engine: Any = None
    _opened: Any = None

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {
            "required": {
                "prompt": ("STRING", {"multiline": True, "default": "a swan glides over a misty lake at dawn"}),
                "seed": ("INT", {"default": 0, "min": 0, "max": 0xffffffff, "control_after_generate": True}),
                "width": ("INT", {"default": 0, "min": 0, "max": 4096, "step": 16}),
                "height": ("INT", {"default": 0, "min": 0, "max": 4096, "step": 16}),
                "frames": ("INT", {"default": 0, "min": 0, "max": 4097}),
                "steps": ("INT", {"default": 0, "min": 0, "max": 1000}),
            },
            "optional": {
                "negative_prompt": ("STRING", {"multiline": True, "default": ""}),
                "model": ("STRING", {"default": ""}),
                "taehv": ("STRING", {"default": ""}),
                "options": ("STRING", {"multiline": True, "default": ""}),
            },
        }

    @classmethod
    def _settings(cls, swan: Any, text: str) -> tuple[dict, dict]:
        """Lines of key=value, by the keys of the option table: (of the engine, of the video)."""
        groups = {o.key: o.groups for o in swan.options()}
        engine, video = {}, {}
        for line in filter(None, map(str.strip, text.splitlines())):
            key, equals, value = (part.strip() for part in line.partition("="))
            if not equals or key not in groups:
                raise ValueError(f"options: wanted lines of key=value with keys of Swan's option table, found {line!r}")
            (engine if groups[key] & swan.Option.MODEL else video)[key] = value
        return engine, video

    @classmethod
    def _open(cls, swan: Any, settings: dict) -> Any:
        if cls._engine is None or cls._opened != settings:
            if cls._engine is not None:
                cls._engine.close()  # before the next one: two models may not fit
                cls._engine = None
            cls._engine, cls._opened = swan.Engine(**settings), settings
        return cls._engine

    def generate(self, prompt: str, seed: int, width: int, height: int, frames: int, steps: int, negative_prompt: str = "",
                 model: str = "", taehv: str = "", options: str = "") -> tuple:
        torch, swan = importlib.import_module("torch"), _binding()
        if bool(width) != bool(height):
            raise ValueError("width and height: give both, or 0 for both")
        of_engine, of_video = self._settings(swan, options)
        engine = self._open(swan, {**of_engine, "model": model or None, "taehv": taehv or None})
        hooks = _Hooks(1000)
        settings = {**of_video, "size": (width, height) if width else None, "num_frames": frames or None,
                    "num_inference_steps": steps or None, "negative_prompt": negative_prompt or None}
        with engine.session(previews=bool(hooks.bar and hooks.image), **settings) as session:
            video = session.generate(prompt, seed=seed, on_progress=hooks.progress,
                                     on_preview=hooks.preview if hooks.bar and hooks.image else None)
        # u8 [F, H, W, 3] -> f32 [F, H, W, 3] in 0 .. 1, ComfyUI's IMAGE
        return torch.from_numpy(video.frames).to(torch.float32).div_(255), video.fps, video.seed


NODE_CLASS_MAPPINGS = {"SwanTextToVideo": SwanTextToVideo}
NODE_DISPLAY_NAME_MAPPINGS = {"SwanTextToVideo": "Swan text to video"}
