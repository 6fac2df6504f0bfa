"""bindings/python/swan.py over libswan and the tiny model of tests/parity. unittest alone; with NumPy when it is there.

    SWAN_LIBRARY=build/release/libswan.so python3 tests/bindings/test_python.py
"""

import ctypes
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
CLIENTS = ROOT / "build/clients/bin/python"  # of ./check: has NumPy
if __name__ == "__main__" and not importlib.util.find_spec("numpy") and CLIENTS.exists():
    os.execv(CLIENTS, [str(CLIENTS), *sys.argv])
sys.path.insert(0, str(ROOT / "bindings/python"))
import swan  # noqa: E402

HEADER = ROOT / "include/swan/swan.h"
MODEL = {"model": ROOT / "tests/parity/data/wan-tiny", "taehv": ROOT / "tests/parity/data/taehv-tiny.safetensors", "threads": 2}
SMALL = {"size": (64, 48), "num_frames": 9, "num_inference_steps": 2}
STRUCTS = {"swan_option": swan._Option, "swan_device_summary": swan._DeviceSummary, "swan_progress": swan._Progress, "swan_callbacks": swan._Callbacks,
           "swan_plan_phase": swan._PlanPhase, "swan_plan": swan._Plan, "swan_report": swan._Report}


class Header(unittest.TestCase):
    """The binding says what swan.h says."""

    def test_layouts(self):
        lines = []
        for name, struct in STRUCTS.items():
            lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
            for field, _ in struct._fields_:
                lines.append(f'printf("{name}.{field} %zu %zu\\n", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));')
        for prefix, names in (("SWAN_E_", swan.Status), ("SWAN_PHASE_", swan.Phase)):
            for member in names:
                c_name = "SWAN_OK" if member is swan.Status.OK else prefix + member.name
                lines.append(f'printf("{c_name} %d\\n", (int){c_name});')
        for group in ("MODEL", "VIDEO", "OUTPUT"):
            lines.append(f'printf("{group} %u\\n", SWAN_GROUP_{group});')
        text = "#include <stdio.h>\n#include <swan/swan.h>\nint main(void) { %s return 0; }\n" % "\n".join(lines)
        with tempfile.TemporaryDirectory() as folder:
            source, program = pathlib.Path(folder) / "layout.c", pathlib.Path(folder) / "layout"
            source.write_text(text)
            subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-I", HEADER.parents[1], source, "-o", program], check=True)
            found = subprocess.run([program], check=True, capture_output=True, text=True).stdout
        for line in found.splitlines():
            name, *numbers = line.split()
            with self.subTest(name):
                if "." in name:
                    struct, field = name.split(".")
                    entry = getattr(STRUCTS[struct], field)
                    self.assertEqual([int(n) for n in numbers], [entry.offset, entry.size])
                elif name in STRUCTS:
                    self.assertEqual(int(numbers[0]), ctypes.sizeof(STRUCTS[name]))
                elif name in ("MODEL", "VIDEO", "OUTPUT"):
                    self.assertEqual(int(numbers[0]), getattr(swan.Option, name))
                else:
                    member = name.replace("SWAN_E_", "").replace("SWAN_PHASE_", "").replace("SWAN_", "")
                    self.assertEqual(int(numbers[0]), (swan.Phase if "PHASE" in name else swan.Status)[member])

    def test_everything_is_bound(self):
        text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
        declared = {name: arguments for name, arguments in re.findall(r"SWAN_API [^;(]*?(\w+)\(([^;]*)\);", text)}
        self.assertEqual(set(declared), set(swan._FUNCTIONS))
        for name, arguments in declared.items():
            count = 0 if arguments.strip() == "void" else arguments.count(",") + 1
            self.assertEqual(count, len(swan._FUNCTIONS[name][1]), name)
        for name, struct in STRUCTS.items():
            body = re.search(r"typedef struct %s \{(.*?)\} %s;" % (name, name), text, re.S)[1]
            body = re.sub(r"\(\*(\w+)\)\([^;]*\)", r"\1", body)
            fields = [re.findall(r"(\w+)(?:\[\d+\])?$", part)[0] for line in body.split(";") if line.strip() for part in line.strip().split(",")]
            self.assertEqual(fields, [f for f, _ in struct._fields_], name)
        statuses = re.search(r"typedef enum swan_status \{(.*?)\}", text, re.S)[1]
        self.assertEqual(len(re.findall(r"SWAN_\w+", statuses)), len(swan.Status))

    def test_library_needs_no_network(self):
        data = pathlib.Path(os.environ["SWAN_LIBRARY"]).read_bytes()
        for name in (b"libcurl", b"libmicrohttpd", b"libsqlite3"):
            self.assertNotIn(name, data, "a part of the program, not of the library")

    def test_version(self):
        written = re.search(r'SWAN_VERSION "(.*?)"', HEADER.read_text())[1]
        self.assertEqual(swan.version(), written)
        self.assertTrue(written.startswith(swan.MADE_FOR + "."))

    def test_devices(self):
        devices = swan.devices()
        self.assertEqual((devices[0].name, devices[0].usable), ("cpu", True))
        self.assertGreater(devices[0].memory_bytes, 1 << 28)


class Options(unittest.TestCase):
    def test_table(self):
        options = {o.key: o for o in swan.options()}
        self.assertGreater(len(options), 20)
        self.assertEqual(options["num_frames"].flag, "--frames")
        self.assertEqual(options["seed"].default, "-1")
        self.assertIsNone(options["exact"].value)
        self.assertTrue(options["model"].groups & swan.Option.MODEL)
        self.assertTrue(options["output"].groups & swan.Option.OUTPUT)
        self.assertTrue(all(o.help for o in options.values()))

    def test_bad_ones(self):
        for settings in ({"no_such_key": 1}, {"num_frames": "many"}, {"size": "64"}, {"threads": -1}):
            with self.subTest(settings), self.assertRaises(swan.Error) as caught:
                swan.Engine(**{**MODEL, **settings}).plan()
            self.assertEqual(caught.exception.status, swan.Status.INVALID)
            self.assertIn(next(iter(settings)), str(caught.exception))

    def test_no_model(self):
        with self.assertRaises(swan.Error) as caught:
            swan.Engine(model="/no/such/model")
        self.assertEqual(caught.exception.status, swan.Status.NOT_FOUND)
        self.assertIn("/no/such/model", str(caught.exception))


class Runs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = swan.Engine(**MODEL)

    @classmethod
    def tearDownClass(cls):
        cls.engine.close()

    def raw(self, video):
        return video.frames.tobytes() if swan.numpy else b"".join(video.frames)

    def test_describe_and_plan(self):
        self.assertEqual(self.engine.describe()["name"], "wan-tiny")
        plan = self.engine.plan(**SMALL)
        self.assertEqual((plan.width, plan.height, plan.frames, plan.steps), (64, 48, 9, 2))
        self.assertEqual([p.name for p in plan.phases], ["text", "denoise", "decode"])
        self.assertGreater(plan.peak_bytes, plan.session_bytes)
        self.assertGreater(plan.phases[1].flops, 0)

    def test_frames_and_seeds(self):
        told = []
        with self.engine.session(**SMALL) as session:
            first = session.generate("a red fox", seed=7, on_progress=told.append)
            again = session.generate("a red fox", seed=7)
            other = session.generate("a red fox", seed=8)
            drawn = session.generate("a red fox")
            self.assertEqual(session.plan.session_bytes, first.session_bytes)
        self.assertEqual((first.seed, first.width, first.height, first.frame_count, first.steps), (7, 64, 48, 9, 2))
        self.assertEqual(len(self.raw(first)), 9 * 48 * 64 * 3)
        self.assertEqual(self.raw(first), self.raw(again))
        self.assertNotEqual(self.raw(first), self.raw(other))
        self.assertGreater(len(set(self.raw(first))), 10)
        self.assertLess(drawn.seed, 1 << 32)
        if swan.numpy:
            self.assertEqual((first.frames.shape, first.frames.dtype.name), ((9, 48, 64, 3), "uint8"))
        fractions = [p.fraction for p in told]
        self.assertEqual(fractions, sorted(fractions))
        self.assertEqual(fractions[-1], 1.0)
        self.assertEqual([p.phase for p in told][-1], swan.Phase.DONE)
        self.assertLessEqual({swan.Phase.TEXT, swan.Phase.DENOISE, swan.Phase.DECODE}, {p.phase for p in told})

    def test_without_numpy(self):
        there, swan.numpy = swan.numpy, None
        try:
            with self.engine.session(**SMALL) as session:
                plain = session.generate("a red fox", seed=7)
        finally:
            swan.numpy = there
        self.assertEqual([type(f) for f in plain.frames], [bytes] * 9)
        with self.engine.session(**SMALL) as session:
            self.assertEqual(self.raw(session.generate("a red fox", seed=7)), b"".join(plain.frames))

    def test_previews(self):
        seen = []
        with self.engine.session(previews=True, frames=False, **SMALL) as session:
            video = session.generate("a red fox", seed=7, on_preview=lambda step, frame: seen.append((step, len(bytes(frame)))))
        self.assertIsNone(video.frames)
        self.assertEqual(seen, [(0, 64 * 48 * 3), (1, 64 * 48 * 3)])
        with self.engine.session(**SMALL) as session, self.assertRaises(swan.Error):
            session.generate("a red fox", on_preview=print)

    def test_file_and_inspect(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "f\u00fcchse.mp4"
            video = swan.generate("a fox \u2013 \u72d0", output=path, seed=5, frames=False, **MODEL, **SMALL)
            self.assertEqual(video.output_bytes, path.stat().st_size)
            self.assertEqual(video.output, str(path))
            recipe = swan.inspect(path)
            self.assertEqual((recipe["prompt"], recipe["seed"], recipe["num_frames"]), ("a fox \u2013 \u72d0", 5, 9))
            plain = pathlib.Path(folder) / "plain.mp4"
            plain.write_bytes(b"no video")
            with self.assertRaises(swan.Error) as caught:
                swan.inspect(plain)
            self.assertIn("plain.mp4", str(caught.exception))
            with self.assertRaises(swan.Error) as caught:
                swan.generate("a fox", output="/no/such/folder/f.mp4", **MODEL, **SMALL)
            self.assertEqual(caught.exception.status, swan.Status.NOT_FOUND)

    def test_stopping(self):
        with self.engine.session(**SMALL) as session:
            with self.assertRaises(swan.Cancelled) as caught:
                session.generate("a red fox", on_progress=lambda p: p.phase < swan.Phase.DENOISE)
            self.assertEqual(caught.exception.status, swan.Status.CANCELLED)
            with self.assertRaises(swan.Cancelled):
                session.generate("a red fox", on_progress=lambda p: threading.Thread(target=session.cancel).start() or None)
            session.generate("a red fox")  # and it goes on

    def test_exceptions_come_back(self):
        class Mine(Exception):
            pass

        def fails(*_):
            raise Mine("here")
        with self.engine.session(previews=True, **SMALL) as session:
            for name in ("on_progress", "on_preview", "on_frame"):
                with self.subTest(name), self.assertRaisesRegex(Mine, "here"):
                    session.generate("a red fox", **{name: fails})
            with self.assertRaises(KeyboardInterrupt):
                session.generate("a red fox", on_progress=lambda p: (_ for _ in ()).throw(KeyboardInterrupt))
            session.generate("a red fox")

    def test_closed_and_busy(self):
        session = self.engine.session(**SMALL)
        inner = []

        def again(_):
            try:
                session.generate("b")
            except swan.Error as error:
                inner.append(error.status)
        session.generate("a", on_progress=again)
        self.assertEqual(set(inner), {swan.Status.INVALID})
        session.close()
        session.close()
        session.cancel()
        with self.assertRaisesRegex(swan.Error, "closed"):
            session.generate("a red fox")
        engine = swan.Engine(**MODEL)
        left_open = engine.session(**SMALL)
        engine.close()
        for late in (engine.describe, engine.session, left_open.generate):
            with self.assertRaisesRegex(swan.Error, "closed"):
                late()

    def test_threads(self):
        results = {}

        def work(seed):
            with self.engine.session(**SMALL) as session:
                results[seed] = self.raw(session.generate("a red fox", seed=seed))
        threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        with self.engine.session(**SMALL) as session:
            for seed in (1, 2):
                self.assertEqual(self.raw(session.generate("a red fox", seed=seed)), results[seed])

    def test_errors_are_of_the_thread(self):
        caught = {}

        def work(key):
            try:
                self.engine.plan(**{key: "x"})
            except swan.Error as error:
                caught[key] = str(error)
        threads = [threading.Thread(target=work, args=(key,)) for key in ("fps", "seed")]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertTrue(caught["fps"].startswith("fps") and caught["seed"].startswith("seed"), caught)


class Finding(unittest.TestCase):
    """Where the library is looked for."""

    def run_with(self, env, code="import swan; print(swan.version())"):
        clean = {k: v for k, v in os.environ.items() if k not in ("SWAN_LIBRARY", "LD_LIBRARY_PATH")}
        return subprocess.run([sys.executable, "-B", "-c", code], env={**clean, **env}, capture_output=True, text=True)

    def test_named_but_not_there(self):
        got = self.run_with({"PYTHONPATH": str(ROOT / "bindings/python"), "SWAN_LIBRARY": "/no/such/libswan.so"})
        self.assertNotEqual(got.returncode, 0)
        self.assertIn("ImportError", got.stderr)
        self.assertIn("SWAN_LIBRARY", got.stderr)

    def test_another_version(self):
        named = {"PYTHONPATH": str(ROOT / "bindings/python"), "SWAN_LIBRARY": os.path.abspath(swan._lib()._name)}
        got = self.run_with(named, "import swan; swan.MADE_FOR = '9.9'; print(swan.version())")
        self.assertIn("ImportError", got.stderr)
        self.assertIn("made for 9.9", got.stderr)

    def test_beside(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "swan.py").write_bytes((ROOT / "bindings/python/swan.py").read_bytes())
            os.symlink(os.path.abspath(swan._lib()._name), pathlib.Path(folder, "libswan.so"))
            got = self.run_with({"PYTHONPATH": folder})
            self.assertEqual(got.stdout.strip(), swan.version(), got.stderr)


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main()
