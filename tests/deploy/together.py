"""The shape of deploy/compose.yaml without containers: its secrets, Postgres with a password, two front ends, workers
and its proxy on the loopback address. Requests through the proxy go on when a front end is stopped or killed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
program = Path(sys.argv[1]).resolve()
running = []


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(command, **more):
    running.append(subprocess.Popen([str(part) for part in command], **more))
    return running[-1]


def until(what, holds, patience=60):
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > patience:
            sys.exit(f"together: {what} does not come to be")
        time.sleep(0.1)


def answers(address, path="/health/ready"):
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def run(folder):
    secrets = folder / "secrets"
    subprocess.run([ROOT / "deploy/make-secrets", secrets], check=True, stdout=subprocess.DEVNULL)
    def kept():
        return {str(file.relative_to(secrets)): file for file in secrets.rglob("*") if file.is_file()}

    modes = {name: (file.stat().st_mode & 0o777, file.stat().st_uid) for name, file in kept().items()}
    users = {"master/master.key": 65532, "pgpass": 65532, "postgres-password": 999, "grafana-password": 472,
             "tls/tls.pem": 65531, "tls/tls.pem.key": 65531}
    assert modes == {name: (0o400, user) for name, user in users.items()}, modes
    before = {name: file.read_bytes() for name, file in kept().items()}
    subprocess.run([ROOT / "deploy/make-secrets", secrets], check=True, stdout=subprocess.DEVNULL)
    assert before == {name: file.read_bytes() for name, file in kept().items()}, "what is there stays"

    # Postgres, which asks for the password of the file.
    tools = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert tools, "apt-get install postgresql"
    tools, cluster, database = tools[-1].parent, folder / "postgres", port()
    cluster.mkdir()
    shutil.copy(secrets / "postgres-password", folder / "password")
    for own in (folder, cluster, folder / "password"):
        shutil.chown(own, "postgres")
    as_postgres = ["runuser", "-u", "postgres", "--"]
    subprocess.run([*as_postgres, tools / "initdb", "-D", cluster, "-U", "visavis", "--pwfile", folder / "password",
                    "--auth=scram-sha-256", "-E", "UTF8", "--locale=C"], check=True, stdout=subprocess.DEVNULL)
    start([*as_postgres, tools / "postgres", "-D", cluster, "-p", database, "-k", cluster, "-h", "127.0.0.1"],
          stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until("Postgres", lambda: subprocess.run([tools / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(database)]).returncode == 0)
    password = (folder / "password").read_text()
    subprocess.run([tools / "createdb", "-h", "127.0.0.1", "-p", str(database), "-U", "visavis", "visavis"],
                   env=os.environ | {"PGPASSWORD": password}, check=True)

    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VISAVIS_", "PG"))}
    common = clean | {
        "VISAVIS_DATABASE_URL": f"postgres://visavis@127.0.0.1:{database}/visavis", "PGPASSFILE": str(secrets / "pgpass"),
        "VISAVIS_DATA_KEY_FILE": str(secrets / "master/master.key"), "VISAVIS_DATA_DIR": str(folder), "VISAVIS_LOG_FORMAT": "json",
        "VISAVIS_LOG_LEVEL": "warn",
    }
    subprocess.run([program, "migrate"], env=common, check=True, stdout=subprocess.DEVNULL)
    keyless = subprocess.run([program, "migrate"], env=common | {"PGPASSFILE": "/dev/null"}, capture_output=True, text=True)
    assert keyless.returncode == 2 and "password" in keyless.stderr, keyless

    def visavis(address, *arguments, **variables):
        return start([program, *arguments], env=common | {"VISAVIS_ADMIN_LISTEN": address} | variables, stdout=subprocess.DEVNULL)

    fronts, admins = [f"127.0.0.1:{port()}" for _ in range(2)], [f"127.0.0.1:{port()}" for _ in range(3)]
    served = [visavis(admin, "serve", "--workers", "0", VISAVIS_HTTP_LISTEN=front, VISAVIS_HTTP_SHUTDOWN_DELAY_MS="3000",
                      VISAVIS_HTTP_TRUSTED_PROXIES="127.0.0.1")
              for front, admin in zip(fronts, admins)]
    visavis(admins[2], "work", "--workers", "1")
    for address in fronts + admins:
        until(f"{address} ready", lambda: answers(address))

    listen = port()
    start(["haproxy", "-q", "-f", ROOT / "deploy/haproxy/haproxy.cfg"], env=clean | {
        "VISAVIS_PROXY_LISTEN": f"127.0.0.1:{listen}", "VISAVIS_PROXY_CERT": str(secrets / "tls/tls.pem"),
        "VISAVIS_PROXY_FRONT_1": fronts[0], "VISAVIS_PROXY_FRONT_2": fronts[1],
    }, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = folder / "client.json"
    subprocess.run([program, "client", "add", "shop", "--out", client], env=common, check=True, capture_output=True)

    def compare(*more):
        photos = [ROOT / "samples/obama-2012.jpg", ROOT / "samples/obama-2009.jpg"]
        called = subprocess.run([program, "call", *more, *photos, "--json", "--client", client, "--url",
                                 f"https://localhost:{listen}", "--ca", secrets / "tls/tls.pem"],
                                env=clean, capture_output=True, text=True)
        return called.returncode == 0 and json.loads(called.stdout).get("samePerson") is True, called.stdout + called.stderr

    until("the proxy", lambda: compare("compare")[0])
    for mode in ("plain", "encrypted"):
        good, said = compare("compare", "--mode", mode)
        assert good, said
    good, said = compare("asynccompare", "--wait")
    assert good, said

    # Told to stop, one stays until the proxy has noticed: not one request fails.
    served[0].send_signal(signal.SIGTERM)
    failed = 0
    while served[0].poll() is None:
        good, said = compare("compare")
        failed += not good
    assert (served[0].returncode, failed) == (0, 0), (served[0].returncode, failed, said)
    good, said = compare("compare")
    assert good, said
    # Back again, and the other one killed: the proxy goes to the one that is there.
    visavis(admins[0], "serve", "--workers", "0", VISAVIS_HTTP_LISTEN=fronts[0])
    until("the first front end again", lambda: answers(fronts[0]))
    # Its check has to succeed twice.
    time.sleep(2.5)
    served[1].kill()
    served[1].wait()
    for _ in range(5):
        good, said = compare("compare")
        assert good, said
    def through(path):
        command = ["curl", "--silent", "--http1.1", "--include", "--cacert", secrets / "tls/tls.pem", "--data", "{}"]
        return subprocess.run([*command, f"https://localhost:{listen}{path}"], capture_output=True, text=True).stdout

    assert through("/health/ready").startswith("HTTP/1.1 404"), "operators come another way"
    refusal = through("//api/v1/zoloz/authentication/test")
    head, body = refusal.split("\n\n" if "\n\n" in refusal else "\r\n\r\n", 1)
    names = [line.split(":")[0] for line in head.splitlines()[1:]]
    assert names and all(name == name.title() for name in names), head
    assert "resultCode" in body, refusal
    print("together: no request failed while a front end was stopped, nor after one was killed")


if os.geteuid() != 0:
    sys.exit("together: run it as root, as deploy/make-secrets is")
with tempfile.TemporaryDirectory() as temporary:
    Path(temporary).chmod(0o755)
    try:
        run(Path(temporary))
    finally:
        for process in reversed(running):
            if process.poll() is None:
                process.terminate()
        for process in reversed(running):
            process.wait(timeout=60)
