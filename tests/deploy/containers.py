"""What the checks with containers share: a Docker that runs, images, and an app whose calls are counted."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from contextlib import contextmanager
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients/python"))

from visavis_client import Credentials, UnverifiedError  # noqa: E402
from visavis_client.protocol import Protector  # noqa: E402

# Images that are made here have names below this one and stay, as a cache.
OURS = "visavis-check"
DEBIAN = "debian:bookworm-slim"
begun = time.monotonic()


class Wrong(Exception):
    """What does not hold."""


def check(holds, what):
    if not holds:
        raise Wrong(what)


def say(text):
    print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)


def ran(*command, patience=300, **more):
    """What a command prints; it has to succeed, in time."""
    words = [str(part) for part in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=patience, **more)
    except subprocess.TimeoutExpired:
        raise Wrong(f"{' '.join(words)}: not done after {patience} s") from None
    check(done.returncode == 0, f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout.strip()


def docker(*arguments, **more):
    return ran("docker", *arguments, **more)


def succeeds(*command):
    try:
        return subprocess.run([str(part) for part in command], capture_output=True, timeout=300).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def until(what, holds, patience=60):
    end = time.monotonic() + patience
    while True:
        found = holds()
        if found:
            return found
        check(time.monotonic() < end, f"{what}: not within {patience} s")
        time.sleep(0.1)


def needs(name, *programs):
    """Ends the check where it cannot run."""
    # What was started is ended, however the check ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{name}: told to stop"))
    if os.geteuid() != 0:
        sys.exit(f"{name}: run it as root: secrets are files of other users")
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        sys.exit(f"{name}: apt-get install {' '.join(missing)}")
    if not succeeds("docker", "info"):
        sys.exit(f"{name}: no Docker responds: install docker.io and start it, or set DOCKER_HOST")


def block(page, heading):
    """The first block for the shell below a heading of a page of docs/, or that has these words."""
    text = (ROOT / "docs" / page).read_text()
    found = [b for b in re.findall(r"```sh[^\n]*\n(.*?)```", text, re.S) if heading in b]
    check(len(found) == 1, f"docs/{page} has {len(found)} blocks with {heading!r}")
    return found[0]


def debian():
    """Debian itself; without a registry a bare one of packages."""
    if succeeds("docker", "image", "inspect", DEBIAN) or succeeds("docker", "pull", "--quiet", DEBIAN):
        return DEBIAN
    name = f"{OURS}/debian"
    if not succeeds("docker", "image", "inspect", name):
        command = f'"{ROOT}/scripts/bare-debian" "$0" && tar -c -C "$0" . | docker import - {name}'
        ran("bash", "-c", f'trap \'rm -rf "$0"\' EXIT; {command}', ran("mktemp", "--directory"), patience=900)
    return name


def image_of(name):
    """An image that deploy/compose.yaml names, or what stands for it; None where nothing does."""
    short = name.split("@")[0]
    if succeeds("docker", "image", "inspect", name) or succeeds("docker", "pull", "--quiet", name):
        say(f"image {short}")
        return name
    target = name.split(":")[0].replace("/", "-")
    here = ROOT / "tests/deploy/stand-ins"
    if f"AS {target}\n" not in (here / "Dockerfile").read_text():
        say(f"image {short}: left out, it cannot be pulled and nothing stands for it")
        return None
    say(f"image {short}: a stand-in of Debian's packages, since it cannot be pulled")
    docker("build", "--network", "host", "--build-arg", f"BASE={debian()}", "--target", target, "--tag", f"{OURS}/{target}", here,
           patience=900)
    return f"{OURS}/{target}"


def context(program, folder):
    """A folder from which `docker build` makes the image of Dockerfile around a program that is already built."""
    folder.mkdir()
    pack = os.environ.get("VISAVIS_MODEL_PACK") or re.search(r'^pack = "(.*)"', (program.parent / "visavis.toml").read_text(), re.M).group(1)
    ran(ROOT / "scripts/stage", program, pack, folder / "stage")
    shutil.copytree(ROOT / "runtime", folder / "runtime")
    (folder / "runtime-openvino").mkdir()
    for file in (ROOT / "LICENSE", ROOT / "NOTICE", Path("/etc/ssl/certs/ca-certificates.crt")):
        shutil.copy(file, folder / file.name)
    whole = (ROOT / "Dockerfile").read_text()
    _, last = whole.split(f"\nFROM {DEBIAN}\n")
    check("COPY --from=build /src/stage /opt/visavis\n" in last, "the Dockerfile has another shape")
    (folder / "Dockerfile").write_text(f"FROM {debian()}\n{re.sub('COPY --from=build /(src|etc/ssl/certs)/', 'COPY ', last)}")


class App:
    """An app that compares, submits and asks for outcomes, one call after the other from each of its threads, over connections
    that it keeps. It does not retry, so that each failure counts; what was accepted is kept until it has its outcome."""

    COMPARE, SUBMIT, ASK = (f"/api/v1/zoloz/facecompare/{name}" for name in ("compare", "asynccompare", "asynccheckresult"))

    def __init__(self, url, keys, ca=None):
        self.url, self.ca = url, ca
        self.protector = Protector(Credentials.from_file(keys), "plain", 256, 900)
        self.photos = [base64.b64encode((ROOT / "samples" / f"obama-{year}.jpg").read_bytes()).decode() for year in (2012, 2009)]
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.good, self.failed, self.waiting, self.outcomes = 0, [], deque(), 0
        self.threads = []

    def call(self, session, path, body):
        """The members of a verified response, or what failed."""
        request = self.protector.sign(path, json.dumps(body).encode())
        response = session.post(self.url + path, data=request.body, headers=dict(request.headers), timeout=30,
                                verify=str(self.ca) if self.ca else None)
        try:
            self.protector.verify(request, response.headers, response.content)
        except UnverifiedError:
            raise Wrong(f"unsigned: {response.status_code} {response.text[:200]!r}") from None
        return response.json()

    def pair(self):
        first, second = self.photos
        return {"bizId": uuid.uuid4().hex, "face1": {"content": first}, "face2": {"content": second}}

    def compare(self, session):
        self.accepted(self.call(session, self.COMPARE, self.pair()))

    def submit(self, session):
        self.accepted(self.call(session, self.SUBMIT, self.pair()))

    def accepted(self, said):
        is_waiting = said["result"]["resultCode"] == "PROCESSING"
        self.judge(said, is_waiting or said.get("samePerson") is True)
        if is_waiting:
            with self.lock:
                self.waiting.append(said["transactionId"])

    def ask(self, session):
        with self.lock:
            if not self.waiting:
                return
            number = self.waiting.popleft()
        done = False
        try:
            said = self.call(session, self.ASK, {"transactionId": number})
            done = said.get("samePerson") is True
            self.judge(said, done or said["result"]["resultCode"] == "PROCESSING")
        finally:
            with self.lock:
                self.outcomes += done
                if not done:
                    self.waiting.append(number)

    @staticmethod
    def judge(said, holds):
        check(holds, f"signed: {said['result']['resultCode']}: {said['result']['resultMessage']}")

    def repeat(self, call):
        session = requests.Session()
        session.trust_env = False
        while not self.stopped.is_set():
            at = time.monotonic()
            try:
                call(session)
                with self.lock:
                    self.good += 1
            except (Wrong, requests.RequestException, ValueError) as error:
                with self.lock:
                    self.failed.append(f"{call.__name__} after {time.monotonic() - at:.1f} s, {error}")
            time.sleep(0.1)

    def __enter__(self):
        for call in (self.compare, self.submit, self.ask):
            self.threads.append(threading.Thread(target=self.repeat, args=(call,), daemon=True))
            self.threads[-1].start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)

    def settle(self, calls=6):
        """Waits until further calls are good one after the other."""
        with self.lock:
            self.failed_at, since = len(self.failed), self.good

        def holds():
            nonlocal since
            with self.lock:
                if len(self.failed) > self.failed_at:
                    self.failed_at, since = len(self.failed), self.good
                return self.good >= since + calls
        until("calls that are good again", holds)

    @contextmanager
    def through(self, what, failures=0, only=""):
        """Calls go on through what is done here. At most `failures` of them fail, and `only` with these words."""
        self.settle()
        good, failed = self.good, len(self.failed)
        yield
        self.settle()
        lost = self.failed[failed:]
        unexpected = [text for text in lost if only not in text]
        # Statements have 2 seconds; on a machine that is too busy, they pass without a fault of what is checked.
        busy = Path("/proc/pressure/cpu").read_text().splitlines()[0] if Path("/proc/pressure/cpu").exists() else "unknown"
        check(len(lost) <= failures and not unexpected,
              f"{what}: {len(lost)} calls failed, {self.good - good} did not; pressure on the CPU: {busy}\n"
              + "\n".join((unexpected or lost)[:9]))
        say(f"{what}: {self.good - good} calls, {len(lost)} failed")

    def every_outcome(self):
        """Whatever was accepted has its outcome."""
        session = requests.Session()
        session.trust_env = False

        def none_waits():
            if self.waiting:
                self.ask(session)
            return not self.waiting
        until("an outcome for everything that was accepted", none_waits, 120)
        say(f"{self.outcomes} jobs were accepted, {self.outcomes} have their outcome")
