#!/usr/bin/env python3
"""Checks the layer rule from the #include lines of src/ and include/. The table below is the rule; docs/TOUR.md explains it.

    python3 tools/check_layers.py [ROOT]

Prints one line `file:line: what` for each violation and exits with 1 when there is any. Standard library only.
"""

import pathlib
import re
import sys

# module -> layer. A file includes its own module, every lower layer, and the siblings named below; nothing else.
LAYER = {
    "base": 0,
    "tensor": 1, "quant": 1, "ckpt": 1, "tok": 1, "sched": 1, "media": 1, "hub": 1, "world": 1,
    "kernel": 2,
    "ops": 3,
    "attn": 4, "model": 4,
    "pipe": 5, "train": 5,
    "server": 6, "cli": 6,
}
SIBLINGS = {("ckpt", "tensor"), ("quant", "tensor"), ("model", "attn")}
# Modules that see less than all lower layers.
ONLY = {
    "world": set(),  # a library of its own: also compiled into the training tools
    "kernel": {"base", "tensor", "quant"},
    "server": {"base", "hub", "media"},  # media: pictures; videos come from the engine
    "cli": {"hub", "server"},
}
# Single headers and files beyond that, each with its reason.
EXTRA_HEADERS = {"cli": {"base/status.h"},  # to fail as the library does
                 "src/cli/cmd_bench.c": {"pipe/output.h"}}  # to compare a session's frames with the file that it wrote
INSIDERS = {"src/cli/cmd_bench.c", "src/cli/cmd_kernels.c", "src/cli/cmd_verify.c", "src/cli/cmd_train.c"}  # look below swan.h

# <swan/swan.h> is the face of pipe, which the outer layers use; base takes the status codes from it.
PUBLIC_HEADER = {"base", "pipe", "train", "server", "cli"}

# Header prefix -> the places that own the library.
LIBRARIES = {
    "jansson.h": ("src/ckpt/", "src/hub/", "src/pipe/", "src/cli/", "src/server/"),
    "libav": ("src/media/",),
    "libsw": ("src/media/",),
    "sentencepiece": ("src/tok/",),
    "absl/": ("src/tok/",),
    "cblas.h": ("src/kernel/cpu/",),
    "immintrin.h": ("src/kernel/cpu/",),
    "cuda": ("src/kernel/cuda/",),
    "cublas": ("src/kernel/cuda/",),
    "curl/": ("src/hub/",),
    "zip.h": ("src/ckpt/",),
    "microhttpd.h": ("src/server/",),
    "sqlite3.h": ("src/server/",),
    "nccl.h": ("src/train/",),
}
C_AND_POSIX = set("""assert ctype errno float inttypes limits locale math setjmp signal stdalign stdarg stdatomic stdbool stddef
    stdint stdio stdlib string strings time tgmath dirent dlfcn fcntl getopt glob poll pthread sched semaphore unistd
    arpa/inet netinet/in spawn sys/mman sys/random sys/resource sys/socket sys/stat sys/statvfs sys/time sys/types sys/wait""".split())

# Where other languages than C are allowed.
CPLUSPLUS = (".cc", ".cpp", ".cxx", ".hpp", ".hh")
CUDA = (".cu", ".cuh")
SOURCES = (".c", ".h", ".inc", ".def") + CPLUSPLUS + CUDA

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def check_language(name):
    """A complaint about the file's language, or None."""
    suffix = pathlib.PurePosixPath(name).suffix
    if suffix in CUDA and not name.startswith("src/kernel/cuda/"):
        return "CUDA belongs into src/kernel/cuda"
    if suffix in CPLUSPLUS and not name.startswith(("src/kernel/", "src/tok/")):
        return "C++ belongs into src/kernel and the binding in src/tok"
    return None


def check_system(name, module, header):
    if header == "swan/swan.h":
        return None if module in PUBLIC_HEADER else f"{module} does not see <swan/swan.h>, it includes base/status.h"
    for prefix, places in LIBRARIES.items():
        if header.startswith(prefix):
            return None if name.startswith(places) else f"<{header}> is used in {', '.join(places)} only"
    if header.removesuffix(".h") in C_AND_POSIX and header.endswith(".h"):
        return None
    if "." not in header and name.endswith(CPLUSPLUS + CUDA):
        return None  # the C++ standard library
    return f"<{header}> is no header of C or POSIX and no library in tools/check_layers.py"


def check_own(root, name, module, header):
    target = header.split("/")[0]
    if target not in LAYER or "/" not in header:
        return f'"{header}": wanted a path below src/, such as "base/status.h"'
    if not (root / "src" / header).is_file():
        return f'"{header}" is not in src/'
    if target == module or header in EXTRA_HEADERS.get(module, ()) or header in EXTRA_HEADERS.get(name, ()):
        return None
    if name in INSIDERS and LAYER[target] < LAYER["pipe"]:
        return None
    if module in ONLY:
        seen = ONLY[module]
        return None if target in seen else f"{module} sees {', '.join(sorted(seen)) or 'no other module'}, not {target}"
    if (module, target) in SIBLINGS or LAYER[target] < LAYER[module]:
        return None
    return f"{module} (layer {LAYER[module]}) does not see {target} (layer {LAYER[target]})"


def check_file(root, path):
    """Yields (line, complaint)."""
    name = path.relative_to(root).as_posix()
    complaint = check_language(name)
    if complaint:
        yield 1, complaint
    public = name.startswith("include/")
    module = "swan.h" if public else name.split("/")[1]
    if not public and module not in LAYER:
        yield 1, f"module {module} has no layer in tools/check_layers.py"
        return
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        own, header = found[1] == '"', found[2]
        if public:
            complaint = None if not own and header.removesuffix(".h") in C_AND_POSIX else "the public header includes standard C only"
        else:
            complaint = check_own(root, name, module, header) if own else check_system(name, module, header)
        if complaint:
            yield number, complaint


def main(args):
    root = pathlib.Path(args[0] if args else pathlib.Path(__file__).parents[1]).resolve()
    paths = sorted(p for folder in ("include", "src") for p in (root / folder).rglob("*") if p.suffix in SOURCES)
    violations = 0
    for path in paths:
        for line, complaint in check_file(root, path):
            print(f"{path.relative_to(root).as_posix()}:{line}: {complaint}")
            violations += 1
    print(f"layers: {len(paths)} files, {violations} violations")
    return 1 if violations or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
