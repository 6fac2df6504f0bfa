#!/usr/bin/env python3
"""Checks the budgets of files, functions and options (CONTRIBUTING.md).

    python3 tools/check_sizes.py [ROOT]

A warning is printed and does no harm; a line without "warning" fails. Files whose first line says "generated" are exempt.
Standard library only.
"""

import pathlib
import re
import sys

# suffix -> (lines that warn, lines that fail)
LINES = {".c": (800, 1200), ".cc": (800, 1200), ".inc": (800, 1200), ".cu": (600, 1000), ".cuh": (600, 1000), ".h": (200, 200)}
FUNCTION_LINES = 80
PARAMETERS = (6, 8)  # more than the first warn, more than the second fail
OPTIONS = 40
OPTION_TABLE = "src/pipe/params.c"
OPTION_ROW = re.compile(r'^\s*\{\{"[a-z0-9_]+",')
FOLDERS = ("include", "src", "tests")

NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
CONTAINER = re.compile(r'\b(?:namespace|struct|class|union)\b[^()]*$|^\s*extern\s*$')


def blank(match):
    """As many lines, no text."""
    return re.sub(r"[^\n]", " ", match[0])


def without_noise(text):
    """The text without comments, literals and preprocessor lines, line by line where it was."""
    text = NOISE.sub(blank, text)
    lines, goes_on = [], False
    for line in text.split("\n"):
        directive = goes_on or line.lstrip().startswith("#")
        goes_on = directive and line.endswith("\\")
        lines.append("" if directive else line)
    return "\n".join(lines)


def count_parameters(inner):
    """Of the text between a parameter list's parentheses."""
    inner = inner.strip()
    if inner in ("", "void"):
        return 0
    depth = 0
    parameters = 1
    for c in inner:
        depth += (c in "([<") - (c in ")]>")
        parameters += c == "," and depth == 0
    return parameters - inner.endswith("...")


def signature(head):
    """(name, parameters) of a function whose text before '{' is head, or None."""
    if head.rstrip().endswith("="):
        return None
    close = head.rfind(")")
    if close < 0:
        return None
    depth, open_ = 0, close
    while open_ >= 0:
        depth += (head[open_] == ")") - (head[open_] == "(")
        if depth == 0:
            break
        open_ -= 1
    name = re.search(r"(\w+)\s*$", head[:max(open_, 0)])
    return (name[1], count_parameters(head[open_ + 1:close])) if name else None


def functions(text):
    """Yields (name, first line, last line, parameters) of every function body in C, C++ or CUDA text."""
    text = without_noise(text)
    line, start, depth, round_ = 1, 0, 0, 0
    start_line, inside = None, None
    for at, c in enumerate(text):
        if c == "\n":
            line += 1
            continue
        if start_line is None and not c.isspace():
            start, start_line = at, line
        if depth == 0:
            round_ += (c == "(") - (c == ")")
        if round_:
            continue
        if c == "{":
            if depth == 0:
                head = text[start:at]
                if CONTAINER.search(head):
                    start_line = None  # look inside
                    continue
                found = signature(head)
                inside = (found[0], start_line, found[1]) if found else None
            depth += 1
        elif c == "}":
            if depth == 0:  # the end of a container
                start_line = None
                continue
            depth -= 1
            if depth == 0 and inside:
                yield inside[0], inside[1], line, inside[2]
                inside, start_line = None, None
        elif c == ";" and depth == 0:
            start_line = None


def check_file(name, text):
    """Yields (line, is a warning, complaint)."""
    lines = text.count("\n") + (not text.endswith("\n"))
    warn, fail = LINES[pathlib.PurePosixPath(name).suffix]
    if lines > warn:
        yield lines, lines <= fail, f"{lines} lines, the budget is {warn}" + (f" (hard {fail})" if fail > warn else "")
    for function, first, last, parameters in functions(text):
        if last - first + 1 > FUNCTION_LINES:
            yield first, False, f"{function} has {last - first + 1} lines, the budget is {FUNCTION_LINES}"
        if parameters > PARAMETERS[0]:
            yield first, parameters <= PARAMETERS[1], f"{function} has {parameters} parameters, the budget is {PARAMETERS[0]}"


def check_options(text):
    rows = [number for number, line in enumerate(text.splitlines(), 1) if OPTION_ROW.match(line)]
    if not rows:
        yield 1, False, "no rows of the option table were found"
    elif len(rows) > OPTIONS:
        yield rows[OPTIONS], False, f"{len(rows)} options, the budget is {OPTIONS}"


def main(args):
    root = pathlib.Path(args[0] if args else pathlib.Path(__file__).parents[1]).resolve()
    paths = sorted(p for folder in FOLDERS for p in (root / folder).rglob("*") if p.suffix in LINES)
    failures = warnings = 0
    for path in paths:
        name, text = path.relative_to(root).as_posix(), path.read_text(errors="replace")
        if "generated" in text.split("\n", 1)[0]:
            continue
        found = list(check_file(name, text)) + (list(check_options(text)) if name == OPTION_TABLE else [])
        for line, warning, complaint in sorted(found):
            print(f"{name}:{line}: {'warning: ' if warning else ''}{complaint}")
            warnings += warning
            failures += not warning
    print(f"sizes: {len(paths)} files, {failures} violations, {warnings} warnings")
    return 1 if failures or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
