"""Prints, as JSON, how long the environments took and what is in them: `installed.py SECONDS NAME…`."""

import json
import sys
from importlib import metadata
from pathlib import Path

TELLING = ("apache-airflow-core", "pyspark", "dbt-core", "mlflow", "bentoml", "pandas", "xgboost", "lightgbm")


def facts(name: str) -> dict[str, object]:
    """How many packages an environment holds, and the versions of those that others depend on."""
    folders = [str(path) for path in (Path(".venv") / name / "lib").glob("python*/site-packages")]
    found = {one.name: one.version for one in metadata.distributions(path=folders)}
    return {"packages": len(found)} | {package: found[package] for package in TELLING if package in found}


if __name__ == "__main__":
    seconds, *names = sys.argv[1:]
    print(json.dumps({"seconds": int(seconds), "facts": {name: facts(name) for name in names}}, indent=1))
