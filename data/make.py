#!/usr/bin/env python3
"""Rebuild or check the two Debian tables in this folder.

    python3 make.py [LISTS]     rebuild both tables from an apt list directory
    python3 make.py --check     print the figures of the committed tables

LISTS holds what `apt-get update` leaves behind and defaults to the place where
Debian's apt keeps it. Every package index is compared with the SHA-256 that
its suite's InRelease file states; the signature of InRelease is apt's business.
Needs the `gzip` command, and `lz4` if apt keeps its lists compressed.
"""

import gzip
import hashlib
import re
import subprocess
import sys
from pathlib import Path

INDEX = "main/binary-amd64/Packages"
BASE_SUITES = ["bookworm"]
# The newer state holds the older one: an update suite lists only what it changes.
SECURITY_SUITES = ["bookworm", "bookworm-updates", "bookworm-security"]
COLUMNS = ["package", "version", "section", "deb_size_bytes"]
HERE = Path(__file__).resolve().parent
BASE = HERE / "debian-bookworm-base.tsv.gz"
SECURITY = HERE / "debian-bookworm-security.tsv.gz"


def only_file(lists, pattern):
    """The one file that matches; two mirrors of a suite would make the choice arbitrary."""
    found = sorted(lists.glob(pattern))
    if len(found) != 1:
        sys.exit(f"expected one file {pattern} in {lists}, found {len(found)}")
    return found[0]


def read_index(lists, suite):
    """The text of a suite's package index, proven to be the one its InRelease names."""
    # apt writes a path into a file name with `_` for `/`; the part before `_dists_` names the mirror.
    path = only_file(lists, f"*_dists_{suite}_{INDEX.replace('/', '_')}*")
    if path.suffix == ".lz4":
        raw = subprocess.run(["lz4", "-dc", path], stdout=subprocess.PIPE, check=True).stdout
    else:
        raw = path.read_bytes()
    release = only_file(lists, f"*_dists_{suite}_InRelease").read_text("utf-8")
    digest = hashlib.sha256(raw).hexdigest()
    # The security suite calls the component `updates/main` in its header but `main` in its list.
    if not re.search(rf"^ {digest} +{len(raw)} {re.escape(INDEX)}$", release, re.MULTILINE):
        sys.exit(f"{suite}: {INDEX} is not the file that InRelease names")
    date = re.search(r"^Date: (.*)$", release, re.MULTILINE).group(1)
    print(f"{suite}: {date}, {INDEX} sha256 {digest}")
    return raw.decode("utf-8")


def stanzas(text):
    """Each paragraph of a package index as a dict; continuation lines are not needed and dropped."""
    for paragraph in text.split("\n\n"):
        fields = {}
        for line in paragraph.splitlines():
            if line[:1] not in (" ", "\t") and ":" in line:
                name, value = line.split(":", 1)
                fields[name] = value.strip()
        if fields:
            yield fields


def compare_part(a, b):
    """Order of two upstream versions or two revisions: Debian Policy, section 5.6.12."""

    def weight(character):
        # `~` sorts before the end of the part, letters before everything else.
        if character == "~":
            return -1
        return ord(character) if character.isalpha() else ord(character) + 256

    while a or b:
        text_a, text_b = re.match(r"\D*", a).group(), re.match(r"\D*", b).group()
        # 0 stands for the end, so that `~` is below it and all else above.
        weights_a = [*map(weight, text_a), 0]
        weights_b = [*map(weight, text_b), 0]
        if weights_a != weights_b:
            return -1 if weights_a < weights_b else 1
        a, b = a[len(text_a) :], b[len(text_b) :]
        digits_a, digits_b = re.match(r"\d*", a).group(), re.match(r"\d*", b).group()
        difference = int(digits_a or 0) - int(digits_b or 0)
        if difference:
            return -1 if difference < 0 else 1
        a, b = a[len(digits_a) :], b[len(digits_b) :]
    return 0


def compare_versions(a, b):
    """Order of two whole versions, `[epoch:]upstream[-revision]`."""

    def parts(version):
        epoch, colon, rest = version.partition(":")
        if not colon:
            epoch, rest = "0", version
        upstream, dash, revision = rest.rpartition("-")
        return (int(epoch), upstream, revision) if dash else (int(epoch), rest, "")

    (epoch_a, upstream_a, revision_a), (epoch_b, upstream_b, revision_b) = parts(a), parts(b)
    if epoch_a != epoch_b:
        return -1 if epoch_a < epoch_b else 1
    return compare_part(upstream_a, upstream_b) or compare_part(revision_a, revision_b)


def build_table(indexes):
    """One row per package name, the highest version of all indexes; a tie keeps the earlier index."""
    rows = {}
    for text in indexes:
        for fields in stanzas(text):
            name = fields["Package"]
            row = (name, fields["Version"], fields["Section"], fields["Size"])
            if name not in rows or compare_versions(rows[name][1], row[1]) < 0:
                rows[name] = row
    # Names are ASCII, so the order of code points is the order of bytes.
    return [rows[name] for name in sorted(rows)]


def write_table(path, rows):
    """`gzip -n` leaves out name and time, so equal rows give equal bytes with one gzip version."""
    text = "".join("\t".join(row) + "\n" for row in [COLUMNS, *rows])
    packed = subprocess.run(["gzip", "-9n"], input=text.encode(), stdout=subprocess.PIPE, check=True)
    path.write_bytes(packed.stdout)


def check():
    """Read the committed tables back, hold them to their promises and print every figure of the README."""
    tables = []
    for path in (BASE, SECURITY):
        text = gzip.decompress(path.read_bytes())
        lines = text.decode("utf-8").splitlines()
        rows = [line.split("\t") for line in lines]
        names = [row[0] for row in rows[1:]]
        assert rows[0] == COLUMNS, "header row"
        assert all(len(row) == len(COLUMNS) and all(row) and row[3].isdigit() for row in rows[1:]), "a field is bad"
        assert all(a < b for a, b in zip(names, names[1:])), "names are not sorted or not unique"
        print(f"{path.name}: {len(names)} rows, {path.stat().st_size} bytes, {len(text)} unpacked,")
        print(f"  unpacked sha256 {hashlib.sha256(text).hexdigest()}")
        tables.append({row[0]: row[1:] for row in rows[1:]})
    base, security = tables
    changed = [name for name in base if name in security and base[name] != security[name]]
    assert all(compare_versions(base[name][0], security[name][0]) < 0 for name in changed), "a version went back"
    added, removed = len(security.keys() - base.keys()), len(base.keys() - security.keys())
    print(f"changed {len(changed)}, added {added}, removed {removed}, equal {len(base) - len(changed) - removed}")


def main():
    arguments = sys.argv[1:]
    if arguments != ["--check"]:
        lists = Path(arguments[0] if arguments else "/var/lib/apt/lists")
        indexes = {suite: read_index(lists, suite) for suite in SECURITY_SUITES}
        write_table(BASE, build_table(indexes[suite] for suite in BASE_SUITES))
        write_table(SECURITY, build_table(indexes[suite] for suite in SECURITY_SUITES))
    check()


if __name__ == "__main__":
    main()
