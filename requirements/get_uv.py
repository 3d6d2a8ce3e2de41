"""Puts the pinned uv into a folder: `python3 requirements/get_uv.py .venv/tools`.

It runs before there is any environment, on a bare Python: with uv or pip if either is there, which know this
machine's index and certificates, else with the pip that Debian packages as a file. The hash is checked either way.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PINNED = Path(__file__).with_name("uv.txt")


def main(folder: Path) -> None:
    """Installs uv below a folder unless it is there in the pinned version; ends the program when it cannot."""
    version = re.search(r"^uv==(\S+)", PINNED.read_text(), re.MULTILINE)[1]  # type: ignore[index]
    binary = folder / "bin" / "uv"
    if binary.exists() and version in _output([str(binary), "--version"]):
        return
    shutil.rmtree(folder, ignore_errors=True)
    arguments = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(folder), "-r", str(PINNED)]
    with tempfile.TemporaryDirectory() as scratch:
        for find in (lambda: ["uv", "pip"], lambda: [sys.executable, "-m", "pip"], lambda: _debian_pip(scratch)):
            _output([*find(), "install", "-q", *arguments])
            if binary.exists():
                return
    sys.exit(
        f"uv {version} could not be installed: there is no pip, or it reached no index; apt-get install python3-pip"
    )


def _debian_pip(scratch: str) -> list[str]:
    """Debian's pip, fetched and unpacked without installing it, which needs no root."""
    _output(["apt-get", "download", "python3-pip-whl"], scratch)
    for package in Path(scratch).glob("*.deb"):
        _output(["dpkg-deb", "--extract", str(package), scratch])
    wheels = sorted(Path(scratch).glob("usr/share/python-wheels/pip-*.whl"))
    return [sys.executable, f"{wheels[-1]}/pip"] if wheels else ["pip3"]


def _output(command: list[str], folder: str | None = None) -> str:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
