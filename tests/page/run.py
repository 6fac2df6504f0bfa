#!/usr/bin/env python3
"""The page of `swan serve` in a real headless Chromium, against the stand-in of mock.py. Standard library only.

    python3 tests/page/run.py --swan build/release/swan [--out build/page-shots] [TEST...]

Exits with 77 (skipped) when there is no Chromium; SWAN_CHROMIUM names one that is not on the path.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types

import browser
import mock

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = {"prompt": "a red ball \u2013 rolling over \u201cgreen\u201d hills", "seed": 4294967295, "size": "96x80", "frames": 9, "steps": 2,
          "guidance": 2.5, "shift": 4, "negative": "rain", "fps": 8}


class Case:
    """What a test gets: a fresh server, and pages of one browser."""

    def __init__(self, args, chromium, clips, out):
        self.args, self.chromium, self.clips, self.out, self.pages, self.servers, self.processes, self.said = args, chromium, clips, out, [], [], [], []

    def server(self, **settings):
        settings.setdefault("pace", 0.03)
        server = mock.Server(self.clips, **settings)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)
        return server

    def page(self, server, **media):
        page = self.chromium.page(**media)
        self.pages.append(page)
        page.go(server.url)
        if not server.key:
            page.until("document.getElementById('status').textContent.includes('tinyworld')")
        return page

    def real(self, folder, *options):
        """`swan serve` itself, with the built-in model; None when this build has no server."""
        process = subprocess.Popen([self.args.swan, "serve", "--port", "0", "--threads", "2", "--data", folder, *options],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                break
        else:
            process.wait()
            if "no command" in said:
                return None
            raise AssertionError("swan serve: " + said)
        threading.Thread(target=lambda: self.said.extend(process.stdout), daemon=True).start()
        self.processes.append(process)
        return types.SimpleNamespace(url=found[0], key="")

    def end(self):
        for page in self.pages:
            page.close()
        for process in self.processes:
            process.terminate()
            process.wait(20)
        for server in self.servers:
            server.close()


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def fill(page, prompt):
    page.js("document.getElementById('prompt').value = ''")
    page.click("#prompt")
    page.type(prompt)


CARDS = "document.querySelectorAll('.card').length"
RUNS = "!document.getElementById('now').hidden && !document.getElementById('bar').hidden"
PREVIEW = "!document.getElementById('front').hidden && document.getElementById('front').naturalWidth > 0"
FILM = "!document.getElementById('film').hidden && document.getElementById('film').currentTime > 0"


# ---- the tests -------------------------------------------------------------------------------------------------------------

def generate(c):
    """A prompt becomes a video: phases, a bar that never goes back, changing previews, a film that plays, a card."""
    server = c.server(pace=0.06)
    page = c.page(server)
    fill(page, "a red ball rolling to the right over green hills")
    page.click("#go")
    page.until(PREVIEW)
    seen, progress, phases = set(), [], set()
    while page.js(RUNS):
        state = page.js("[document.getElementById('front').src, +document.getElementById('bar').getAttribute('aria-valuenow'),"
                        " document.querySelector('[aria-current=step]')?.textContent, document.getElementById('left').textContent]")
        seen.add(state[0])
        progress.append(state[1])
        phases.add(state[2])
        if len(seen) == 6:
            c.shoot = page.shoot(c.out / "running.png")
    expect(len(seen) > 5, f"{len(seen)} previews seen")
    expect(progress == sorted(progress) and len(set(progress)) > 5, f"progress went {progress}")
    expect({"Denoising", "Decoding"} <= phases, f"phases seen: {phases}")
    page.until(FILM)
    page.until(f"{CARDS} === 1")
    page.until("document.querySelector('.card img').naturalWidth > 0")
    page.equal("document.title", "Swan", "the title tells of no work")
    expect("made in" in page.text("#left"), page.text("#left"))
    job = next(iter(server.jobs.jobs.values()))
    expect((job["size"], job["num_frames"], job["num_inference_steps"]) == ("224x160", 33, 20), f"asked with the defaults: {job}")
    outside = [u for u in page.requests if not u.startswith((server.url, "data:", "blob:"))]
    expect(not outside, f"requests to elsewhere: {outside}")
    expect(not page.complaints, f"complaints: {page.complaints}")


def settings(c):
    """Every setting of the form reaches the server."""
    server = c.server()
    page = c.page(server)
    fill(page, "a blue boat")
    page.js("document.getElementById('finer').open = true")
    page.click("input[value=own]")
    for field, value in (("width", "96"), ("height", "64"), ("seed", "7"), ("negative", "rain"), ("guidance", "2.5"), ("shift", "3"), ("fps", "8")):
        page.js(f"document.getElementById('{field}').select()")
        page.type(value)
    for field, value in (("frames", 17), ("steps", 3)):
        page.js(f"(e => {{ e.value = {value}; e.dispatchEvent(new Event('input', {{bubbles: true}})); }})(document.getElementById('{field}'))")
    expect("2 s" in page.text("#frames-out") and "17" in page.text("#frames-out"), page.text("#frames-out"))
    page.click("#go")
    job = browser.wait(lambda: next(iter(server.jobs.jobs.values()), None), "a job")
    wanted = {"prompt": "a blue boat", "size": "96x64", "seed": 7, "negative_prompt": "rain", "guidance_scale": 2.5, "flow_shift": 3, "fps": 8,
              "num_frames": 17, "num_inference_steps": 3}
    expect({k: job[k] for k in wanted} == wanted, f"asked for {job}")


def cancel(c):
    """Stop ends the running job and gives its place to the next; a waiting one can be cancelled too."""
    server = c.server(pace=0.1)
    page = c.page(server)
    for prompt in ("first", "second", "third"):
        fill(page, prompt)
        page.click("#go")
        browser.wait(lambda: any(j["prompt"] == prompt for j in server.jobs.jobs.values()), prompt)
        page.until("!document.getElementById('go').hasAttribute('aria-disabled')")
    page.until("document.querySelectorAll('#queue li').length === 2")
    page.until(PREVIEW)
    page.until("[...document.querySelectorAll('#queue li p')].map(p => p.textContent).join() === 'second,third'")
    page.click("#queue li:nth-child(2) button")
    page.until("document.querySelectorAll('#queue li').length === 1")
    expect([j["prompt"] for j in server.jobs.jobs.values()] == ["first", "second"], "the third is gone")
    page.click("#now-acts button")
    page.until("document.getElementById('now-said').textContent === 'second'")
    page.holds("document.getElementById('front').hidden", "the preview of the first is gone")
    page.click("#now-acts button")
    page.until("document.getElementById('now').hidden")
    expect(not server.jobs.jobs and page.js(CARDS) == 0, "nothing is left")


def reload(c):
    """A reload in the middle of a job goes on watching it, and keeps the form."""
    server = c.server(pace=0.12)
    page = c.page(server)
    fill(page, "a yellow star moving up over the sea")
    page.js("document.getElementById('seed').focus()")
    page.type("99")
    page.click("#go")
    page.until(PREVIEW)
    page.go()
    page.until(RUNS)
    page.until(PREVIEW)
    at = page.js("+document.getElementById('bar').getAttribute('aria-valuenow')")
    expect(0 < at < 100, f"at {at}")
    expect(page.js("[document.getElementById('prompt').value, document.getElementById('seed').value]") ==
           ["a yellow star moving up over the sea", "99"], "the form is kept")
    page.until(FILM)
    page.until(f"{CARDS} === 1")
    expect(sum(1 for m, p in server.seen if (m, p) == ("POST", "/v1/videos")) == 1, "asked for once")


def drop(c):
    """A dropped mp4 of Swan fills the form from its recipe; another file is refused with its name; nothing is sent."""
    server = c.server()
    page = c.page(server)
    page.drop(c.recipe, leave=True)
    page.until("!document.getElementById('drop').hidden")
    page.shoot(c.out / "drop.png")
    page.drop(c.recipe)
    page.until("document.getElementById('note').textContent.includes('recipe.mp4')")
    page.holds("document.getElementById('drop').hidden", "the overlay is gone")
    got = page.js("Object.fromEntries(['prompt', 'seed', 'frames', 'steps', 'guidance', 'shift', 'negative', 'fps', 'width', 'height']"
                  ".map(k => [k, document.getElementById(k).value]).concat([['shape', document.querySelector('input[name=shape]:checked').value]]))")
    wanted = {**{k: str(v) for k, v in RECIPE.items() if k != "size"}, "width": "96", "height": "80", "shape": "own"}
    expect(got == wanted, f"form {got}, recipe {wanted}")
    whole, moov = c.recipe.read_bytes(), c.recipe.read_bytes().index(b"moov")
    names = {"other.mp4": b"no video", "cut.mp4": whole[:moov + 200], "empty.mp4": b"", "plain.mp4": whole.replace(b"\xa9cmt", b"\xa9xyz"),
             "huge.mp4": whole[:moov - 4] + b"\0\0\0\1moov" + b"\xff" * 40, "zeros.mp4": b"\0" * 4096,
             "bad.mp4": whole.replace(b'{"swan":', b'{"swan";')}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in names.items():
            (pathlib.Path(folder) / name).write_bytes(data)
            page.drop(pathlib.Path(folder) / name)
            page.until(f"document.getElementById('error').textContent.includes({json.dumps(name)})")
    page.equal("document.getElementById('prompt').value", RECIPE["prompt"], "a refused file changes nothing")
    expect(not [s for s in server.seen if s[0] != "GET"], "nothing was sent")
    expect(not page.complaints, f"complaints: {page.complaints}")


def keyboard(c):
    """Everything by keys alone: the skip link, the form, sending, stopping, playing, closing, deleting."""
    server = c.server(pace=0.1)
    server.seed(mock.SEEDED[:2])
    page = c.page(server)
    page.until(f"{CARDS} === 2")
    name = "((e) => [e.id, e.getAttribute('aria-label') || (e.labels && [...e.labels].map(l => l.innerText).join(' ')) || e.innerText, e.tagName])(document.activeElement)"
    ring = ("(e => { const s = getComputedStyle(e), n = e.nextElementSibling && getComputedStyle(e.nextElementSibling);"
            " return parseFloat(s.outlineWidth) >= 2 && s.outlineStyle !== 'none' || n && parseFloat(n.outlineWidth) >= 2; })(document.activeElement)")
    page.key("Tab")
    expect("Skip" in page.js("document.activeElement.textContent"), "the first stop is the skip link")
    page.key("Enter")
    page.until("location.hash === '#prompt'")
    page.key("Tab")
    stops = []
    for _ in range(40):
        about = page.js(name)
        expect(about[1] and about[1].strip(), f"no name: {about}")
        page.holds(ring, f"no focus ring: {about}")
        stops.append(about[0] or about[1].strip())
        if about[2] == "A":
            break
        page.key("Tab")
    for stop in ("frames", "steps", "seed", "go", "open"):
        expect(stop in stops, f"{stop} is not among the stops {stops}")
    expect(sum(s.startswith("Play") for s in stops) == 2 and sum(s.startswith("Delete") for s in stops) == 2, f"cards in {stops}")
    page.js("document.getElementById('frames').focus()")
    before = page.js("+document.getElementById('frames').value")
    page.key("ArrowRight")
    page.equal("+document.getElementById('frames').value", before + 4, "an arrow key makes it longer by 4 frames")
    page.js("document.querySelector('input[name=shape]').focus()")
    page.key("ArrowRight")
    page.equal("document.querySelector('input[name=shape]:checked').value", "square", "an arrow key chooses the next shape")
    page.js("document.getElementById('prompt').focus()")
    page.type("by keys alone")
    page.key("Enter", control=True)
    page.until(PREVIEW)
    expect("working" in page.text("#status") and page.js("document.getElementById('live').textContent"), "it is told in words too")
    page.js("document.querySelector('#now-acts button').focus()")
    page.key("Enter")
    page.until("document.getElementById('now').hidden")
    page.equal("document.activeElement.id", "go", "the focus is back at the form")
    page.js("document.querySelector('.card .shot').focus()")
    page.until("document.querySelector('.card video')?.currentTime > 0")
    page.key("Enter")
    page.until("document.getElementById('viewer').open && document.getElementById('v-film').currentTime > 0")
    page.key("Escape")
    page.until("!document.getElementById('viewer').open")
    page.equal("document.activeElement.className", "shot", "the focus is back at the card")
    page.js("document.querySelector('.card .icon:last-child').focus()")
    page.key(" ")
    expect(len(server.jobs.jobs) == 2 and page.js(CARDS) == 2, "one press deletes nothing")
    page.key(" ")
    page.until(f"{CARDS} === 1")
    page.equal("document.activeElement.className", "shot", "the focus is at the next card")
    expect(len(server.jobs.jobs) == 1, "one is left")
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    nameless = [n["role"]["value"] for n in tree if not n.get("ignored") and n.get("role", {}).get("value") in
                ("button", "textbox", "slider", "radio", "link", "spinbutton", "dialog", "progressbar", "region", "form", "list") and
                not n.get("name", {}).get("value") and n["role"]["value"] not in ("list",)]
    expect(not nameless, f"without a name: {nameless}")


def gallery(c):
    """Hover plays, settings are copied, download has a name, delete wants a second press, failures tell why."""
    server = c.server()
    server.seed(mock.SEEDED[:3])
    page = c.page(server)
    page.until(f"{CARDS} === 3")
    at = page.js("(r => [r.x + 50, r.y + 50])(document.querySelector('.card').getBoundingClientRect())")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])
    page.until("document.querySelector('.card video')?.currentTime > 0")
    page.holds("document.querySelector('.card video').muted && document.querySelector('.card video').loop", "muted and looping")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)
    page.until("!document.querySelector('.card video')")
    page.click(".card:nth-child(2) .icon:nth-child(1)")
    page.equal("document.getElementById('prompt').value", mock.SEEDED[1], "the prompt is copied")
    page.equal("document.getElementById('seed').value", str(len(mock.SEEDED[1])), "the seed is copied")
    page.js("window.got = ''; document.addEventListener('click', e => { if (e.target.download) { e.preventDefault(); window.got = e.target.download + ' ' + e.target.href; } }, true)")
    page.click(".card .icon:nth-child(2)")
    page.until("window.got")
    expect(re.match(r"a-small-blue-boat-moving-to-the-left-on-the-sea\.mp4 http", page.js("window.got")), page.js("window.got"))
    page.click(".card .shot")
    page.until("document.getElementById('viewer').open && document.getElementById('v-film').currentTime > 0")
    expect("224 × 160" in page.text("#v-facts"), page.text("#v-facts"))
    page.shoot(c.out / "viewer.png")
    page.key("Escape")
    page.click(".card .icon:last-child")
    page.click(".card .icon:last-child")
    page.until(f"{CARDS} === 2")
    fill(page, "this will fail")
    page.click("#go")
    page.until("document.querySelector('.card .why')?.textContent.includes('the worker was replaced')")
    page.js("document.querySelector('.card .why').scrollIntoView({block: 'end'})")
    page.shoot(c.out / "failed.png")


def errors(c):
    """What the server refuses is told at the field, in its words; a full queue and a server that is away are told too."""
    server = c.server(pace=5)
    page = c.page(server)
    page.click("#go")
    page.until("!document.getElementById('say-prompt').hidden")
    page.equal("document.activeElement.id + document.activeElement.getAttribute('aria-invalid')", "prompttrue", "the field is marked")
    fill(page, "too large")
    page.click("input[value=own]")
    for field, value in (("width", "4096"), ("height", "4096")):
        page.js(f"document.getElementById('{field}').select()")
        page.type(value)
    page.click("#go")
    page.until("document.getElementById('say-size').textContent.includes('this server makes at most')")
    page.click("input[value=wide]")
    page.holds("document.getElementById('say-size').hidden", "a change takes the message away")
    page.js("document.getElementById('seed').focus()")
    page.type("ten")
    page.click("#go")
    page.until("!document.getElementById('say-seed').hidden")
    page.shoot(c.out / "error.png")
    page.js("document.getElementById('seed').value = ''")
    for i in range(9):
        server.jobs.add({"prompt": f"waiting {i}"})
    page.click("#go")
    page.until("document.getElementById('error').textContent === 'the queue is full. Try again in 20 s.'")
    page.equal("document.getElementById('error').getAttribute('role')", "alert", "spoken at once")
    server.close()
    page.click("#go")
    page.until("document.getElementById('error').textContent.includes('cannot be reached')")
    page.until("document.getElementById('dot').className === 'dot off'")


def key(c):
    """A server with a key: asked for once, a wrong one is refused, kept for the tab, films work."""
    server = c.server(key="correct horse")
    server.seed(mock.SEEDED[:1])
    page = c.page(server)
    page.until("document.getElementById('key').open")
    page.shoot(c.out / "key.png")
    page.type("wrong")
    page.key("Enter")
    page.until("document.getElementById('key-say').textContent")
    page.type("correct horse")
    page.key("Enter")
    page.until(f"{CARDS} === 1")
    page.until("document.querySelector('.card img').naturalWidth > 0")
    fill(page, "with a key")
    page.click("#go")
    page.until(PREVIEW)
    page.until(FILM)
    expect(page.js("document.getElementById('film').src").startswith("blob:"), "the film came with the key")
    page.go()
    page.until(f"{CARDS} === 2")
    expect(not page.js("document.getElementById('key').open"), "not asked for again")
    expect("horse" not in page.js("JSON.stringify(Object.entries(localStorage)) + document.cookie"), "kept in the tab alone")


def polling(c):
    """Without events the page asks again and again."""
    server = c.server(pace=0.15, with_events=False)
    page = c.page(server)
    fill(page, "without events")
    page.click("#go")
    page.until("+document.getElementById('bar').getAttribute('aria-valuenow') > 20")
    page.until(FILM)
    page.until(f"{CARDS} === 1")


def hostile(c):
    """Words of others stay words; a list longer than a page goes on; two windows see the same."""
    server = c.server()
    evil = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    server.seed([evil] + [f"video {i}" for i in range(29)])
    page = c.page(server)
    page.until(f"{CARDS} === 24")
    page.click("#more button")
    page.until(f"{CARDS} === 30")
    page.holds("[...document.querySelectorAll('.card .said')].some(p => p.textContent.startsWith('<img'))", "it is shown as text")
    expect(page.js("document.title") == "Swan" and not page.complaints, f"{page.js('document.title')} {page.complaints}")
    other = c.page(server)
    other.until(f"{CARDS} === 24")
    server.jobs.add({"prompt": "from elsewhere"})
    page.until("[...document.querySelectorAll('.card .said')].some(p => p.textContent === 'from elsewhere')", 20)
    page.equal(CARDS, 31, "and nothing was lost")


def contrast(css, scheme):
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", css))

    def luminance(name):
        channels = [int(colours[name][i:i + 2], 16) / 255 for i in (1, 3, 5)]
        return sum(w * (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4) for w, c in zip((0.2126, 0.7152, 0.0722), channels))
    for text, ground, least in [("ink", "paper", 7), ("ink", "card", 7), ("ink", "sunk", 7), ("soft", "paper", 4.5), ("soft", "card", 4.5), ("soft", "sunk", 4.5),
                                ("deep", "card", 4.5), ("deep", "wash", 4.5), ("deep", "paper", 4.5), ("on-deep", "deep", 4.5), ("on-deep", "deep-hover", 4.5),
                                ("bad", "card", 4.5), ("bad", "bad-wash", 4.5), ("ink", "wash", 7)]:
        a, b = sorted((luminance(text), luminance(ground)))
        expect((b + .05) / (a + .05) >= least, f"{scheme}: {text} on {ground}: contrast {(b + .05) / (a + .05):.2f}, wanted {least}")


def looks(c):
    """Light and dark, desk and phone: nothing wider than the window, enough contrast, small; pictures for people to look at."""
    text = mock.PAGE.read_text()
    expect(len(text.encode()) <= 60 * 1024, f"the page has {len(text.encode())} bytes")
    urls = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[^'\"\s]*", text)) - {"http://www.w3.org/2000/svg"}
    expect(not urls, f"addresses of elsewhere in the page: {urls}")
    light, dark = re.findall(r":root \{(.*?)\}", text, re.S)[:2]
    contrast(light, "light")
    contrast(dark, "dark")
    server = c.server(pace=0.2)
    server.seed(mock.SEEDED)
    for dark in (False, True):
        for name, width, height in (("desk", 1280, 900), ("phone", 390, 844), ("narrow", 320, 640)):
            page = c.page(server, width=width, height=height, dark=dark, calm=name == "narrow")
            page.until(f"{CARDS} >= 6 && [...document.querySelectorAll('.card img')].slice(0, 2).every(i => i.complete)")
            wide = page.js("document.documentElement.scrollWidth")
            expect(wide <= width, f"{name}: {wide} pixels wide in a window of {width}")
            small = page.js("[...document.querySelectorAll('button, input, summary')].filter(e => e.offsetParent && e.getBoundingClientRect().height < 24)"
                            ".map(e => e.id || e.className || e.tagName)") if width < 600 else []
            expect(not [s for s in small if s != "chip"], f"{name}: too small to touch: {small}")
            if name == "narrow":
                page.js("document.querySelector('.card .shot').focus()")
                time.sleep(0.1)
                expect(not page.js("document.querySelector('.card video')"), "with less motion wanted, nothing plays by itself")
                page.equal("getComputedStyle(document.querySelector('.swim')).animationName", "none", "and nothing swims")
            else:
                page.shoot(c.out / f"{name}-{'dark' if dark else 'light'}.png")
            page.close()
            c.pages.remove(page)


def served(c):
    """The same page from `swan serve`, with the built-in model: a video, a reload, a stop, an error, a copy, a delete."""
    with tempfile.TemporaryDirectory(prefix="swan-page-") as folder:
        server = c.real(folder)
        if not server:
            print("skip  served: this program was built without its server")
            return
        page = c.page(server)
        page.js("document.getElementById('finer').open = true")
        page.drop(c.recipe)
        page.until("document.getElementById('note').textContent.includes('recipe.mp4')")
        page.js("for (const [id, value] of [['steps', 40], ['frames', 33]]) { document.getElementById(id).value = value;"
                " document.getElementById(id).dispatchEvent(new Event('input', {bubbles: true})); }")
        fill(page, "a red ball rolling to the right over green hills")
        page.click("#go")
        page.until(PREVIEW, 30)
        page.shoot(c.out / "served-running.png")
        page.go()
        page.until(RUNS)
        page.js("window.seen = 0; new MutationObserver(() => window.seen++).observe(document.getElementById('front'), {attributeFilter: ['src']})")
        page.until(FILM, 30)
        expect(page.js("window.seen") > 2, f"{page.js('window.seen')} previews seen after the reload")
        page.until("document.querySelector('.card img')?.naturalWidth > 0")
        page.shoot(c.out / "served-done.png")
        wanted = {"size": "96x80", "num_frames": 33, "num_inference_steps": 40, "guidance_scale": 2.5, "flow_shift": 4, "seed": RECIPE["seed"], "fps": 8}
        job = page.js("fetch('/v1/videos').then(r => r.json()).then(l => l.data[0])")
        expect({k: job[k] for k in wanted} == wanted, f"made {job}")
        page.js("document.getElementById('prompt').value = ''")
        page.click(".card .icon")
        page.equal("document.getElementById('prompt').value", job["prompt"], "settings are copied")
        page.js("document.getElementById('steps').value = 50")
        page.click("#go")
        page.until(PREVIEW, 30)
        page.click("#now-acts button")
        page.until("document.getElementById('now').hidden")
        page.until("fetch('/v1/videos').then(r => r.json()).then(l => l.data.length === 1)")
        page.js("document.querySelector('input[value=own]').click(); document.getElementById('width').value = document.getElementById('height').value = 8192")
        page.click("#go")
        page.until("document.getElementById('say-size').textContent.includes('this server makes at most')")
        page.click(".card .icon:last-child")
        page.click(".card .icon:last-child")
        page.until(f"{CARDS} === 0")
        complaints = [text for text in page.complaints if " 400 " not in text and " 404 " not in text]  # refused, and gone when stopped
        expect(not complaints, f"complaints: {complaints}")
        outside = [u for u in page.requests if not u.startswith((server.url, "data:", "blob:"))]
        expect(not outside, f"requests to elsewhere: {outside}")


def tab_to(page, condition, what):
    """Presses Tab until the element with the focus is the one that is meant."""
    for _ in range(60):
        if page.js(f"(e => !!({condition}))(document.activeElement)"):
            return
        page.key("Tab")
    raise AssertionError(f"no Tab leads to {what}")


def served_keyboard(c):
    """From an empty page to a deleted video at `swan serve`, without a pointer and without naming an element to the browser."""
    with tempfile.TemporaryDirectory(prefix="swan-page-") as folder:
        server = c.real(folder)
        if not server:
            print("skip  served_keyboard: this program was built without its server")
            return
        page = c.page(server)
        page.key("Tab")
        page.key("Enter")  # the skip link
        page.until("location.hash === '#prompt'")
        tab_to(page, "e.id === 'prompt'", "the prompt")
        page.type("a blue boat on the sea")
        tab_to(page, "e.id === 'frames'", "the length")
        page.key("Home")
        for _ in range(2):
            page.key("ArrowRight")
        tab_to(page, "e.id === 'steps'", "the steps")
        page.key("Home")
        for _ in range(5):
            page.key("ArrowRight")
        tab_to(page, "e.id === 'seed'", "the seed")
        page.type("5")
        page.key("Enter", control=True)
        page.until(PREVIEW, 30)
        page.until(FILM, 30)
        page.until(f"{CARDS} === 1")
        job = page.js("fetch('/v1/videos').then(r => r.json()).then(l => l.data[0])")
        expect((job["prompt"], job["num_frames"], job["num_inference_steps"], job["seed"]) == ("a blue boat on the sea", 13, 6, 5), f"made {job}")
        tab_to(page, "e.className === 'shot'", "the card")
        page.key("Enter")
        page.until("document.getElementById('viewer').open && document.getElementById('v-film').currentTime > 0")
        page.key("Escape")
        page.until("!document.getElementById('viewer').open")
        tab_to(page, "e.closest('.card') && (e.getAttribute('aria-label') || '').startsWith('Delete')", "the card's Delete")
        page.key("Enter")
        page.key("Enter")
        page.until(f"{CARDS} === 0")
        tab_to(page, "e.id === 'steps'", "the steps again")
        page.key("End")
        tab_to(page, "e.id === 'go'", "the button")
        page.key("Enter")
        page.until(PREVIEW, 30)
        tab_to(page, "e.closest('#now-acts')", "Stop")
        page.key("Enter")
        page.until("document.getElementById('now').hidden")
        page.until("fetch('/v1/videos').then(r => r.json()).then(l => l.data.length === 0)")
        expect(not [t for t in page.complaints if " 404 " not in t], f"complaints: {page.complaints}")


def served_phone(c):
    """On a phone, at night: what is being made comes into sight by itself, and the film is there afterwards."""
    with tempfile.TemporaryDirectory(prefix="swan-page-") as folder:
        server = c.real(folder)
        if not server:
            print("skip  served_phone: this program was built without its server")
            return
        page = c.page(server, width=390, height=844, dark=True)
        fill(page, "a yellow duck swimming to the right over the sea")
        page.js("document.getElementById('seed').focus()")
        page.type("3")
        page.click("#go")
        page.until(PREVIEW, 30)
        page.until("(r => r.top >= 0 && r.bottom <= innerHeight)(document.getElementById('stage').getBoundingClientRect())")
        page.until("+document.getElementById('bar').getAttribute('aria-valuenow') > 40", 30)
        page.shoot(c.out / "served-phone-running.png")
        page.until(FILM, 40)
        page.until("document.querySelector('.card img')?.naturalWidth > 0")
        page.shoot(c.out / "served-phone-done.png", whole=True)
        expect(page.js("document.documentElement.scrollWidth") <= 390, "wider than the phone")


def served_key(c):
    """`swan serve --api-key`: the page itself needs no key, the rest does."""
    with tempfile.TemporaryDirectory(prefix="swan-page-") as folder:
        server = c.real(folder, "--api-key", "swordfish")
        if not server:
            print("skip  served_key: this program was built without its server")
            return
        server.key = "swordfish"
        page = c.page(server)
        page.until("document.getElementById('key').open")
        page.type("swordfish")
        page.key("Enter")
        page.until("document.getElementById('status').textContent.includes('tinyworld')")
        page.js("document.getElementById('frames').value = document.getElementById('steps').value = 5")
        fill(page, "a yellow star")
        page.click("#go")
        page.until(FILM, 30)


TESTS = [generate, settings, cancel, reload, drop, keyboard, gallery, errors, key, polling, hostile, looks, served, served_keyboard, served_phone,
         served_key]


# ---- running them ----------------------------------------------------------------------------------------------------------

def make_clips(swan, folder):
    """Two tiny videos by the real program: what the stand-in serves, and one with a recipe to drop."""
    def swan_makes(name, prompt, *options):
        path = folder / name
        subprocess.run([swan, "generate", prompt, "-o", path, "--quiet", "--threads", "2", *map(str, options)], check=True, timeout=120)
        return path
    r = RECIPE
    clip = swan_makes("clip.mp4", "a yellow star", "--seed", 1, "--size", "64x48", "--frames", 13, "--steps", 1)
    recipe = swan_makes("recipe.mp4", r["prompt"], "--seed", r["seed"], "--size", r["size"], "--frames", r["frames"], "--steps", r["steps"],
                        "--guidance", r["guidance"], "--shift", r["shift"], "--negative-prompt", r["negative"], "--fps", r["fps"])
    return [clip], recipe


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--swan", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/page-shots")
    parser.add_argument("tests", nargs="*")
    args = parser.parse_args()
    path = browser.find()
    if not path:
        print("skipped: no Chromium here (SWAN_CHROMIUM names one)")
        return 77
    args.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="swan-page-") as folder:
        clips, recipe = make_clips(args.swan, pathlib.Path(folder))
        chromium = browser.Browser(path)
        try:
            for test in TESTS:
                if args.tests and test.__name__ not in args.tests:
                    continue
                begun, case = time.monotonic(), Case(args, chromium, clips, args.out)
                case.recipe = recipe
                try:
                    test(case)
                    print(f"ok    {test.__name__} ({time.monotonic() - begun:.1f} s)", flush=True)
                except Exception:
                    failed += 1
                    print(f"FAIL  {test.__name__}\n{traceback.format_exc()}", flush=True)
                    for page in case.pages:
                        print("      complaints:", page.complaints, *case.said[-20:])
                        page.shoot(args.out / f"failed-{test.__name__}.png")
                case.end()
        finally:
            chromium.close()
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
