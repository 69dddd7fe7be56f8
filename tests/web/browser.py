"""A headless Chromium, spoken to over a pipe in its own protocol (Chrome DevTools Protocol): nothing but
Python's library. Waiting is for conditions, never for a time."""
import base64, json, os, select, shutil, subprocess, tempfile, time

PROGRAM = os.environ.get("CHROMIUM") or shutil.which("chromium")
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "ArrowDown": 40}


class Browser:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="wg-mesh-web-test.")
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # The pipe is on descriptors 3 and 4 of the browser; what lies there may be in the way.
        theirs_in, theirs_out = (self.high(fd) for fd in (theirs_in, theirs_out))
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@" 3<&%d 4>&%d' % (theirs_in, theirs_out), "sh", PROGRAM, "--headless=new", "--no-sandbox",
             "--remote-debugging-pipe", "--user-data-dir=" + self.dir, "--ignore-certificate-errors", "--no-first-run",
             "--disable-gpu", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--disable-dev-shm-usage", "--force-prefers-reduced-motion", "about:blank"],
            pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self.dir, "TMPDIR": self.dir})
        os.close(theirs_in)
        os.close(theirs_out)
        self.read_fd, self.write_fd = ours_in, ours_out
        self.buffer, self.next_id, self.pages = b"", 0, {}

    @staticmethod
    def high(fd):
        import fcntl
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD, 8)
        os.close(fd)
        return moved

    def receive(self, seconds):
        """The next message; None where none came in time."""
        end = time.time() + seconds
        while b"\0" not in self.buffer:
            if not select.select([self.read_fd], [], [], max(0, end - time.time()))[0]:
                return None
            data = os.read(self.read_fd, 1 << 20)
            if not data:
                raise EOFError("the browser has ended")
            self.buffer += data
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def take(self, message):
        page = self.pages.get(message.get("sessionId"))
        if page and "method" in message:
            page.event(message["method"], message["params"])

    def call(self, method, session=None, **params):
        self.next_id += 1
        wanted = self.next_id
        message = {"id": wanted, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self.write_fd, json.dumps(message).encode() + b"\0")
        end = time.time() + 30
        while time.time() < end:
            answer = self.receive(end - time.time())
            if answer and answer.get("id") == wanted:
                if "error" in answer:
                    raise RuntimeError("%s: %s" % (method, answer["error"]["message"]))
                return answer["result"]
            if answer:
                self.take(answer)
        raise RuntimeError(method + ": no answer")

    def page(self, url=None, **size):
        """A window of its own, with cookies of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session, context)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(domain + ".enable")
        page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        page.size(**size)
        if url:
            page.go(url)
        return page

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read_fd)
        os.close(self.write_fd)
        shutil.rmtree(self.dir, ignore_errors=True)


class Page:
    def __init__(self, browser, session, context):
        self.browser, self.session, self.context = browser, session, context
        self.errors, self.requests = [], []

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def event(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append("exception: " + details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append("console: " + " ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append("%(source)s: %(text)s %(url)s" % {"url": "", **params["entry"]})
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"])

    def go(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def js(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError("%s: %s" % (expression, details.get("exception", {}).get("description", details["text"])))
        return answer["result"].get("value")

    def wait(self, expression, seconds=10):
        """What it gives, once that is something."""
        end = time.time() + seconds
        while True:
            try:
                value = self.js("((v) => v instanceof Node || v)(%s)" % expression)
            except RuntimeError:
                value = None # between two pages
            if value:
                return value
            if time.time() > end:
                raise AssertionError("not in time: %s; the page says: %s" % (expression, self.text()))
            message = self.browser.receive(0.05)
            if message:
                self.browser.take(message)

    def text(self, selector="body"):
        return self.js("document.querySelector(%s)?.innerText ?? ''" % json.dumps(selector))

    def sees(self, text, selector="body", seconds=10):
        self.wait("[...document.querySelectorAll(%s)].some((e) => e.innerText.includes(%s))" % (json.dumps(selector), json.dumps(text)), seconds)

    def click(self, name, within="dialog[open], #app"):
        """The control of this accessible name, in the open dialog where there is one."""
        found = ("(() => { const box = document.querySelector('dialog[open]') ?? document.body; return [...box.querySelectorAll('button, a, input, select')]"
                 ".find((e) => (e.getAttribute('aria-label') ?? e.innerText).trim() === %s && e.offsetParent && !e.disabled) })()" % json.dumps(name))
        self.wait("!!" + found)
        self.js(found + ".click()")

    def fill(self, label, value):
        """The field with this label."""
        field = ("(() => { const box = document.querySelector('dialog[open]') ?? document.body; const label = [...box.querySelectorAll('label')]"
                 ".find((e) => e.innerText.trim() === %s); return label && document.getElementById(label.htmlFor) })()" % json.dumps(label))
        self.wait("!!" + field)
        self.js("(() => { const e = %s; if (e.type === 'checkbox') e.checked = %s; else e.value = %s; e.dispatchEvent(new Event('input', {bubbles: true}));"
                " e.dispatchEvent(new Event('change', {bubbles: true})) })()" % (field, json.dumps(bool(value)), json.dumps(value)))

    def key(self, name, modifiers=0):
        text = {"Enter": "\r", "Space": " "}.get(name)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=" " if name == "Space" else name, code=name, windowsVirtualKeyCode=KEYS[name],
                      modifiers=modifiers, **({"text": text} if text and kind == "keyDown" else {}))

    def type(self, text):
        self.call("Input.insertText", text=text)

    def size(self, width=1280, height=800, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)
        self.browser.pages.pop(self.session, None)
