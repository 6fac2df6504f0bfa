"""Swan from Python: text to video on your own machine. One file over the C library; no packages needed, NumPy used when it is there.

    import swan

    video = swan.generate("a red ball rolling to the right over green hills", output="ball.mp4", seed=7)
    video.frames[0]                        # uint8 [height, width, 3] with NumPy, else bytes

    with swan.Engine(model="FastWan2.1-T2V-1.3B-Diffusers", taehv="taew2_1.safetensors") as engine:
        print(engine.plan(num_frames=81))  # memory and work, before anything runs
        with engine.session(num_frames=81, size="832x480") as session:
            for seed in range(4):
                session.generate("a swan on a lake", seed=seed, on_progress=print)

Settings are keyword arguments by the keys of the option table (`swan.options()`; the command line's --frames is num_frames).
The library is found by SWAN_LIBRARY (a path), beside this file, or by the system's loader. Whatever fails raises
swan.Error with a status and one sentence; a run that was stopped raises swan.Cancelled.

Threads: an Engine is shared by threads; a Session makes one video at a time, and only cancel() may come from elsewhere. The
library runs without Python's lock, so other Python threads go on meanwhile.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import dataclasses
import enum
import json
import os
import pathlib
import sys
import threading
from typing import Any, Callable, Iterator, Mapping, Optional, Union

try:
    import numpy
except ImportError:  # frames are bytes then
    numpy = None  # type: ignore[assignment]

__all__ = ["Cancelled", "Device", "Engine", "Error", "Option", "Phase", "Plan", "PlanPhase", "Progress", "Session", "Status", "Video",
           "devices", "generate", "inspect", "options", "version"]

MADE_FOR = "0.1"  # structs may differ in other versions of the library

Value = Union[str, int, float, bool, os.PathLike, None]
Frame = Any  # numpy.ndarray uint8 [height, width, 3], or bytes of the same order


class Status(enum.IntEnum):
    """swan_status."""
    OK = 0
    INVALID = 1
    NOT_FOUND = 2
    IO = 3
    FORMAT = 4
    NOMEM = 5
    UNSUPPORTED = 6
    CANCELLED = 7
    DEVICE = 8
    BUG = 9


class Phase(enum.IntEnum):
    """swan_phase."""
    LOAD = 0
    TEXT = 1
    DENOISE = 2
    DECODE = 3
    DONE = 4


class Error(Exception):
    """What the library could not do: `status` and one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = Status(status)


class Cancelled(Error):
    """A run that was stopped on request."""


# ---- the library's structs, as in swan.h -------------------------------------------------------------------------------------

class _Option(ctypes.Structure):
    _fields_ = [("key", ctypes.c_char_p), ("flag", ctypes.c_char_p), ("letter", ctypes.c_char), ("value", ctypes.c_char_p),
                ("fallback", ctypes.c_char_p), ("help", ctypes.c_char_p), ("groups", ctypes.c_uint)]


class _DeviceSummary(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 16), ("description", ctypes.c_char * 120), ("memory_bytes", ctypes.c_uint64),
                ("usable", ctypes.c_bool)]


class _Progress(ctypes.Structure):
    _fields_ = [("phase", ctypes.c_int), ("step", ctypes.c_int), ("steps", ctypes.c_int), ("fraction", ctypes.c_double),
                ("elapsed_s", ctypes.c_double), ("remaining_s", ctypes.c_double)]


_ON_PROGRESS = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.POINTER(_Progress))
_ON_LOG = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
_ON_FRAME = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
_ON_PREVIEW = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)


class _Callbacks(ctypes.Structure):
    _fields_ = [("user", ctypes.c_void_p), ("progress", _ON_PROGRESS), ("log", _ON_LOG), ("frame", _ON_FRAME), ("preview", _ON_PREVIEW)]


class _PlanPhase(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("activation_bytes", ctypes.c_uint64), ("weight_bytes", ctypes.c_uint64),
                ("launches", ctypes.c_uint64), ("flops", ctypes.c_double), ("bytes", ctypes.c_double)]


class _Plan(ctypes.Structure):
    _fields_ = [("width", ctypes.c_int), ("height", ctypes.c_int), ("frames", ctypes.c_int), ("fps", ctypes.c_int),
                ("steps", ctypes.c_int), ("tokens", ctypes.c_int), ("prompt_tokens", ctypes.c_int),
                ("mapped_bytes", ctypes.c_uint64), ("arena_bytes", ctypes.c_uint64),
                ("session_bytes", ctypes.c_uint64), ("state_bytes", ctypes.c_uint64),
                ("staging_bytes", ctypes.c_uint64), ("peak_bytes", ctypes.c_uint64), ("device_bytes", ctypes.c_uint64),
                ("device_base_bytes", ctypes.c_uint64), ("device_peak_bytes", ctypes.c_uint64), ("host_weight_bytes", ctypes.c_uint64),
                ("blocks", ctypes.c_int), ("blocks_streamed", ctypes.c_int), ("text_layers", ctypes.c_int), ("text_layers_streamed", ctypes.c_int),
                ("prompt_bus_bytes", ctypes.c_uint64), ("step_bus_bytes", ctypes.c_uint64), ("phase_count", ctypes.c_int), ("phase", _PlanPhase * 4)]


class _Report(ctypes.Structure):
    _fields_ = [("seed", ctypes.c_uint64), ("width", ctypes.c_int), ("height", ctypes.c_int), ("frames", ctypes.c_int),
                ("fps", ctypes.c_int), ("steps", ctypes.c_int), ("text_s", ctypes.c_double), ("denoise_s", ctypes.c_double),
                ("decode_s", ctypes.c_double), ("total_s", ctypes.c_double), ("close_s", ctypes.c_double), ("session_bytes", ctypes.c_uint64),
                ("process_peak_bytes", ctypes.c_uint64), ("device_bytes", ctypes.c_uint64), ("device_base_bytes", ctypes.c_uint64),
                ("device_peak_bytes", ctypes.c_uint64), ("output_bytes", ctypes.c_uint64)]


_HANDLE, _OUT, _TEXT, _STRUCT = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_char_p, ctypes.POINTER
# name -> (result, arguments); "status" is an int that is checked
_FUNCTIONS: Mapping[str, tuple] = {
    "swan_version": (_TEXT, []),
    "swan_status_name": (_TEXT, [ctypes.c_int]),
    "swan_last_error": (_TEXT, []),
    "swan_option_at": (_STRUCT(_Option), [ctypes.c_size_t]),
    "swan_device_at": (ctypes.c_bool, [ctypes.c_size_t, _STRUCT(_DeviceSummary)]),
    "swan_params_new": ("status", [_OUT]),
    "swan_params_free": (None, [_HANDLE]),
    "swan_params_set": ("status", [_HANDLE, _TEXT, _TEXT]),
    "swan_params_get": (_TEXT, [_HANDLE, _TEXT]),
    "swan_phase_name": (_TEXT, [ctypes.c_int]),
    "swan_engine_open": ("status", [_HANDLE, _STRUCT(_Callbacks), _OUT]),
    "swan_engine_close": (None, [_HANDLE]),
    "swan_engine_describe": ("status", [_HANDLE, _OUT]),
    "swan_engine_plan": ("status", [_HANDLE, _HANDLE, _STRUCT(_Plan)]),
    "swan_plan_model": ("status", [_HANDLE, _STRUCT(_Callbacks), _STRUCT(_Plan)]),
    "swan_session_open": ("status", [_HANDLE, _HANDLE, _STRUCT(_Callbacks), _OUT]),
    "swan_session_close": (None, [_HANDLE]),
    "swan_session_generate": ("status", [_HANDLE, _TEXT, ctypes.c_int64, _STRUCT(_Report)]),
    "swan_session_cancel": (None, [_HANDLE]),
    "swan_inspect": ("status", [_TEXT, _OUT]),
    "swan_string_free": (None, [_HANDLE]),
}
_library: Optional[ctypes.CDLL] = None
_library_lock = threading.Lock()


def _candidates() -> Iterator[str]:
    named = os.environ.get("SWAN_LIBRARY")
    if named:
        yield named
        return  # who names one wants that one
    name = {"darwin": "libswan.dylib", "win32": "swan.dll"}.get(sys.platform, "libswan.so")
    beside = pathlib.Path(__file__).resolve().parent
    for path in (beside / name, beside / (name + ".0")):
        if path.exists():
            yield str(path)
    yield ctypes.util.find_library("swan") or name


def _open() -> ctypes.CDLL:
    reasons = []
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            reasons.append(f"{name}: {error}")
            continue
        for function, (result, arguments) in _FUNCTIONS.items():
            entry = getattr(library, function)
            entry.argtypes = arguments
            entry.restype = ctypes.c_int if result == "status" else result
        found = library.swan_version().decode()
        if found.split(".")[:2] != MADE_FOR.split("."):
            raise ImportError(f"{name} is Swan {found}; this swan.py is made for {MADE_FOR}: take the one that came with the library")
        return library
    raise ImportError("libswan was not found; set SWAN_LIBRARY to its path (" + "; ".join(reasons) + ")")


def _lib() -> ctypes.CDLL:
    """The library, opened at its first use."""
    global _library
    with _library_lock:
        if _library is None:
            _library = _open()
        return _library


def _check(status: int) -> None:
    if status == Status.OK:
        return
    message = (_lib().swan_last_error() or _lib().swan_status_name(status)).decode("utf-8", "replace")
    raise (Cancelled if status == Status.CANCELLED else Error)(status, message)


def _taken(text: ctypes.c_void_p) -> str:
    """A string that the library gave away."""
    try:
        return ctypes.string_at(text.value or 0).decode("utf-8", "replace")
    finally:
        _lib().swan_string_free(text)


# ---- what is asked and told --------------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Option:
    """One row of the option table. `flag` is the command line's name, None where it has none; `value` None: a switch."""
    key: str
    flag: Optional[str]
    value: Optional[str]
    default: Optional[str]
    help: str
    groups: int

    MODEL = 1
    VIDEO = 2
    OUTPUT = 4


@dataclasses.dataclass(frozen=True)
class Device:
    """A device of this machine. `name` is what the setting `device` takes; usable: this build has kernels for it."""
    name: str
    description: str
    memory_bytes: int
    usable: bool


@dataclasses.dataclass(frozen=True)
class Progress:
    """step of steps inside the phase; fraction of the whole, 0 .. 1, never decreasing; remaining_s is None while unknown."""
    phase: Phase
    step: int
    steps: int
    fraction: float
    elapsed_s: float
    remaining_s: Optional[float]


@dataclasses.dataclass(frozen=True)
class PlanPhase:
    name: str
    activation_bytes: int
    weight_bytes: int
    launches: int
    flops: float
    bytes: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run will need; the fields are swan.h's swan_plan."""
    width: int
    height: int
    frames: int
    fps: int
    steps: int
    tokens: int
    prompt_tokens: int
    mapped_bytes: int
    arena_bytes: int
    session_bytes: int
    state_bytes: int
    staging_bytes: int
    peak_bytes: int
    device_bytes: int
    device_base_bytes: int
    device_peak_bytes: int
    host_weight_bytes: int
    blocks: int
    blocks_streamed: int
    text_layers: int
    text_layers_streamed: int
    prompt_bus_bytes: int
    step_bus_bytes: int
    phases: tuple


@dataclasses.dataclass(frozen=True)
class Video:
    """A finished run. `frames`: uint8 [frames, height, width, 3] with NumPy, else a list of bytes; None when not asked for."""
    seed: int
    width: int
    height: int
    frame_count: int
    fps: int
    steps: int
    text_s: float
    denoise_s: float
    decode_s: float
    total_s: float
    close_s: float
    session_bytes: int
    process_peak_bytes: int
    device_bytes: int
    device_base_bytes: int
    device_peak_bytes: int
    output_bytes: int
    output: Optional[str]
    frames: Any = dataclasses.field(repr=False)


OnProgress = Callable[[Progress], Optional[bool]]  # False (not None) stops the run
OnPreview = Callable[[int, Frame], None]
OnFrame = Callable[[int, Frame], None]
OnLog = Callable[[int, str], None]


def version() -> str:
    """The version of the library."""
    return _lib().swan_version().decode()


def options() -> list[Option]:
    """The option table: every key that a keyword argument may name."""
    found = []
    while row := _lib().swan_option_at(len(found)):
        o = row.contents
        text = [s.decode() if s is not None else None for s in (o.key, o.flag, o.value, o.fallback, o.help)]
        found.append(Option(text[0] or "", text[1], text[2], text[3], text[4] or "", o.groups))
    return found


def devices() -> list[Device]:
    """The devices of this machine, the CPU first."""
    found, row = [], _DeviceSummary()
    while _lib().swan_device_at(len(found), ctypes.byref(row)):
        found.append(Device(row.name.decode(), row.description.decode("utf-8", "replace"), row.memory_bytes, row.usable))
    return found


def inspect(path: Union[str, os.PathLike]) -> dict:
    """The recipe in a video made by Swan: prompt, seed and every setting, by the keys of the option table."""
    out = ctypes.c_void_p()
    _check(_lib().swan_inspect(os.fsencode(path), ctypes.byref(out)))
    return json.loads(_taken(out))


def _as_text(value: Value) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, os.PathLike):
        return os.fsencode(value)
    if isinstance(value, float):
        return repr(value).encode()
    return str(value).encode("utf-8", "surrogateescape")


class _Params:
    """A swan_params; values of None are left alone, a size may be a pair."""

    def __init__(self, *settings: Mapping[str, Any]) -> None:
        self.handle = ctypes.c_void_p()
        _check(_lib().swan_params_new(ctypes.byref(self.handle)))
        try:
            for key, value in (item for group in settings for item in group.items()):
                if isinstance(value, (tuple, list)) and key == "size":
                    value = f"{value[0]}x{value[1]}"
                if value is not None:
                    _check(_lib().swan_params_set(self.handle, key.encode(), _as_text(value)))
        except BaseException:
            self.free()
            raise

    def get(self, key: str) -> str:
        return (_lib().swan_params_get(self.handle, key.encode()) or b"").decode("utf-8", "replace")

    def free(self) -> None:
        handle, self.handle = self.handle, ctypes.c_void_p()
        _lib().swan_params_free(handle)

    def __enter__(self) -> _Params:
        return self

    def __exit__(self, *_: Any) -> None:
        self.free()


def _pixels(width: int, height: int, rgb: int) -> Frame:
    """A copy of a borrowed frame."""
    raw = ctypes.string_at(rgb, width * height * 3)
    return numpy.frombuffer(raw, numpy.uint8).reshape(height, width, 3) if numpy else raw


class _Watcher:
    """The callbacks of one engine or session. An exception in one of them stops the run and is raised where it was started."""

    def __init__(self) -> None:
        self.on_progress: Optional[OnProgress] = None
        self.on_preview: Optional[OnPreview] = None
        self.on_frame: Optional[OnFrame] = None
        self.on_log: Optional[OnLog] = None
        self.raised: Optional[BaseException] = None

    def callbacks(self, frames: bool, previews: bool) -> _Callbacks:
        # the function objects must outlive the C side's copies: kept here
        self.kept = _Callbacks(None, _ON_PROGRESS(self.progress), _ON_LOG(self.log), _ON_FRAME(self.frame) if frames else _ON_FRAME(),
                               _ON_PREVIEW(self.preview) if previews else _ON_PREVIEW())
        return self.kept

    def guarded(self, function: Optional[Callable], *arguments: Any) -> Any:
        if function is None or self.raised is not None:
            return None
        try:
            return function(*arguments)
        except BaseException as error:  # C cannot carry it; KeyboardInterrupt arrives here too
            self.raised = error
            return None

    def progress(self, _: Any, at: Any) -> bool:
        p = at.contents
        told = Progress(Phase(p.phase), p.step, p.steps, p.fraction, p.elapsed_s, p.remaining_s if p.remaining_s >= 0 else None)
        return self.guarded(self.on_progress, told) is not False and self.raised is None

    def log(self, _: Any, level: int, text: bytes) -> None:
        self.guarded(self.on_log, level, text.decode("utf-8", "replace"))

    def frame(self, _: Any, index: int, width: int, height: int, rgb: int) -> None:
        self.guarded(self.on_frame, index, _pixels(width, height, rgb))

    def preview(self, _: Any, step: int, width: int, height: int, rgb: int) -> None:
        if self.on_preview:
            self.guarded(self.on_preview, step, _pixels(width, height, rgb))

    def reraise(self) -> None:
        raised, self.raised = self.raised, None
        if raised is not None:
            raise raised


# ---- engine and session ------------------------------------------------------------------------------------------------------

class Engine:
    """A model on a device, ready to run. Settings of the group MODEL (model, transformer, taehv, device, threads, kernels, ...)."""

    def __init__(self, *, on_progress: Optional[OnProgress] = None, on_log: Optional[OnLog] = None, **settings: Any) -> None:
        self._handle = ctypes.c_void_p()
        self._settings = settings
        self._sessions: list[Session] = []
        watcher = _Watcher()
        watcher.on_progress, watcher.on_log = on_progress, on_log
        with _Params(settings) as params:
            status = _lib().swan_engine_open(params.handle, ctypes.byref(watcher.callbacks(False, False)), ctypes.byref(self._handle))
            if watcher.raised and status == Status.OK:
                self.close()
            watcher.reraise()
            _check(status)

    def close(self) -> None:
        """Closes the engine and the sessions that are still open. Harmless when closed already."""
        for session in list(self._sessions):
            session.close()
        handle, self._handle = self._handle, ctypes.c_void_p()
        if handle:
            _lib().swan_engine_close(handle)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()

    def _open(self) -> ctypes.c_void_p:
        if not self._handle:
            raise Error(Status.INVALID, "the engine is closed")
        return self._handle

    def describe(self) -> dict:
        """The model, its recipe and the rule that chose it, its weights and kernels."""
        out = ctypes.c_void_p()
        _check(_lib().swan_engine_describe(self._open(), ctypes.byref(out)))
        return json.loads(_taken(out))

    def plan(self, **settings: Any) -> Plan:
        """What a run with these settings will need, from a dry run of the same code."""
        plan = _Plan()
        with _Params(self._settings, settings) as params:
            _check(_lib().swan_engine_plan(self._open(), params.handle, ctypes.byref(plan)))
        phases = tuple(PlanPhase(p.name.decode(), p.activation_bytes, p.weight_bytes, p.launches, p.flops, p.bytes)
                       for p in plan.phase[:plan.phase_count])
        return Plan(**{f.name: getattr(plan, f.name) for f in dataclasses.fields(Plan) if f.name != "phases"}, phases=phases)

    def session(self, *, previews: bool = False, frames: bool = True, **settings: Any) -> Session:
        """Reserves the memory for one geometry. previews: decode a frame after each step, for on_preview."""
        return Session(self, previews, frames, settings)


class Session:
    """Makes videos of one geometry, one at a time; made by Engine.session."""

    def __init__(self, engine: Engine, previews: bool, frames: bool, settings: Mapping[str, Any]) -> None:
        self._handle = ctypes.c_void_p()
        self._engine, self._collects, self._previews = engine, frames, previews
        self._watcher, self._lock, self._closing = _Watcher(), threading.Lock(), threading.Lock()
        self.plan = engine.plan(**settings)
        with _Params(engine._settings, settings) as params:
            self._seed, self._output = int(params.get("seed") or -1), params.get("output") or None
            _check(_lib().swan_session_open(engine._open(), params.handle, ctypes.byref(self._watcher.callbacks(True, previews)),
                                            ctypes.byref(self._handle)))
        engine._sessions.append(self)

    def generate(self, prompt: Optional[str] = None, *, seed: Optional[int] = None, on_progress: Optional[OnProgress] = None,
                 on_preview: Optional[OnPreview] = None, on_frame: Optional[OnFrame] = None, on_log: Optional[OnLog] = None) -> Video:
        """Makes one video. prompt None: the session's, else the model's own; seed None: the session's; below 0: random.

        on_progress(progress) stops the run by returning False. on_preview(step, frame), steps from 0, wants a session with previews=True.
        on_frame(index, frame) comes as soon as a frame is decoded, from another thread. An exception in any of them stops the
        run and is raised here.
        """
        if on_preview and not self._previews:
            raise Error(Status.INVALID, "on_preview: the session was opened without previews=True")
        if not self._lock.acquire(blocking=False):
            raise Error(Status.INVALID, "the session is making a video already")
        try:
            if not self._handle:
                raise Error(Status.INVALID, "the session is closed")
            return self._run(prompt, self._seed if seed is None else seed, on_progress, on_preview, on_frame, on_log)
        finally:
            self._lock.release()

    def _run(self, prompt: Optional[str], seed: int, on_progress: Optional[OnProgress], on_preview: Optional[OnPreview],
             on_frame: Optional[OnFrame], on_log: Optional[OnLog]) -> Video:
        plan, watcher, frames, report = self.plan, self._watcher, None, _Report()
        if self._collects:
            frames = numpy.empty((plan.frames, plan.height, plan.width, 3), numpy.uint8) if numpy else [b""] * plan.frames

        def keep(index: int, frame: Frame) -> None:
            if frames is not None:
                frames[index] = frame
            if on_frame:
                on_frame(index, frame)
        watcher.raised = None
        watcher.on_progress, watcher.on_preview, watcher.on_frame, watcher.on_log = on_progress, on_preview, keep, on_log
        status = _lib().swan_session_generate(self._handle, None if prompt is None else prompt.encode("utf-8", "surrogateescape"), seed,
                                              ctypes.byref(report))
        watcher.on_progress = watcher.on_preview = watcher.on_frame = watcher.on_log = None
        watcher.reraise()
        _check(status)
        told = {f.name: getattr(report, f.name) for f in dataclasses.fields(Video) if f.name not in ("frames", "frame_count", "output")}
        return Video(**told, frame_count=report.frames, output=self._output, frames=frames)

    def cancel(self) -> None:
        """Stops a running generate, which then raises Cancelled; when none runs, the next one stops at once. From any thread."""
        with self._closing:
            if self._handle:
                _lib().swan_session_cancel(self._handle)

    def close(self) -> None:
        """Gives the memory back. Harmless when closed already."""
        with self._lock, self._closing:
            handle, self._handle = self._handle, ctypes.c_void_p()
        if handle:
            _lib().swan_session_close(handle)
            self._engine._sessions.remove(self)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def generate(prompt: Optional[str] = None, *, on_progress: Optional[OnProgress] = None, on_preview: Optional[OnPreview] = None,
             on_log: Optional[OnLog] = None, frames: bool = True, **settings: Any) -> Video:
    """One video, from opening the model to the last frame: generate("a red ball", size="224x160", output="ball.mp4")."""
    engine_keys = {o.key for o in options() if o.groups & Option.MODEL}
    with Engine(on_log=on_log, **{k: v for k, v in settings.items() if k in engine_keys}) as engine:
        run = {k: v for k, v in settings.items() if k not in engine_keys}
        with engine.session(previews=on_preview is not None, frames=frames, **run) as session:
            return session.generate(prompt, on_progress=on_progress, on_preview=on_preview, on_log=on_log)
