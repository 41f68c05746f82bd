"""deploy/compose.yaml run by Docker: brought up, called through TLS, broken, maintained by the commands of the documents, and
taken down. Calls go on throughout, and everything that was accepted has its outcome.

The real file runs, with its images replaced as is printed: Visavis around a program that is already built, and what no registry
gives by stand-ins of Debian's packages. Grafana, which has none, is left out then."""

import json
import os
import re
import shutil
import ssl
import sys
import tempfile
import urllib.request
from pathlib import Path

from containers import OURS, ROOT, App, Wrong, block, check, context, docker, image_of, needs, ran, say, succeeds, until

program = Path(sys.argv[1]).resolve()
API = "https://localhost:8443"
OWN = f"{OURS}/visavis"


class Site:
    """A folder with what the documented commands take, and the containers that they start."""

    def __init__(self, folder):
        self.folder = folder
        context(program, folder)
        self.deploy = folder / "deploy"
        shutil.copytree(ROOT / "deploy", self.deploy, ignore=shutil.ignore_patterns("secrets", "helm", "systemd", "bundle"))
        os.symlink(ROOT / "samples", folder / "samples")
        # `docker compose` is the Compose that is pinned, and its project another one than an operator's.
        plugins = folder / "docker/cli-plugins"
        plugins.mkdir(parents=True)
        os.symlink(Path(sys.executable).with_name("docker-compose"), plugins / "docker-compose")
        self.environment = os.environ | {"DOCKER_CONFIG": str(folder / "docker"), "COMPOSE_PROJECT_NAME": OURS}
        self.images()

    def images(self):
        file = self.deploy / "compose.yaml"
        text = file.read_text()
        for name in sorted(set(re.findall(r"^ +image: (.*)$", text, re.M))):
            own = OWN if name == "visavis" else image_of(name)
            if own is None:
                # From the name of the service to the next one.
                text, left = re.subn(rf"^  \w+:\n(?:    .*\n|\n)*?    image: {re.escape(name)}\n(?:    .*\n)*", "", text, flags=re.M)
                check(left == 1, f"{name} cannot be left out")
            text = text.replace(f" image: {name}\n", f" image: {own}\n")
        file.write_text(text)

    def shell(self, commands, **more):
        return ran("bash", "-euo", "pipefail", "-c", commands, cwd=self.folder, env=self.environment, **more)

    def compose(self, *arguments, **more):
        return self.shell(" ".join(["docker compose -f deploy/compose.yaml", *arguments]), **more)

    def container(self, service):
        return self.compose("ps", "--quiet", service).splitlines()

    def down(self):
        """Everything of this project, whatever became of it."""
        try:
            self.compose("--profile '*' down --volumes --remove-orphans --timeout 5")
        except Wrong as wrong:
            print(wrong)


def healthy(site, service, count=1):
    def holds():
        states = [docker("inspect", "--format", "{{.State.Health.Status}}", name) for name in site.container(service)]
        return states == ["healthy"] * count
    until(f"{service} healthy", holds, 120)


def up(site):
    said = site.shell("exec 2>&1\n" + block("START.md", "docker compose -f deploy/compose.yaml up"), patience=900)
    check(site.container("postgres"), f"nothing was started:\n{said}")
    for service, count in {"postgres": 1, "front-1": 1, "front-2": 1, "worker": 3}.items():
        healthy(site, service, count)
    for service in ("front-1", "worker", "proxy", "prometheus", "postgres"):
        for name in site.container(service):
            found = json.loads(docker("inspect", name))[0]
            host = found["HostConfig"]
            check(host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and host["PidsLimit"] == 512
                  and "no-new-privileges:true" in host["SecurityOpt"], f"{service} is not hardened: {host}")
    keys = site.folder / "shop.json"
    keys.write_text(site.compose("exec -T front-1 visavis client add shop --out -"))
    say("up: all are healthy and hardened, and an app is registered")
    return keys


def first_calls(site, keys):
    for arguments in ("compare", "compare --mode encrypted", "asynccompare --wait --mode aksk"):
        said = until("the proxy", lambda: called(site, keys, arguments))
        check(json.loads(said)["samePerson"], said)
    say("calls through TLS: plain, encrypted, asynchronous")


def called(site, keys, arguments):
    try:
        return ran(program, "call", *arguments.split(), "samples/obama-2012.jpg", "samples/obama-2009.jpg", "--json", "--client", keys,
                   "--url", API, "--ca", site.deploy / "secrets/tls/tls.pem", cwd=site.folder)
    except Wrong:
        return None


def killed(site, app):
    """Docker restarts what ends by itself, which is what a kill inside the container is."""
    for service, again in (("front-2", "front-2"), ("worker", "worker")):
        name = site.container(service)[0]
        before = docker("inspect", "--format", "{{.State.Pid}}", name)
        # A call that it just serves is lost.
        with app.through(f"{again} killed", failures=2):
            os.kill(int(before), 9)
            until(f"{again} again", lambda: docker("inspect", "--format", "{{.State.Pid}} {{.State.Running}}", name) not in
                  (f"{before} true", f"{before} false", "0 false") and docker("inspect", "--format", "{{.State.Health.Status}}", name) == "healthy")


def without_postgres(site, app):
    name = site.container("postgres")[0]
    # The front ends stay and say that they cannot: no error of the proxy reaches an app.
    with app.through("Postgres restarted", failures=200, only="signed: SYSTEM_ERROR"):
        site.compose("restart postgres")
    with app.through("Postgres killed", failures=200, only="signed: SYSTEM_ERROR"):
        os.kill(int(docker("inspect", "--format", "{{.State.Pid}}", name)), 9)
        healthy(site, "postgres")


def served_certificate():
    return ssl.get_server_certificate(("localhost", 8443))


def renewed(site, app):
    tls = site.deploy / "secrets/tls/tls.pem"
    before = served_certificate()
    site.shell("openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
               " -addext basicConstraints=critical,CA:FALSE -keyout renewed.key -out renewed.pem 2> /dev/null")
    renewal = (site.folder / "renewed.pem").read_text()
    app.ca.write_text(tls.read_text() + renewal)
    with app.through("certificate renewed"):
        site.shell(block("OPERATIONS.md", "cp renewed.pem"))
        until("the renewed certificate", lambda: served_certificate().split() == renewal.split())
    check(before.split() != renewal.split(), "the certificate was renewed before")


def upgraded(site, app):
    before = docker("image", "inspect", "--format", "{{.Id}}", OWN)
    (site.folder / "stage/release").write_text("next")
    with app.through("upgrade"):
        site.shell(block("OPERATIONS.md", "$compose build"), patience=600)
        healthy(site, "worker", 3)
    after = docker("image", "inspect", "--format", "{{.Id}}", OWN)
    runs = {docker("inspect", "--format", "{{.Image}}", name) for s in ("front-1", "front-2", "worker") for name in site.container(s)}
    check(before != after and runs == {after}, f"these run: {runs}, instead of {after}")


def new_master_key(site, app):
    key = site.deploy / "secrets/master/master.key"
    before = key.read_bytes()
    with app.through("master key changed"):
        site.shell(block("OPERATIONS.md", "run --rm master-key prepare"))
    left = sorted(file.name for file in key.parent.iterdir())
    check(key.read_bytes() != before and left == ["master.key"], f"the master key is the same, or files are left: {left}")
    site.compose("exec -T front-1 visavis check")


def watched():
    def asked(what):
        with urllib.request.urlopen(f"http://127.0.0.1:9090/api/v1/{what}", timeout=5) as answer:
            return json.load(answer)["data"]

    def all_up():
        targets = asked("targets")["activeTargets"]
        return len(targets) == 5 and all(target["health"] == "up" for target in targets)
    until("Prometheus' five targets", all_up, 90)
    wanted = (ROOT / "deploy/prometheus/alerts.yml").read_text().count("- alert:")
    rules = [rule for group in asked("rules")["groups"] for rule in group["rules"]]
    until("the rules", lambda: all(rule["health"] == "ok" for g in asked("rules")["groups"] for rule in g["rules"]), 60)
    check(len(rules) == wanted > 10, f"{len(rules)} rules of {wanted}")
    say(f"Prometheus: 5 targets up, {wanted} rules evaluated")


def run(folder):
    site = Site(folder / "site")
    try:
        keys = up(site)
        first_calls(site, keys)
        trusted = folder / "trusted.pem"
        shutil.copy(site.deploy / "secrets/tls/tls.pem", trusted)
        with App(API, keys, trusted) as app:
            for step in (killed, without_postgres, renewed, upgraded, new_master_key):
                step(site, app)
            watched()
        app.every_outcome()
    except BaseException:
        print(site.compose("ps --all"))
        print(site.compose("logs --no-color --tail 60 | grep -v '\"INFO\"' || true"))
        raise
    finally:
        site.down()
    left = docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={OURS}")
    check(not left and not succeeds("docker", "network", "inspect", f"{OURS}_edge"), "something is left")
    say("down: nothing is left")


needs("compose-check", "openssl", "debootstrap")
with tempfile.TemporaryDirectory() as temporary:
    Path(temporary).chmod(0o755)
    try:
        run(Path(temporary))
    except Wrong as wrong:
        sys.exit(f"compose-check: {wrong}")
print("compose-check: good")
