"""What is linked into pam_onetime.so and onetimectl: what make-copyright and make-sbom ask
cargo for.
"""

import json
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLATFORMS = (ROOT / "packaging/platforms").read_text().split()


def cargo(*arguments):
    run = subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return run.stdout


def manifest(name):
    return tomllib.loads((ROOT / name).read_text())


def linked(*features):
    """The crates that are linked on one of the platforms, with these options of cargo's, as
    cargo's metadata has them; and for each its dependencies that are, by their ids."""
    targets = [word for platform in PLATFORMS for word in ("--target", platform)]
    tree = cargo("tree", "--locked", *features, *targets, "--edges=normal,no-proc-macro", "--prefix=none", "--format={p}")
    wanted = {tuple(line.split()[:2]) for line in tree.splitlines()}
    metadata = json.loads(cargo("metadata", "--locked", *features, "--format-version=1"))
    packages = [it for it in metadata["packages"] if (it["name"], "v" + it["version"]) in wanted]
    ids = {it["id"] for it in packages}
    needs = {
        node["id"]: sorted({
            it["pkg"] for it in node["deps"]
            if it["pkg"] in ids and any(kind["kind"] is None for kind in it["dep_kinds"])
        })
        for node in metadata["resolve"]["nodes"] if node["id"] in ids
    }
    return sorted(packages, key=lambda it: (it["name"], it["version"])), needs
