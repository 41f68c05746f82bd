"""The pods of the chart run by Docker, each as its manifest asks for: environment, arguments, mounts, user and groups, read-only
root, capabilities, memory. What a cluster does around them is done here: secrets and empty folders with the owners that a kubelet
gives them, probes at their times, connections of the Service to pods that are ready, one pod after another for an update, and of
kubectl what the documents use. Calls go on throughout, and none may fail.

    pods.py PROGRAM [ROUNDS]     rounds of upgrade and change of the master key; 0 starts and ends pods of one release"""

import base64
import http.client
import os
import random
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Client, Listener
from pathlib import Path

import helm_python as helm
import yaml
from containers import OURS, ROOT, App, Wrong, block, check, context, docker, image_of, needs, ran, say, succeeds, until

NAMESPACE = "prod"
NETWORK = f"{OURS}-pods"
# Nodes learn after this time that a pod is no longer ready.
LAG = 2.0
# What OpenShift assigns to a namespace.
ASSIGNED = 1_000_680_000


def megabytes(text):
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]


class Pod:
    """One pod, with its own kubelet."""

    def __init__(self, cluster, name, labels, spec):
        self.cluster, self.name, self.labels, self.spec = cluster, name, labels, spec
        self.ready = self.ending = self.ended = False
        self.gone_at = self.said = None
        self.folder = cluster.folder / "pods" / name
        self.mounts = []
        context = spec["securityContext"]
        self.user = context.get("runAsUser", ASSIGNED)
        # A user of OpenShift is in no file of the image, so its group is 0.
        self.group = context.get("runAsGroup", 0)
        self.volume_group = context.get("fsGroup", self.user)
        check(context["runAsNonRoot"] and self.user, f"{name} is root")

    # The life of a pod.

    def start(self):
        for volume in self.spec["volumes"]:
            self.volume(volume)
        for container in self.spec["initContainers"]:
            docker("run", "--rm", *self.options(container))
        (container,) = self.spec["containers"]
        docker("run", "--detach", "--name", self.name, *self.options(container))
        self.address = docker("inspect", "--format", f'{{{{(index .NetworkSettings.Networks "{NETWORK}").IPAddress}}}}', self.name)
        threading.Thread(target=self.cluster.guarded, args=(self.watch, container), daemon=True).start()

    def end(self):
        """As `kubectl delete pod` does."""
        self.ending, self.gone_at = True, time.monotonic() + LAG
        docker("stop", "--time", self.spec["terminationGracePeriodSeconds"], self.name)
        code = docker("inspect", "--format", "{{.State.ExitCode}}", self.name)
        check(code == "0", f"{self.name} ended with {code}")
        self.remove()

    def remove(self):
        self.ended = True
        self.said = complaints(self.name)
        docker("rm", "--force", "--volumes", self.name)
        for mount in self.mounts:
            ran("umount", mount)
        shutil.rmtree(self.folder)

    def watch(self, container):
        """The probes."""
        def fails(kind):
            probe = container[kind]
            time.sleep(probe["periodSeconds"])
            return not self.answers(container, probe)

        allowed = container["startupProbe"]["failureThreshold"]
        while fails("startupProbe"):
            allowed -= 1
            check(allowed > 0 or self.ended, f"{self.name} does not start")
        self.ready = True
        failures, live = 0, threading.Thread(target=self.cluster.guarded, args=(self.watch_life, container, fails), daemon=True)
        live.start()
        while not self.ended:
            failures = failures + 1 if fails("readinessProbe") else 0
            ready = failures < container["readinessProbe"]["failureThreshold"]
            if self.ready and not ready:
                self.gone_at = time.monotonic() + LAG
            self.ready = ready

    def watch_life(self, container, fails):
        failures = 0
        while not self.ending:
            failures = failures + 1 if fails("livenessProbe") else 0
            check(failures < container["livenessProbe"]["failureThreshold"] or self.ending, f"{self.name} is not alive")
            running = docker("inspect", "--format", "{{.State.Running}}", self.name) if not self.ending else "true"
            check(running == "true" or self.ending, f"{self.name} has ended by itself")

    def answers(self, container, probe):
        port = probe["httpGet"]["port"]
        port = next((p["containerPort"] for p in container["ports"] if p["name"] == port), port)
        connection = http.client.HTTPConnection(self.address, port, timeout=probe.get("timeoutSeconds", 1))
        try:
            connection.request("GET", probe["httpGet"]["path"])
            return 200 <= connection.getresponse().status < 400
        except OSError:
            return False
        finally:
            connection.close()

    # What a pod is given.

    def volume(self, volume):
        folder = self.folder / volume["name"]
        folder.mkdir(parents=True)
        if "emptyDir" in volume:
            size = megabytes(volume["emptyDir"]["sizeLimit"])
            ran("mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", folder)
            self.mounts.append(folder)
            os.chown(folder, 0, self.volume_group)
            folder.chmod(0o2777)
            return
        sources = volume["projected"]["sources"] if "projected" in volume else [{"secret": volume["secret"]}]
        data = folder / "..2026_01_01"
        data.mkdir()
        for source in sources:
            secret = source["secret"]
            content = self.cluster.secrets[secret.get("name") or secret["secretName"]]
            for item in secret["items"]:
                if item["key"] not in content:
                    check(secret.get("optional"), f"the secret lacks {item['key']}")
                    continue
                file = data / item["path"]
                file.write_bytes(content[item["key"]])
                file.chmod(0o644)
                os.chown(file, 0, self.volume_group)
        # A kubelet exchanges the files of a volume all at once.
        os.symlink(data.name, folder / "..data")
        for file in data.iterdir():
            os.symlink(f"..data/{file.name}", folder / file.name)

    def options(self, container):
        """Those of `docker run`."""
        own, resources = container["securityContext"], container["resources"]
        check(own == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
              f"{self.name}: {own}")
        memory = megabytes(resources["limits"]["memory"])
        options = ["--hostname", self.name, "--network", NETWORK, "--label", OURS, "--read-only", "--cap-drop", "ALL",
                   "--security-opt", "no-new-privileges", "--user", f"{self.user}:{self.group}", "--group-add", self.volume_group,
                   "--memory", f"{memory}m", "--memory-swap", f"{memory}m"]
        variables = {e["name"]: e["value"] for e in container.get("env", [])}
        for name, value in (self.cluster.links(self.spec) | variables).items():
            options += ["--env", f"{name}={value}"]
        for mount in container["volumeMounts"]:
            options += ["--volume", f"{self.folder / mount['name']}:{mount['mountPath']}{':ro' if mount.get('readOnly') else ''}"]
        command, arguments = container.get("command", []), container.get("args", [])
        if command:
            options += ["--entrypoint", command[0]]
        return [*options, container["image"], *command[1:], *arguments]


class Cluster:
    """A namespace."""

    def __init__(self, folder):
        self.folder = folder
        self.secrets, self.deployments, self.services, self.pods = {}, {}, [], []
        self.wrong = []
        self.lock = threading.RLock()
        self.port = None

    def guarded(self, work, *arguments):
        """What a thread finds wrong fails the check."""
        try:
            work(*arguments)
        except BaseException as error:  # noqa: B036
            self.wrong.append(str(error))

    def sound(self):
        check(not self.wrong, "; ".join(self.wrong))

    def links(self, spec):
        """Variables that tell pods of Services."""
        found = {}
        for service in self.services:
            if spec.get("enableServiceLinks") is False or service["spec"].get("clusterIP") == "None":
                continue
            name, port = service["metadata"]["name"].upper().replace("-", "_"), service["spec"]["ports"][0]["port"]
            found |= {f"{name}_SERVICE_HOST": "10.96.0.7", f"{name}_SERVICE_PORT": port, f"{name}_PORT": f"tcp://10.96.0.7:{port}"}
        return found

    def apply(self, documents):
        """What Helm hands over; a pod that would be another one is replaced."""
        self.services = [d for d in documents if d["kind"] == "Service"]
        changed = []
        for document in documents:
            if document["kind"] != "Deployment":
                continue
            name = document["metadata"]["name"]
            if self.deployments.get(name) != document:
                self.deployments[name] = document
                changed.append(name)
        self.roll(changed)
        self.status(changed)

    def roll(self, names):
        self.rolls = {name: threading.Thread(target=self.guarded, args=(self.replace, name), daemon=True) for name in names}
        for roll in self.rolls.values():
            roll.start()

    def replace(self, name):
        """A new pod, and once it is ready an old one ends; it is not waited for."""
        deployment = self.deployments[name]["spec"]
        check(deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}, f"{name}: {deployment['strategy']}")
        old = [pod for pod in self.of(name) if not pod.ending]
        for _ in range(deployment["replicas"]):
            self.one_more(name)
            if old:
                threading.Thread(target=self.guarded, args=(old.pop(0).end,), daemon=True).start()
        check(not old, f"{name} has too many pods")

    def one_more(self, name):
        template = self.deployments[name]["spec"]["template"]
        pod = Pod(self, f"{name}-{secrets.token_hex(4)}", template["metadata"]["labels"], template["spec"])
        with self.lock:
            self.pods.append(pod)
        pod.start()
        until(f"{pod.name} ready", lambda: pod.ready or self.wrong, 200)

    def of(self, name):
        """Pods of a deployment that are still there, the oldest first."""
        wanted = self.deployments[name]["spec"]["selector"]["matchLabels"]
        with self.lock:
            return [pod for pod in self.pods if not pod.ended and wanted.items() <= pod.labels.items()]

    def status(self, names):
        for name in names:
            self.rolls[name].join()
        self.sound()

    # The Service.

    def serve(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]

        def accept():
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self.connect, args=(client,), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()

    def connect(self, client):
        """A connection stays with its pod."""
        with self.lock:
            ready = [pod for pod in self.pods if pod.labels["app.kubernetes.io/component"] == "front" and not pod.ended
                     and (pod.ready and not pod.ending or pod.gone_at and time.monotonic() < pod.gone_at)]
        try:
            server = socket.create_connection((random.choice(ready).address, 8080), timeout=5)
        except (OSError, IndexError):
            client.close()
            return
        server.settimeout(None)

        def copy(source, target):
            try:
                while data := source.recv(65_536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)
            except OSError:
                for end in (source, target):
                    end.close()
        back = threading.Thread(target=copy, args=(server, client), daemon=True)
        back.start()
        copy(client, server)
        back.join()
        client.close()
        server.close()

    # kubectl, as far as the documents use it.

    def kubectl(self, arguments, given):
        match arguments:
            case ["create", "secret", "generic", name, *options]:
                files = [option.removeprefix("--from-file=").partition("=") for option in options if option.startswith("--from-file=")]
                data = {key: base64.b64encode(Path(given, path or key).read_bytes()).decode() for key, _, path in files}
                secret = {"kind": "Secret", "metadata": {"name": name}, "data": data}
                return yaml.safe_dump(secret) if "--dry-run=client" in options else self.keep(secret)
            case ["replace", "--filename", "-"]:
                return self.keep(yaml.safe_load(given))
            case ["get", "secret", name, "--output", path]:
                key = re.fullmatch(r"jsonpath=\{\.data\.(.*)\}", path).group(1).replace("\\.", ".")
                return base64.b64encode(self.secrets[name][key]).decode()
            case ["get", "pods", "--selector", selector, "--output", "name"]:
                wanted = dict(part.split("=") for part in selector.split(","))
                return "".join(f"pod/{pod.name}\n" for pod in self.pods if not pod.ended and wanted.items() <= pod.labels.items())
            case ["rollout", "restart", *names]:
                return self.roll([name.removeprefix("deployment/") for name in names])
            case ["rollout", "status", name]:
                # Without those that end.
                return self.status([name.removeprefix("deployment/")])
            case ["wait", "--for=delete", *names, timeout]:
                seconds = int(re.fullmatch(r"--timeout=(\d+)s", timeout).group(1))
                names = {name.removeprefix("pod/") for name in names}
                return until("pods that end", lambda: not any(pod.name in names and not pod.ended for pod in self.pods), seconds) and ""
            case ["exec", name, "--", *command]:
                # kubectl prefers the pod that has been ready for longest, even if it ends (kubernetes/kubectl#1370).
                return docker("exec", self.of(name.removeprefix("deployment/"))[0].name, *command)
        raise Wrong(f"kubectl {' '.join(arguments)} is not known here")

    def keep(self, secret):
        self.secrets[secret["metadata"]["name"]] = {key: base64.b64decode(value) for key, value in secret["data"].items()}
        return ""

    def answer(self, listener):
        while True:
            with listener.accept() as asked:
                said = asked.recv()
                if said is None:
                    return
                try:
                    asked.send((0, self.kubectl(*said) or "", ""))
                except Exception as error:
                    asked.send((1, "", f"{error}\n"))

    def close(self):
        """The thread ends before its socket is closed: an accept() that the kernel restarts, as after a pause of this machine, would
        take a call of the next cluster, whose socket has the same number."""
        with Client(str(self.folder / "api")) as api:
            api.send(None)
        self.answering.join()
        self.listener.close()

    def shell(self, commands, patience=600):
        """Runs documented commands, with a kubectl that asks this cluster."""
        here = self.folder / "shell"
        if not here.exists():
            here.mkdir()
            self.listener = Listener(str(self.folder / "api"))
            self.answering = threading.Thread(target=self.answer, args=(self.listener,), daemon=True)
            self.answering.start()
            (here / "kubectl").write_text(f"#!{sys.executable}\nimport os, sys\nfrom multiprocessing.connection import Client\n"
                                          "given = sys.stdin.read() if '-' in sys.argv else os.getcwd()\n"
                                          f"with Client({str(self.folder / 'api')!r}) as api:\n"
                                          "    api.send((sys.argv[1:], given))\n"
                                          "    code, out, err = api.recv()\n"
                                          "sys.stdout.write(out)\nsys.stderr.write(err)\nsys.exit(code)\n")
            (here / "kubectl").chmod(0o755)
        path = f"{here}:{os.environ['PATH']}"
        return ran("bash", "-euo", "pipefail", "-c", commands, cwd=here, env=os.environ | {"PATH": path}, patience=patience)


def postgres():
    """Postgres, which another chart would bring. It has a processor of its own there: beside busy pods it responds late, and
    the connections that they then make take its time as well."""
    docker("run", "--detach", "--cpu-shares", "8192", "--name", f"{NETWORK}-db", "--network", NETWORK,
           "--network-alias", "db", "--label", OURS,
           "--env", "POSTGRES_USER=visavis", "--env", "POSTGRES_DB=visavis", "--env", "POSTGRES_PASSWORD_FILE=/password",
           "--env", "POSTGRES_INITDB_ARGS=--auth-host=scram-sha-256", "--user", "999:999",
           "--volume", f"{scratch / 'password'}:/password:ro",
           image_of(re.search(r"image: (postgres:.*)", (ROOT / "deploy/compose.yaml").read_text()).group(1)))


def a_database():
    """An empty one, as an earlier release would find its own."""
    sql = "DROP DATABASE IF EXISTS visavis WITH (FORCE)", "CREATE DATABASE visavis"
    command = ["docker", "exec", f"{NETWORK}-db", "psql", "--host", "/var/run/postgresql", "--username", "visavis", "--dbname", "postgres"]
    until("Postgres", lambda: succeeds(*command, "--command", "SELECT 1"))
    for statement in sql:
        ran(*command, "--command", statement)


def rendered(chart, release, tag, over):
    values = {"image": {"repository": f"{OURS}/visavis", "tag": tag, "pullPolicy": "Never"},
              "database": {"url": "postgres://visavis@db/visavis", "passfileSecret": "passfile"},
              "masterKey": {"existingSecret": "visavis-master"}} | over
    texts = chart.render(values, name=release, namespace=NAMESPACE).items()
    documents = [d for name, text in texts if not name.endswith(".txt") for d in yaml.safe_load_all(text) if d]
    return documents


def run(chart, release, rounds, over):
    cluster = Cluster(scratch / release)
    cluster.folder.mkdir()
    a_database()
    cluster.secrets["passfile"] = {"pgpass": b"*:*:visavis:visavis:" + (scratch / "password").read_bytes() + b"\n"}
    cluster.shell("head -c 32 /dev/urandom > master.key\n" + block("START.md", "helm upgrade --install").splitlines()[0])
    front = "visavis-front" if release == "visavis" else f"{release}-visavis-front"
    try:
        cluster.apply(rendered(chart, release, "one", over))
        keys = cluster.folder / "shop.json"
        keys.write_text(cluster.shell(f"kubectl exec deployment/{front} -- visavis client add shop --out -"))
        for pod in cluster.of(front):
            said = ran(program, "call", "compare", *photos, "--json", "--client", keys, "--url", f"http://{pod.address}:8080")
            check('"samePerson":true' in said, said)
        say(f"{release}: {len(cluster.pods)} pods are ready, as {cluster.pods[0].user}:{cluster.pods[0].group}; both front ends compare")
        cluster.serve()
        with App(f"http://127.0.0.1:{cluster.port}", keys) as app:
            with app.through(f"{release}: a front end deleted"):
                one = cluster.of(front)[0]
                ending = threading.Thread(target=cluster.guarded, args=(one.end,))
                ending.start()
                cluster.one_more(front)
                ending.join()
                cluster.sound()
            for number in range(rounds):
                with app.through(f"{release}: upgrade {number + 1}"):
                    cluster.apply(rendered(chart, release, ("two", "one")[number % 2], over))
                change = block("OPERATIONS.md", "kubectl create secret generic visavis-master")
                before = cluster.secrets["visavis-master"]["master.key"]
                with app.through(f"{release}: master key {number + 1}"):
                    # The block names the release of docs/START.md.
                    cluster.shell(change.replace("visavis-front", front).replace("visavis-worker", front.replace("front", "worker"))
                                  .replace("instance=visavis", f"instance={release}"))
                    cluster.sound()
                check(cluster.secrets["visavis-master"].keys() == {"master.key"}, "keys are left")
                check(cluster.secrets["visavis-master"]["master.key"] != before, "the master key is the same")
            ran(*("docker exec".split()), cluster.of(front)[0].name, "visavis", "check")
        app.every_outcome()
        for pod in [pod for pod in cluster.pods if not pod.ended]:
            ending = threading.Thread(target=cluster.guarded, args=(pod.end,))
            ending.start()
        until("the end of all pods", lambda: all(pod.ended for pod in cluster.pods) or cluster.wrong, 90)
        cluster.sound()
    except BaseException:
        for name, said in [(f"{NETWORK}-db", complaints(f"{NETWORK}-db"))] + [(p.name, p.said or complaints(p.name)) for p in cluster.pods]:
            print(f"{name}:\n{said}")
        raise
    finally:
        for pod in cluster.pods:
            if not pod.ended:
                cluster.guarded(pod.remove)
        cluster.close()


def complaints(name):
    """The end of what a container logs, without what is usual."""
    done = subprocess.run(["docker", "logs", "--tail", "200", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return "\n".join([line[:400] for line in done.stdout.splitlines() if '"INFO"' not in line][-12:])


def clear():
    for name in docker("ps", "--all", "--quiet", "--filter", f"label={OURS}").split():
        docker("rm", "--force", "--volumes", name)
    succeeds("docker", "network", "rm", NETWORK)


needs("pods-check", "debootstrap", "mount")
program = Path(sys.argv[1]).resolve()
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
photos = [ROOT / "samples/obama-2012.jpg", ROOT / "samples/obama-2009.jpg"]
scratch = Path(tempfile.mkdtemp())
scratch.chmod(0o755)
try:
    context(program, scratch / "image")
    for tag in ("one", "two"):
        (scratch / "image/stage/release").write_text(tag)
        docker("build", "--network", "host", "--tag", f"{OURS}/visavis:{tag}", scratch / "image", patience=600)
    (scratch / "password").write_text(secrets.token_urlsafe(24))
    os.chown(scratch / "password", 999, 999)
    clear()
    docker("network", "create", NETWORK)
    postgres()
    with helm.Chart.load(str(ROOT / "deploy/helm/visavis")) as loaded:
        run(loaded, "visavis", rounds, {})
        if rounds:
            run(loaded, "faces", 1, {})
            # OpenShift assigns user and groups itself.
            run(loaded, "shift", 1, {"fixedUser": False})
except Wrong as wrong:
    sys.exit(f"pods-check: {wrong}")
finally:
    clear()
    for line in Path("/proc/mounts").read_text().splitlines():
        if line.split()[1].startswith(f"{scratch}/"):
            succeeds("umount", "--lazy", line.split()[1])
    shutil.rmtree(scratch)
print("pods-check: good")
