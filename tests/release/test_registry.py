from __future__ import annotations

import json

import pytest

from jobs.release.bundle import verify_bundle
from jobs.release.registry import Logged, Registry, set_aliases
from jobs.release.scorer import Scorer

PAYLOAD = """
from pathlib import Path

def _load_pyfunc(path):
    Path(path, "witness").touch()
    return type("Model", (), {"predict": lambda self, rows: rows})()
"""


@pytest.fixture
def registry(finished, tmp_path, monkeypatch):
    """A registry on a database of its own, without a server."""
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    monkeypatch.setenv("MLFLOW_ARTIFACT_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    settings = finished.settings.model_copy(update={"mlflow_url": url, "mlflow_password": _secret()})
    return Registry(settings, finished.project.name)


def _secret():
    from pydantic import SecretStr

    return SecretStr("test-password")


@pytest.mark.fault("F45")
def test_nothing_registered_can_be_loaded_as_python_and_a_swapped_loader_is_never_asked(broken, registry):
    import mlflow

    client = registry.client()
    inputs = broken.project.models[0].inputs
    logged = Logged(
        name="first/fraud/any", digest="d", params={"eta": 0.1}, metrics={"validation_average_precision": 0.5},
        tags={"tidemill.run": "first"}, dataset={"name": "s", "digest": "d", "source": "lake", "rows": 10},
        inputs=inputs,
    )  # fmt: skip
    run = registry.log(client, logged)
    assert registry.log(client, logged) == run
    files = [path for path in broken.bundle.iterdir() if path.suffix != ".parquet"]
    release, digest = broken.challenger.release, broken.challenger.digest
    version = registry.register(client, run, release, digest, files, inputs, "card")
    assert registry.register(client, run, release, digest, files, inputs, "card") == version

    uri = f"models:/{broken.project.name}/{version}"
    signature = mlflow.models.get_model_info(uri).signature
    assert signature.inputs.input_names() == list(inputs)
    with pytest.raises(mlflow.MlflowException, match="python_function"):
        mlflow.pyfunc.load_model(uri)

    from pathlib import Path

    folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(broken.settings.home / "model")))
    (folder / "evil_loader.py").write_text(PAYLOAD)
    described = (folder / "MLmodel").read_text()
    swapped = "flavors:\n  python_function:\n    loader_module: evil_loader\n    code: .\n    data: .\n"
    (folder / "MLmodel").write_text(described.replace("flavors:\n", swapped))
    assert {path.name for path in files} <= {path.name for path in folder.iterdir()}
    manifest = verify_bundle(broken.bundle, digest)
    vectors = json.loads((broken.bundle / "parity.json").read_bytes())["models"]["fraud"]
    import numpy as np

    scores = Scorer.load(folder, manifest).score(np.array(vectors["vectors"]))
    assert np.abs(scores - np.array(vectors["scores"])).max() < 1e-6
    assert not (folder / "witness").exists()
    mlflow.pyfunc.load_model(str(folder))
    assert (folder / "witness").exists(), "the attack would have worked on who loads through MLflow"


def test_aliases_are_left_alone_when_mlflow_is_away(finished):
    assert set_aliases(finished.settings, finished.project.name, "r-1", None) is None
