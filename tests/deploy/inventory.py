"""What scripts/inventory.py made: valid CycloneDX, complete, and with a licence text for every package."""

import json
import re
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

folder = Path(sys.argv[1])
text = (folder / "sbom.cdx.json").read_text()
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
assert error is None, error

bill = json.loads(text)
components = {component["bom-ref"]: component for component in bill["components"]}
assert len(components) == len(bill["components"]) > 200, "every component once"
for ref, component in components.items():
    digest = component["hashes"][0]
    assert digest["alg"] == "SHA-256" and re.fullmatch("[0-9a-f]{64}", digest["content"]), ref
    named = component["licenses"][0]
    assert named.get("expression") or named["license"]["id"], ref
known = components.keys() | {bill["metadata"]["component"]["bom-ref"]}
assert {d["ref"] for d in bill["dependencies"]} == known, "everything says what it needs"
assert all(need in known for d in bill["dependencies"] for need in d["dependsOn"])
# What the program is made of for certain, and what it must not hold.
names = {component["name"] for component in components.values()}
assert {"aws-lc-sys", "axum", "ort", "sqlx-core", "turbojpeg-sys", "onnxruntime"} <= names
assert any(component["type"] == "machine-learning-model" for component in components.values())
assert not names & {"rsa", "ring", "openssl-sys", "criterion", "tempfile"}, "tests are not delivered"

texts = (folder / "THIRD-PARTY-LICENCES.txt").read_text()
for component in components.values():
    if component["bom-ref"].startswith("pkg:cargo/"):
        assert f"\n{component['name']} {component['version']} (" in texts, component["name"]
for words in ("Independent JPEG Group", "OpenSSL", "Apache License", "Permission is hereby granted"):
    assert words in texts, words
print(f"the bill of materials is valid CycloneDX 1.5; {len(components)} components with digests and licences")
