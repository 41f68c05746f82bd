"""What is in the program: a bill of materials (CycloneDX 1.5, JSON) and the licence texts of everything in it, from the
lock file and the sources that cargo has fetched. Generated at each release and never kept.

    scripts/inventory.py FOLDER PACK"""

import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

import sources

ROOT = Path(__file__).resolve().parents[1]
MACHINE = os.environ.get("ARCH") or os.uname().machine
TARGET = f"{MACHINE}-unknown-linux-gnu"
RUNTIME = "runtime" if MACHINE == os.uname().machine else f"runtime-{MACHINE}"
TEXT = re.compile(r"(licen[cs]e|copying|notice|unlicense|copyright)", re.IGNORECASE)
# Sources in other languages that a package brings along and that end up in the program.
INSIDE = {"aws-lc-sys": ["aws-lc/LICENSE", "aws-lc/third_party/fiat/LICENSE"], "turbojpeg-sys": ["libjpeg-turbo/LICENSE.md"],
          "regex-syntax": ["src/unicode_tables/LICENSE-UNICODE"], "tracing-core": ["src/spin/LICENSE"]}
# Packages without a text of their own, the licence that is taken, and whose text is the same but
# for the names.
WITHOUT = {"governor": "MIT", "turbojpeg-sys": "MIT"}


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def metadata():
    features = os.environ.get("FEATURES", "--features turbojpeg").split()
    return json.loads(run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET, *features))


def linked(meta):
    """The packages that are linked into the program or expand its code, by name and version, with what they need."""
    features = os.environ.get("FEATURES", "--features turbojpeg").split()
    # The resolver's own word: cargo metadata also has what only features that are off would bring.
    tree = run("cargo", "tree", "--locked", "--edges", "normal", "--target", TARGET, "--prefix", "none", "--format", "{p}", *features)
    wanted = {tuple(line.split(" ")[:2]) for line in tree.splitlines() if line}
    packages = {p["id"]: p for p in meta["packages"] if (p["name"], "v" + p["version"]) in wanted}
    needs = {}
    for node in meta["resolve"]["nodes"]:
        if node["id"] in packages:
            normal = [d["pkg"] for d in node["deps"] if any(k["kind"] is None for k in d["dep_kinds"])]
            needs[node["id"]] = sorted(d for d in normal if d in packages)
    assert len(packages) == len(wanted), "cargo tree and cargo metadata do not agree"
    return packages, needs


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def expression(package):
    # A slash is how the licence was written before SPDX.
    return re.sub(r"\s*/\s*", " OR ", package["license"] or "")


def when():
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct")
    return datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def models(pack):
    """The runtime, the program's own net and table, and the nets of the model pack: not linked, but delivered."""
    version = re.search(r"^onnxruntime==([\d.]+)", (ROOT / "runtime.lock").read_text(), re.MULTILINE)[1]
    library = ROOT / RUNTIME / f"libonnxruntime.so.{version}"
    yield {"type": "library", "name": "onnxruntime", "version": version, "bom-ref": f"pkg:pypi/onnxruntime@{version}",
           "purl": f"pkg:pypi/onnxruntime@{version}", "licenses": [{"license": {"id": "MIT"}}], "hashes": [sha256(library)]}
    for own in sorted(p for p in (ROOT / "models").iterdir() if p.suffix in (".onnx", ".degradations")):
        yield {"type": "machine-learning-model", "name": own.name, "bom-ref": f"model:{own.name}",
               "licenses": [{"license": {"id": "Apache-2.0"}}], "hashes": [sha256(own)]}
    for _, _, net in sources.nets(pack):
        yield {"type": "machine-learning-model", "name": net["file"], "bom-ref": f"model:{net['file']}",
               "licenses": [{"license": {"id": net["licence"]}}], "hashes": [{"alg": "SHA-256", "content": net["sha256"]}]}


def sha256(file):
    return {"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}


def bill(packages, needs, pack):
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    digests = {(p["name"], p["version"]): p["checksum"] for p in lock if "checksum" in p}
    own, components, dependencies = None, [], []
    for key, package in sorted(packages.items(), key=lambda item: purl(item[1])):
        component = {"type": "library", "bom-ref": purl(package), "name": package["name"], "version": package["version"],
                     "purl": purl(package), "licenses": [{"expression": expression(package)}]}
        if package["name"] == "visavis":
            own = component | {"type": "application"}
        elif package["source"] is None:
            components.append(component | {"scope": "required"})
        else:
            content = digests[package["name"], package["version"]]
            components.append(component | {"scope": "required", "hashes": [{"alg": "SHA-256", "content": content}]})
        dependencies.append({"ref": purl(package), "dependsOn": sorted(purl(packages[d]) for d in needs[key])})
    carried = list(models(pack))
    components += carried
    for dependency in dependencies:
        if dependency["ref"] == own["bom-ref"]:
            dependency["dependsOn"] += [c["bom-ref"] for c in carried]
    dependencies += [{"ref": c["bom-ref"], "dependsOn": []} for c in carried]
    text = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
            "metadata": {"timestamp": when(), "component": own}, "components": components, "dependencies": dependencies}
    # The same contents have the same number.
    return {"$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(text))}"} | text


def texts_of(package, shared):
    folder = Path(package["manifest_path"]).parent
    files = sorted(f for f in folder.iterdir() if f.is_file() and TEXT.match(f.name))
    files += sorted(f for f in (folder / "LICENSES").glob("*") if f.is_file())
    files += [folder / name for name in INSIDE.get(package["name"], [])]
    texts = [(str(f.relative_to(folder)), f.read_text(errors="replace").strip()) for f in files]
    if not any("/" not in name or name.startswith("LICENSES/") for name, _ in texts):
        licence = WITHOUT[package["name"]]
        authors = ", ".join(package["authors"])
        texts.insert(0, (f"{licence}, for it has no text of its own", f"Copyright (c) {authors}\n\n{shared[licence]}"))
    return texts


def licences(packages):
    by_text, shared = {}, {}
    others = [p for p in packages.values() if p["source"]]
    tokio = next(p for p in others if p["name"] == "tokio")
    mit = (Path(tokio["manifest_path"]).parent / "LICENSE").read_text()
    # Without the lines that name whose it is.
    shared["MIT"] = mit[mit.index("Permission is hereby granted"):].strip()
    for package in sorted(others, key=lambda p: (p["name"], p["version"])):
        for name, text in texts_of(package, shared):
            assert text, f"{package['name']}: {name} is empty"
            by_text.setdefault(text, []).append(f"{package['name']} {package['version']} ({expression(package)}): {name}")
    parts = [
        "What is linked into Visavis, and the licences it is under. This software is based in part on the work of the\n"
        "Independent JPEG Group. ONNX Runtime's licences are in runtime/, those of the nets in models/ and sbom.cdx.json."
    ]
    parts += ["\n".join(users) + "\n\n" + text for text, users in by_text.items()]
    return f"\n\n{'=' * 100}\n\n".join(parts) + "\n"


def main():
    folder, pack = Path(sys.argv[1]), sys.argv[2]
    folder.mkdir(parents=True, exist_ok=True)
    packages, needs = linked(metadata())
    (folder / "sbom.cdx.json").write_text(json.dumps(bill(packages, needs, pack), indent=1) + "\n")
    (folder / "THIRD-PARTY-LICENCES.txt").write_text(licences(packages))
    print(f"{len(packages)} packages; {folder}/sbom.cdx.json and {folder}/THIRD-PARTY-LICENCES.txt")


main()
