"""A headless Chromium driven over its DevTools protocol, through a pair of pipes. Standard library only."""

import base64
import json
import os
import pathlib
import queue
import shutil
import subprocess
import tempfile
import threading
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


def find():
    """The path of a Chromium, or None. SWAN_CHROMIUM names one."""
    return os.environ.get("SWAN_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser process with a fresh profile, and any number of pages."""

    def __init__(self, path):
        self.profile = tempfile.TemporaryDirectory(prefix="swan-page-", ignore_cleanup_errors=True)
        to_read, self.out = os.pipe()
        self.inp, to_write = os.pipe()

        def pipes():  # the protocol is spoken on descriptors 3 and 4
            a, b = os.dup(to_read), os.dup(to_write)
            os.dup2(a, 3)
            os.dup2(b, 4)
        flags = ["--headless=new", "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}", "--no-first-run", "--disable-gpu",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--mute-audio",
                 "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb", "--no-default-browser-check",
                 "--renderer-process-limit=2", "--disable-features=Translate,MediaRouter,OptimizationHints"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        # descriptors 3 and 4 are made after the fork, so they cannot be in pass_fds
        self.process = subprocess.Popen([path, *flags, "about:blank"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, preexec_fn=pipes, close_fds=False, start_new_session=True)
        os.close(to_read)
        os.close(to_write)
        self.count, self.answers, self.pages, self.lock = 0, {}, {}, threading.Lock()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        rest = b""
        while chunk := os.read(self.inp, 1 << 16):
            *whole, rest = (rest + chunk).split(b"\0")
            for message in map(json.loads, whole):
                if "id" in message:
                    self.answers.pop(message["id"]).put(message)
                elif message.get("sessionId") in self.pages:
                    self.pages[message["sessionId"]].hear(message["method"], message["params"])
        for waiting in self.answers.values():
            waiting.put({"error": {"message": "the browser has ended"}})

    def call(self, method, session=None, **params):
        with self.lock:
            self.count += 1
            number, answer = self.count, queue.Queue()
            self.answers[number] = answer
            message = {"id": number, "method": method, "params": params}
            if session:
                message["sessionId"] = session
            os.write(self.out, json.dumps(message).encode() + b"\0")
        reply = answer.get(timeout=30)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def page(self, **media):
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session, context)
        for domain in ("Page", "Runtime", "Network", "Log", "DOM", "Accessibility"):
            page.call(domain + ".enable")
        page.look(**media)
        return page

    def close(self):
        try:
            self.call("Browser.close")
        except (RuntimeError, OSError, queue.Empty):
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.profile.cleanup()


class Page:
    def __init__(self, browser, session, context):
        self.browser, self.session, self.context = browser, session, context
        self.requests, self.complaints, self.loads = [], [], 0

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def hear(self, method, params):
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loads += 1
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("exception", {}).get("description") or params["exceptionDetails"]["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))

    def look(self, width=1280, height=900, dark=False, calm=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"}])

    def go(self, url=None):
        before = self.loads
        if url:
            self.call("Page.navigate", url=url)
        else:
            self.call("Page.reload")
        wait(lambda: self.loads > before, "the page is loaded")

    def js(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']['exception'].get('description')}")
        return result["result"].get("value")

    def until(self, expression, seconds=15):
        return wait(lambda: self.js(expression), expression, seconds)

    def text(self, selector):
        return self.js(f"(document.querySelector({json.dumps(selector)}) || {{}}).innerText || ''")

    def click(self, selector):
        """In the middle of the element, once it rests there and nothing covers it."""
        # the page may draw its lists anew at any moment: the element is looked up each time
        where = (f"new Promise(done => {{ const find = () => document.querySelector({json.dumps(selector)});"
                 " let before = ''; const look = () => { const e = find(); if (!e) return setTimeout(look, 40);"
                 " e.scrollIntoView({block: 'center', behavior: 'instant'});"
                 " const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2, now = `${x} ${y}`;"
                 " const hit = document.elementFromPoint(x, y); if (now === before && hit && (e.contains(hit) || hit.contains(e))) done([x, y]);"
                 " else { before = now; setTimeout(look, 40); } }; look(); })")
        at = None
        for _ in range(50):  # what appears under the pointer may move the element: pressed once it stays where it was
            before, at = at, self.js(where)
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1], button="none", clickCount=0)
            if at == before:
                break
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def equal(self, expression, value, what):
        """The expression has this value, now or soon: an event's work may end after the call that sent it."""
        wait(lambda: self.js(expression) == value, what)

    def holds(self, expression, what):
        wait(lambda: bool(self.js(expression)), what)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def key(self, key, control=False, shift=False):
        about = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key], "modifiers": 2 * control + 8 * shift}
        text = {"Enter": "\r", " ": " "}.get(key)
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text and not control else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def drop(self, path, x=300, y=300, leave=False):
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)
        if not leave:
            self.call("Input.dispatchDragEvent", type="drop", x=x, y=y, data=data)

    def shoot(self, path, whole=False):
        """A picture once what moves to its place is there; what moves for ever goes on."""
        self.js("Promise.race([new Promise(done => setTimeout(done, 2000)), Promise.allSettled(document.getAnimations()"
                ".filter(a => a.effect.getComputedTiming().endTime !== Infinity).map(a => a.finished)).then(() => 0)])")
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))

    def close(self):
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)


def wait(ready, what, seconds=15):
    """Looks once more when the time is over: one look may have taken all of it on a machine that stood still."""
    begun, looks, late = time.monotonic(), 0, False
    while not late:
        late = time.monotonic() - begun >= seconds
        looks += 1
        if value := ready():
            return value
        time.sleep(0.04)
    raise AssertionError(f"in {time.monotonic() - begun:.1f} s and {looks} looks not true: {what}")
