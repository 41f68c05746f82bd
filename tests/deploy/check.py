"""Reads deploy/ with the programs that will read it: Docker Compose, Helm, Prometheus, HAProxy, systemd, and says what
is wrong. Nothing is left out in silence: a program that is not here is an error."""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import compose
import helm_python as helm
import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = str(DEPLOY / "helm/visavis")
KUBERNETES = "1.33"
NEEDED = {"promtool": "prometheus", "haproxy": "haproxy", "systemd-analyze": "systemd", "shellcheck": "shellcheck", "openssl": "openssl"}
wrong = []


def check(holds, what):
    if not holds:
        wrong.append(what)
        print("WRONG:", what)


def ran(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    return done.returncode, done.stdout, done.stdout + done.stderr


def runs(*command, **more):
    code, _, said = ran(*command, **more)
    check(code == 0, f"{' '.join(map(str, command))}: {said}")
    return said


def lint():
    files = [f for f in glob.glob(str(DEPLOY / "**/*.y*ml"), recursive=True) if "/templates/" not in f]
    files += glob.glob(str(ROOT / ".github/workflows/*.yml"))
    rules = "{extends: default, rules: {line-length: {max: 140}, document-start: disable, truthy: {check-keys: false}, " \
            "braces: {max-spaces-inside: 1}, comments: {min-spaces-from-content: 1}}}"
    runs(sys.executable, "-m", "yamllint", "--strict", "-d", rules, *files)
    runs("shellcheck", "--severity=warning", DEPLOY / "make-secrets", ROOT / ".ci/run", *(f for f in (ROOT / "scripts").iterdir() if is_shell(f)))
    workflows = [f for f in files if "/workflows/" in f]
    runs(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    runs(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    print(f"{len(files)} YAML files and the shell scripts are clean")


def is_shell(file):
    return file.is_file() and file.read_bytes().startswith(b"#!/usr/bin/env bash")


def compose_file():
    program = Path(compose.__file__).with_name("docker-compose")
    code, out, said = ran(program, "-f", DEPLOY / "compose.yaml", "--profile", "*", "config", "--format", "json")
    check(code == 0, f"compose: {said}")
    if code:
        return
    services = json.loads(out)["services"]
    for name, service in services.items():
        check(service.get("read_only") is True, f"compose: {name} can write to its image")
        check(service.get("cap_drop") == ["ALL"], f"compose: {name} keeps capabilities")
        check("no-new-privileges:true" in service.get("security_opt", []), f"compose: {name} can gain privileges")
        check(service.get("user") != "root" and not service.get("privileged"), f"compose: {name} is root")
        own = service["image"] == "visavis"
        check(own or re.fullmatch(r"[a-z./-]+:[\w.-]+@sha256:[0-9a-f]{64}", service["image"]), f"compose: {name} is not pinned")
        for key, value in (service.get("environment") or {}).items():
            secret = "PASSWORD" in key and not key.endswith("FILE")
            check(not secret and "://" not in re.sub(r"^postgres://\w+@[\w/]+$", "", value or ""), f"compose: {name} has a secret in {key}")
    check({"front-1", "front-2", "worker", "postgres", "proxy", "prometheus", "grafana"} <= set(services), "compose: services")
    for name, service in services.items():
        keys = [volume for volume in service.get("volumes", []) if volume["target"] == "/run/master"]
        check(len(keys) == (service["image"] == "visavis"), f"compose: {name}: {keys}")
        check(all(bool(volume.get("read_only")) == (name != "master-key") for volume in keys), f"compose: {name} may write {keys}")
        console = (service.get("environment") or {}).get("VISAVIS_ADMIN_CONSOLE")
        check(console == "false" or service["image"] != "visavis", f"compose: {name} has the console")
    check(services["worker"]["deploy"]["replicas"] == 3, "compose: three workers")
    print(f"compose: {len(services)} services, all hardened")


def pods(documents):
    for document in documents:
        spec = document.get("spec", {}).get("template", {}).get("spec")
        if spec:
            yield document["metadata"]["name"], spec


def rendered(chart, values, release):
    texts = [text for name, text in chart.render(values, name=release, namespace="prod").items() if not name.endswith(".txt")]
    return [d for text in texts for d in yaml.safe_load_all(text) if d]


def chart():
    least = {
        "image": {"repository": "registry.example/visavis"},
        "database": {"url": "postgres://visavis@db/visavis", "passfileSecret": "passfile"},
        "masterKey": {"existingSecret": "master"},
    }
    auto = {"autoscaling": {"enabled": True}}
    most = least | {
        "image": {"repository": "registry.example/visavis", "digest": "sha256:" + "0" * 64, "pullSecrets": [{"name": "pull"}]},
        "front": auto | {"nodeSelector": {"a": "b"}},
        "worker": auto | {"tolerations": [{"operator": "Exists"}]},
        "ingress": {"enabled": True, "className": "nginx", "host": "faces.example", "tlsSecret": "tls"},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "settings": {"VISAVIS_LOG_LEVEL": "debug"},
        "trustedProxies": ["10.0.0.1", "10.0.0.2"],
        "console": {"enabled": True},
        "networkPolicy": {"databaseTo": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "apiFrom": [{"podSelector": {}}],
                          "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
    }
    with helm.Chart.load(CHART) as loaded:
        for values, expected in ((least, 9), (most, 13)):
            documents = rendered(loaded, values, "faces")
            check(len(documents) == expected, f"helm: {len(documents)} objects instead of {expected}")
            # As docs/START.md names the release; its Service is then called `visavis`.
            documents += rendered(loaded, values, "visavis")
            for document in documents:
                # Not part of Kubernetes, so there is no schema of it here.
                if document["kind"] != "ServiceMonitor":
                    kubernetes_validate.validate(document, KUBERNETES, strict=True)
            for name, spec in pods(documents):
                check(spec["securityContext"]["runAsNonRoot"] is True, f"helm: {name} may be root")
                check(spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", f"helm: {name} seccomp")
                check(spec["automountServiceAccountToken"] is False, f"helm: {name} has a token of the cluster")
                check(spec.get("enableServiceLinks") is False, f"helm: {name} gets VISAVIS_PORT from a Service visavis")
                for container in spec["initContainers"] + spec["containers"]:
                    own = container["securityContext"]
                    check(own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True
                          and own["capabilities"]["drop"] == ["ALL"], f"helm: {name} is not restricted")
                environment = {e["name"]: e.get("value") for e in spec["containers"][0]["env"]}
                check(len(environment) == len(spec["containers"][0]["env"]), f"helm: {name} has a variable twice")
                hosts = environment["VISAVIS_ADMIN_HOSTS"].split()
                own = [d["metadata"]["name"] for d in documents if d["kind"] == "Service" and d["metadata"]["name"].endswith("-metrics")]
                check({hosts[0]} <= set(own) and f"{hosts[0]}.prod.svc" in hosts, f"helm: {name}: {hosts} are not names of {own}")
                check(environment["ORT_DISABLE_TELEMETRY"] == "1", f"helm: {name} lets ONNX Runtime report")
                console = environment["VISAVIS_ADMIN_CONSOLE"]
                check(console == ("true" if values is most else "false"), f"helm: {name}: console {console}")
                probes = {"startupProbe", "readinessProbe", "livenessProbe"}
                check(probes <= spec["containers"][0].keys(), f"helm: {name} lacks probes")
        refused = [
            {}, least | {"masterKey": {"existingSecret": ""}}, least | {"surprise": 1}, least | {"front": {"replica": 3}},
            least | {"database": {"url": "postgres://visavis:secret@db/visavis"}}, least | {"settings": {"PATH": "/"}},
            least | {"console": {"enabled": "yes"}}, least | {"console": {"enabled": True}},
            least | {"database": {}}, least | {"database": {"url": "postgres://visavis@db/visavis", "urls": ["postgres://visavis@db/visavis"]}},
            least | {"database": {"urls": ["postgres://visavis:secret@db/visavis"]}},
            *(least | {"settings": {name: "x"}} for name in ("VISAVIS_DATABASE_URL", "VISAVIS_DATABASE_URLS", "VISAVIS_DATA_KEY_FILE", "VISAVIS_ADMIN_LISTEN")),
            least | {"extraEnv": [{"name": "VISAVIS_LOG_LEVEL", "value": "debug"}]}, least | {"extraEnv": [{"name": "ORT_DISABLE_TELEMETRY", "value": "0"}]},
        ]
        for values in refused:
            try:
                loaded.render(values, name="faces", namespace="prod")
            except helm.HelmError:
                continue
            check(False, f"helm: {values} is taken")
        chart_values(loaded, least)
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(CHART, Path(folder) / "visavis")
        # Values without what has to be given are refused by the schema, and lint reads no others.
        (copy / "values.yaml").write_text(yaml.safe_dump(merged(yaml.safe_load((copy / "values.yaml").read_text()), least)))
        messages = helm.lint(str(copy))["messages"]
        check(all(m["severity"] <= 1 for m in messages), f"helm lint: {messages}")
    print(f"helm {helm.helm_sdk_version()}: the chart renders, is restricted, and fits Kubernetes {KUBERNETES}")


def environments(documents):
    return [{e["name"]: e for e in spec["containers"][0]["env"]} for _, spec in pods(documents)]


def chart_values(loaded, least):
    """What the values that few need come to."""
    urls = ["postgres://visavis@one/visavis?sslmode=verify-full", "postgres://visavis@two/visavis?sslmode=verify-full"]
    ca = {"name": "more", "mountPath": "/more"}
    values = least | {
        "database": {"urls": urls, "caSecret": "ca"}, "fixedUser": False,
        "settings": {"VISAVIS_HTTP_SHUTDOWN_DELAY_MS": "7", "VISAVIS_ADMIN_CONSOLE": "false"},
        "extraEnv": [{"name": "HTTPS_PROXY", "valueFrom": {"configMapKeyRef": {"name": "proxy", "key": "url"}}}],
        "extraVolumes": [{"name": "more", "emptyDir": {}}], "extraVolumeMounts": [ca],
        "networkPolicy": {"extraEgress": [{"ports": [{"protocol": "TCP", "port": 4318}]}]},
    }
    for service, is_open in (("ClusterIP", False), ("LoadBalancer", True), ("NodePort", True)):
        documents = rendered(loaded, values | {"service": {"type": service}}, "faces")
        for document in documents:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        policies = [d["spec"] for d in documents if d["kind"] == "NetworkPolicy"]
        check(("from" in policies[1]["ingress"][0]) is not is_open, f"helm: the API of a {service}: {policies[1]}")
        check({"ports": [{"protocol": "TCP", "port": 4318}]} in policies[0]["egress"], "helm: extraEgress")
        check({"ipBlock": {"cidr": "169.254.20.10/32"}} in policies[0]["egress"][0]["to"], "helm: NodeLocal DNS is shut out")
    # Under its old name too, which the program refuses beside the new one.
    for environment in environments(rendered(loaded, least | {"settings": {"VISAVIS_HTTP_LEAVE_MS": "7"}}, "faces")):
        check("VISAVIS_HTTP_SHUTDOWN_DELAY_MS" not in environment, "helm: two names of one setting")
    for environment in environments(documents):
        check(environment["VISAVIS_DATABASE_URLS"]["value"] == " ".join(urls) and "VISAVIS_DATABASE_URL" not in environment, "helm: urls")
        check(environment["PGSSLROOTCERT"]["value"] == "/run/database-ca/ca.crt", "helm: caSecret")
        check(environment["VISAVIS_HTTP_SHUTDOWN_DELAY_MS"]["value"] == "7", "helm: settings override what the chart sets")
        check("valueFrom" in environment["HTTPS_PROXY"], "helm: extraEnv")
    for name, spec in pods(documents):
        check(not {"runAsUser", "runAsGroup", "fsGroup"} & spec["securityContext"].keys(), f"helm: {name} asks for a user")
        check(ca in spec["containers"][0]["volumeMounts"] and {"name": "more", "emptyDir": {}} in spec["volumes"], f"helm: {name}: extraVolumes")
        mounted = {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
        check("database-ca" in mounted <= {volume["name"] for volume in spec["volumes"]}, f"helm: {name}: {mounted}")
    # Cut at 50 characters, a name may end in a hyphen, which Kubernetes does not take.
    for document in rendered(loaded, least, "v" * 41 + "-visavis-x"):
        name = document["metadata"]["name"]
        check(re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name) and "--" not in name, f"helm: {name} is no name")


def merged(base, over):
    both = dict(base)
    for key, value in over.items():
        both[key] = merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return both


def prometheus():
    rules = DEPLOY / "prometheus/alerts.yml"
    runs("promtool", "check", "rules", rules)
    runs("promtool", "test", "rules", "alerts_test.yml", cwd=rules.parent)
    with tempfile.TemporaryDirectory() as folder:
        # The paths in it are those of the container.
        text = (DEPLOY / "prometheus/prometheus.yml").read_text().replace("/etc/prometheus", str(rules.parent))
        (Path(folder) / "prometheus.yml").write_text(text)
        runs("promtool", "check", "config", Path(folder) / "prometheus.yml")
        # Every query of the dashboard is one.
        dashboard = json.loads((DEPLOY / "grafana/dashboards/visavis.json").read_text())
        queries = [t["expr"].replace("$__rate_interval", "1m") for p in dashboard["panels"] for t in p.get("targets", [])]
        records = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(queries)]
        (Path(folder) / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": records}]}))
        runs("promtool", "check", "rules", Path(folder) / "queries.yml")
    alerts = yaml.safe_load(rules.read_text())["groups"][0]["rules"]
    tested = (DEPLOY / "prometheus/alerts_test.yml").read_text()
    for alert in alerts:
        check(f'"{alert["alert"]}"' in tested, f"{alert['alert']} is not tested")
    print(f"prometheus: {len(alerts)} alerts, each raised by what it is for; {len(queries)} queries of the dashboard")


def proxy():
    with tempfile.TemporaryDirectory() as folder:
        cert = f"{folder}/tls.pem"
        runs("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", f"{cert}.key", "-out", cert)
        environment = os.environ | {
            "VISAVIS_PROXY_LISTEN": ":8443", "VISAVIS_PROXY_CERT": cert,
            "VISAVIS_PROXY_FRONT_1": "127.0.0.1:8080", "VISAVIS_PROXY_FRONT_2": "127.0.0.2:8080",
        }
        said = runs("haproxy", "-c", "-f", DEPLOY / "haproxy/haproxy.cfg", env=environment)
        check("WARNING" not in said and "ALERT" not in said, said)
    print("haproxy: the configuration is valid")


def units():
    with tempfile.TemporaryDirectory() as folder:
        for unit in DEPLOY.glob("systemd/*.service"):
            text = unit.read_text()
            # Neither the program nor its manual is in its place here.
            here = text.replace("/opt/visavis/visavis", shutil.which("true")).replace("Documentation=man:visavis(1)\n", "")
            (Path(folder) / unit.name).write_text(here)
            said = runs("systemd-analyze", "verify", Path(folder) / unit.name)
            check(not said.strip(), f"{unit.name}: {said}")
            said = runs("systemd-analyze", "security", "--offline=yes", "--threshold=15", Path(folder) / unit.name)
            print(said.strip().splitlines()[-1].strip("→ 🙂"))


missing = [package for program, package in NEEDED.items() if not shutil.which(program)]
if missing:
    sys.exit(f"deploy-check: apt-get install {' '.join(missing)}")
for step in (lint, compose_file, chart, prometheus, proxy, units):
    step()
sys.exit(f"{len(wrong)} things are wrong" if wrong else 0)
