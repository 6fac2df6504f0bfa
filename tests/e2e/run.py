#!/usr/bin/env python3
"""The program as a person runs it: commands, output, progress, signals, and every kind of bad input.

    tests/e2e/run.py build/release/swan [unittest options and names]

Standard library only; ffprobe is used when it is there. Takes well under a minute.
"""

import pathlib
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import harness  # noqa: E402

# What a machine may lack. A skip for any other reason is a failure.
KNOWN_SKIPS = ("no ffprobe", "no bash", "mounting a small file system takes root", "no file system can be mounted here",
               "sanitizers reserve more address space than any limit")


def main(args):
    if not args or args[0].startswith("-"):
        sys.exit(__doc__)
    harness.SWAN = pathlib.Path(args[0]).resolve()
    if not harness.SWAN.is_file():
        sys.exit(f"{args[0]}: there is no such program")
    harness.SANITIZED = any(name in harness.SWAN.read_bytes() for name in (b"__asan_init", b"__tsan_init"))
    loader, options = unittest.TestLoader(), [a for a in args[1:] if a.startswith("-")]
    names = [a for a in args[1:] if not a.startswith("-")]
    suite = loader.loadTestsFromNames(names) if names else loader.discover(str(HERE), "case_*.py")
    start = time.monotonic()
    result = unittest.TextTestRunner(verbosity=2 if "-v" in options else 1, failfast="-f" in options).run(suite)
    skipped = "".join(f"\n  skipped {test.id()}: {why}" for test, why in result.skipped)
    new = [why for _, why in result.skipped if why not in KNOWN_SKIPS]
    print(f"{result.testsRun} tests in {time.monotonic() - start:.1f} s, {len(result.skipped)} skipped{skipped}")
    if new:
        print(f"skips that are not known: {new}")
    return bool(new) or not result.wasSuccessful()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
