"""Builds the images without a Docker engine: `python -m tests.containers.build FOLDER [IMAGE…]`, as root.

With Debian's buildah in chroot isolation, which needs no daemon and no namespace of its own, and, where the
base image cannot be pulled, on one that debootstrap makes under its name. A network with a certificate of its
own is believed when this machine believes it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE = "docker.io/library/debian:bookworm-slim"
IMAGES = {"serve": "serve", "orchestrate": "orchestrate", "worker": "jobs", "jobs": "jobs"}
"""Each image and its Dockerfile; two are stages of one."""
TOOLS = ("buildah", "debootstrap")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_LEFT_OUT = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
)
"""What the slim base images leave out as well."""


def missing() -> list[str]:
    """What this machine lacks to build; empty when it can."""
    lacking = [f"the program {tool}" for tool in TOOLS if shutil.which(tool) is None]
    return lacking + (["root's rights"] if os.getuid() else [])


def buildah(storage: Path, *arguments: str, quiet: bool = False) -> str:
    """What a buildah command wrote; its images and containers are kept below `storage`."""
    configuration = storage / "storage.conf"
    if not configuration.exists():
        storage.mkdir(parents=True, exist_ok=True)
        lines = ["[storage]", 'driver = "overlay"', f'graphroot = "{storage}/graph"', f'runroot = "{storage}/run"']
        configuration.write_text("\n".join(lines) + "\n")
    environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(configuration), "BUILDAH_ISOLATION": "chroot"}
    output = subprocess.PIPE if quiet else None
    return subprocess.run(["buildah", *arguments], env=environment, stdout=output, text=True, check=True).stdout or ""


def make_base(storage: Path) -> None:
    """Makes the base image from Debian's packages, unless there is one of its name."""
    if BASE in buildah(storage, "images", "--format", "{{.Name}}:{{.Tag}}", quiet=True).split():
        return
    with tempfile.TemporaryDirectory(dir=storage) as folder:
        root = Path(folder) / "root"
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(root)], check=True)
        for name in _LEFT_OUT:
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir(parents=True)
        subprocess.run(["tar", "-C", str(root), "-cf", f"{folder}/base.tar", "."], check=True)
        (Path(folder) / "Dockerfile").write_text('FROM scratch\nADD base.tar /\nCMD ["bash"]\n')
        buildah(storage, "build", "-t", BASE, folder)


def build(storage: Path, image: str) -> None:
    """Builds one image as tidemill/IMAGE from its Dockerfile; raises CalledProcessError at the step that failed."""
    cache = Path.home() / ".cache" / "uv"
    buildah(
        storage, "build", "--layers", "--pull-never", "--format", "docker",
        "--file", str(ROOT / "docker" / f"{IMAGES[image]}.Dockerfile"),
        *(["--target", image] if IMAGES[image] != image or image == "jobs" else []),
        *(["--secret", f"id=certificates,src={_CERTIFICATES}"] if _CERTIFICATES.exists() else []),
        *(["--volume", f"{cache}:/root/.cache/uv"] if cache.is_dir() else []),
        "--tag", f"tidemill/{image}", str(ROOT),
    )  # fmt: skip


@dataclass(frozen=True)
class Image:
    """A built image's files, and the environment that its processes have."""

    root: Path
    environment: Mapping[str, str]


@contextmanager
def mounted(storage: Path, image: str) -> Iterator[Image]:
    """An image's files while they are mounted, made ready for what an engine mounts over them."""
    container = buildah(storage, "from", "--pull-never", f"tidemill/{image}", quiet=True).strip()
    try:
        root = Path(buildah(storage, "mount", container, quiet=True).strip())
        (root / "etc" / "hosts").touch()
        told = json.loads(buildah(storage, "inspect", "--type", "image", f"tidemill/{image}", quiet=True))
        yield Image(root, dict(one.split("=", 1) for one in told["OCIv1"]["config"]["Env"]))
    finally:
        buildah(storage, "rm", container, quiet=True)


def main(arguments: list[str]) -> None:
    """Builds the named images, by default all, and says how large each is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("storage", type=Path, metavar="FOLDER", help="where layers are kept")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"of {', '.join(IMAGES)}; by default all")
    asked = parser.parse_args(arguments)
    if lacking := missing():
        sys.exit(f"the images cannot be built here: there are not {', '.join(lacking)}")
    if unknown := set(asked.images) - set(IMAGES):
        parser.error(f"there is no image {', '.join(sorted(unknown))}; there are {', '.join(IMAGES)}")
    storage = asked.storage.absolute()
    make_base(storage)
    for image in asked.images or IMAGES:
        build(storage, image)
    print(buildah(storage, "images", "--format", "{{.Name}} {{.Size}}", quiet=True))


if __name__ == "__main__":
    main(sys.argv[1:])
