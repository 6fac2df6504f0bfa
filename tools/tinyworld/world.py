"""The procedural world through ctypes: builds the C sources of src/world into a small shared object."""

import ctypes as C
import os
import subprocess

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCES = ["scene", "shapes", "background", "render", "lexicon", "caption"]
TRAIN, HELD_OUT = 0, 1
SMALL = 0  # of the sizes
MOTIONS = 11
W, H, F, FPS = 224, 160, 33, 16


class Scene(C.Structure):
    _fields_ = [(n, C.c_int) for n in ("object", "colour", "motion", "speed", "size", "background", "layout",
                                       "relation", "second_object", "second_colour")] + \
               [(n, C.c_float) for n in ("u", "v", "phase")]


class Pose(C.Structure):
    _fields_ = [(n, C.c_float) for n in ("x", "y", "radius", "angle")] + [("mirror", C.c_bool)]


def build(out_dir):
    """Compiles for this machine; the few last bits that -ffast-math changes do not matter for training data."""
    os.makedirs(out_dir, exist_ok=True)
    so = os.path.join(out_dir, "libtinyworld.so")
    src = [os.path.join(ROOT, "src", "world", s + ".c") for s in SOURCES]
    if not os.path.exists(so) or any(os.path.getmtime(s) > os.path.getmtime(so) for s in src):
        tmp = so + f".{os.getpid()}"
        subprocess.check_call(["gcc", "-std=c11", "-O3", "-march=native", "-ffast-math", "-fPIC", "-shared",
                               "-I" + os.path.join(ROOT, "src"), *src, "-o", tmp, "-lm"])
        os.replace(tmp, so)
    return so


class World:
    def __init__(self, so):
        lib = self.lib = C.CDLL(so)
        lib.swan_world_scene_from_index.argtypes = [C.c_uint64, C.c_uint64, C.c_int, C.POINTER(Scene)]
        lib.swan_world_scene_from_index.restype = None
        lib.swan_world_caption.argtypes = [C.POINTER(Scene), C.c_uint32, C.c_char_p, C.c_size_t, C.c_void_p]
        lib.swan_world_parse.argtypes = [C.c_char_p, C.POINTER(Scene)]
        lib.swan_world_parse.restype = C.c_uint
        lib.swan_world_render.argtypes = [C.POINTER(Scene)] + [C.c_int] * 4 + [C.c_void_p]
        lib.swan_world_render.restype = None
        lib.swan_world_pose_at.argtypes = [C.POINTER(Scene), C.c_float] + [C.c_int] * 3 + [C.POINTER(Pose)]
        lib.swan_world_second_pose.argtypes = [C.POINTER(Scene), C.c_float, C.POINTER(Pose)]
        lib.swan_world_pose_at.restype = lib.swan_world_second_pose.restype = None
        lib.swan_world_is_held_out.restype = C.c_bool
        for kind in ("object", "colour", "motion", "background"):
            fn = getattr(lib, f"swan_world_{kind}_name")
            fn.restype, fn.argtypes = C.c_char_p, [C.c_int]

    def name(self, kind, i):
        return getattr(self.lib, f"swan_world_{kind}_name")(i).decode()

    def names(self, kind):
        out, i = [], 0
        fn = getattr(self.lib, f"swan_world_{kind}_name")
        while (s := fn(i)) is not None:
            out.append(s.decode())
            i += 1
        return out

    def scene(self, seed, index, split=TRAIN):
        s = Scene()
        self.lib.swan_world_scene_from_index(seed, index, split, C.byref(s))
        return s

    def caption(self, scene, variant):
        buf = C.create_string_buffer(256)
        self.lib.swan_world_caption(C.byref(scene), variant & 0xFFFFFFFF, buf, 256, None)
        return buf.value.decode()

    def parse(self, text):
        s = Scene()
        bits = self.lib.swan_world_parse(text.encode(), C.byref(s))
        return bits, s

    def render(self, scene, width=W, height=H, frames=F, fps=FPS, out=None):
        """u8 [F, H, W, 3]"""
        if out is None:
            out = np.empty((frames, height, width, 3), np.uint8)
        self.lib.swan_world_render(C.byref(scene), width, height, frames, fps, out.ctypes.data)
        return out

    def object_tokens(self, scene):
        """u8 [9, 10, 14]: 1 where a token (16x16 pixels, 4 frames) shows an object, by boxes around the poses."""
        out, pose = np.zeros(((F - 1) // 4 + 1, H // 16, W // 16), np.uint8), Pose()

        def mark(t):
            x0, x1 = ((pose.x + k * pose.radius) * H / 16 for k in (-1.05, 1.05))
            y0, y1 = ((pose.y + k * pose.radius) * H / 16 for k in (-1.05, 1.05))
            out[t, max(0, int(y0)):int(y1) + 1, max(0, int(x0)):int(x1) + 1] = 1

        for f in range(F):
            self.lib.swan_world_pose_at(C.byref(scene), W / H, f, F, FPS, C.byref(pose))
            mark(f // 4)
        if scene.relation:
            self.lib.swan_world_second_pose(C.byref(scene), W / H, C.byref(pose))
            mark(slice(None))
        return out
