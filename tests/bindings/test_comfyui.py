"""bindings/comfyui/swan_node.py with stand-ins for ComfyUI, PyTorch and Pillow: it imports, tells its inputs, makes frames,
reports, and is interrupted. That ComfyUI itself is pleased is not shown here.

    SWAN_LIBRARY=build/release/libswan.so python3 tests/bindings/test_comfyui.py
"""

import importlib.util
import inspect
import os
import pathlib
import shutil
import sys
import tempfile
import types
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/parity/data"
sys.dont_write_bytecode = True


class Interrupted(Exception):
    """As comfy.model_management.InterruptProcessingException."""


class Tensor:
    """What the node needs of a tensor."""

    def __init__(self, frames, scale=1):
        self.frames, self.scale = frames, scale

    def to(self, dtype):
        assert dtype == "float32"
        return self

    def div_(self, by):
        self.scale /= by
        return self


class Bar:
    all = []

    def __init__(self, total):
        self.told, self.total = [], total
        Bar.all.append(self)

    def update_absolute(self, value, total=None, preview=None):
        self.told.append((value, total, preview))


def load(path, name="swan_node"):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stub(name, **content):
    module = sys.modules[name] = types.ModuleType(name)
    module.__dict__.update(content)
    return module


class Node(unittest.TestCase):
    def setUp(self):
        self.before = dict(sys.modules)
        self.interrupted = 0

        def throw():
            self.interrupted += 1
            if self.stop_at and self.interrupted >= self.stop_at:
                raise Interrupted
        self.stop_at = 0
        Bar.all.clear()
        stub("torch", float32="float32", from_numpy=Tensor)
        stub("comfy", __path__=[])
        stub("comfy.utils", ProgressBar=Bar)
        stub("comfy.model_management", throw_exception_if_processing_interrupted=throw)
        stub("PIL", __path__=[])
        stub("PIL.Image", fromarray=lambda frame: ("picture", len(bytes(frame))))
        self.module = load(ROOT / "bindings/comfyui/swan_node.py")
        self.node = self.module.NODE_CLASS_MAPPINGS["SwanTextToVideo"]
        self.asked = {"prompt": "a red fox", "seed": 7, "width": 64, "height": 48, "frames": 9, "steps": 2,
                      "model": str(DATA / "wan-tiny"), "taehv": str(DATA / "taehv-tiny.safetensors"), "options": "threads = 2\nguidance_scale=1\n"}

    def tearDown(self):
        if self.node._engine is not None:
            self.node._engine.close()
        for name in set(sys.modules) - set(self.before):
            del sys.modules[name]
        sys.modules.update(self.before)

    def test_what_comfyui_reads(self):
        inputs = self.node.INPUT_TYPES()
        names = [*inputs["required"], *inputs["optional"]]
        arguments = list(inspect.signature(getattr(self.node, self.node.FUNCTION)).parameters)
        self.assertEqual(arguments, ["self", *names])
        self.assertEqual(len(self.node.RETURN_TYPES), len(self.node.RETURN_NAMES))
        self.assertEqual(self.node.RETURN_TYPES[0], "IMAGE")
        self.assertEqual(set(self.module.NODE_DISPLAY_NAME_MAPPINGS), set(self.module.NODE_CLASS_MAPPINGS))
        for kind, about in [*inputs["required"].values(), *inputs["optional"].values()]:
            self.assertIn(kind, ("STRING", "INT"))
            self.assertIn("default", about)

    def test_frames(self):
        image, fps, seed = self.node().generate(**self.asked)
        self.assertEqual((seed, image.scale), (7, 1 / 255))
        self.assertEqual(len(image.frames), 9)
        self.assertGreater(fps, 0)
        told = Bar.all[0].told
        values = [t[0] for t in told]
        self.assertEqual(values, sorted(values))
        self.assertEqual(values[-1], 1000)
        self.assertEqual([t[2] for t in told if t[2]], [("JPEG", ("picture", 64 * 48 * 3), 512)] * 2)
        engine = self.node._engine
        self.node().generate(**{**self.asked, "seed": 8})
        self.assertIs(self.node._engine, engine)  # not loaded again

    def test_interrupted(self):
        self.stop_at = 4
        with self.assertRaises(Interrupted):
            self.node().generate(**self.asked)
        self.stop_at = 0
        self.node().generate(**self.asked)

    def test_without_comfyui(self):
        for name in ("comfy", "comfy.utils", "comfy.model_management", "PIL", "PIL.Image"):
            sys.modules[name] = None  # an import of it fails
        image, _, _ = self.node().generate(**self.asked)
        self.assertEqual(len(image.frames), 9)
        for name in ("comfy", "comfy.utils", "comfy.model_management", "PIL", "PIL.Image"):
            del sys.modules[name]

    def test_what_is_wrong_is_said(self):
        with self.assertRaisesRegex(ValueError, "both"):
            self.node().generate(**{**self.asked, "height": 0})
        with self.assertRaisesRegex(ValueError, "colour=red"):
            self.node().generate(**{**self.asked, "options": "colour=red"})
        with self.assertRaisesRegex(Exception, "/no/such"):
            self.node().generate(**{**self.asked, "model": "/no/such"})

    def test_as_installed(self):
        """The folder of docs/python.md: __init__.py, swan.py and libswan.so."""
        with tempfile.TemporaryDirectory() as folder:
            home = pathlib.Path(folder, "swan")
            home.mkdir()
            shutil.copy(ROOT / "bindings/comfyui/swan_node.py", home / "__init__.py")
            shutil.copy(ROOT / "bindings/python/swan.py", home)
            os.symlink(os.path.abspath(os.environ["SWAN_LIBRARY"]), home / "libswan.so")
            named = os.environ.pop("SWAN_LIBRARY")
            sys.modules.pop("swan_binding", None)
            try:
                module = load(home / "__init__.py", "custom_nodes.swan")
                binding = module._binding()
                self.assertEqual(pathlib.Path(binding.__file__).parent, home.resolve())
                self.assertEqual(pathlib.Path(binding._lib()._name).parent, home.resolve())
            finally:
                os.environ["SWAN_LIBRARY"] = named


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main()
