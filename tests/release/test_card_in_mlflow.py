"""What people see of a release in MLflow: its card with the times of this machine, and its pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from jobs.release.registry import Registry
from jobs.stages import register
from jobs.storage import current
from jobs.training.card import DESCRIBED, shortened
from tests.training.runs import RUN

CANARY = "canary-4f1d-of-these-tests"
"""A secret that must be found nowhere."""


@pytest.fixture
def shown(broken, own, tmp_path, monkeypatch):
    """Settings of a real MLflow on a PostgreSQL of its own; there is no server to be asked whether it is up."""
    url = own.need("database_url")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    monkeypatch.setenv("MLFLOW_ARTIFACT_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Registry, "reachable", lambda self: True)
    secrets = dict.fromkeys(("mlflow_password", "airflow_password", "api_key"), SecretStr(CANARY))
    return broken.settings.model_copy(update={"mlflow_url": url, **secrets})


@pytest.mark.fault("F64")
@pytest.mark.fault("F68")
def test_the_version_is_described_by_the_card_and_holds_it_with_times_and_pictures(broken, shown, tmp_path):
    import mlflow

    release = current(broken.run / "release").digest
    facts = register.run(broken.project, shown, run=RUN).facts
    assert facts["mlflow"] == "registered", "though nobody answered when it was trained"
    version = Registry(shown, broken.project.name).client().get_model_version("fraud", facts["mlflow_version"])
    card = (broken.bundle / "fraud-card.md").read_text()
    told, _, rest = version.description.partition("The rest is in this version's files: ")
    assert len(version.description) <= DESCRIBED < len(card), "PostgreSQL keeps no more"
    assert card.startswith(told)
    assert "## Slices" in told
    assert rest.split(", ")[-1] == "Pictures beside this card.\n"
    folder = mlflow.artifacts.download_artifacts(f"models:/fraud/{version.version}", dst_path=str(tmp_path / "files"))
    names = {path.name for path in Path(folder).iterdir()}
    assert {"fraud-slices.png", "fraud-explanation.png", "fraud-explained-slices.png"} <= names
    assert Path(folder, "fraud-card.md").read_text() == card
    assert "µs" in Path(folder, "fraud-times.md").read_text()
    assert current(broken.run / "release").digest == release, "times are in no release"
    client = Registry(shown, broken.project.name).client()
    logged = [run.to_dictionary() for run in client.search_runs([client.get_experiment_by_name("fraud").experiment_id])]
    assert logged
    assert CANARY not in f"{logged} {version}"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


def test_a_card_that_fits_is_told_whole():
    text = "# title\n\nwords\n\n## One\n\na\n\n## Two\n\nb\n"
    assert shortened(text) == text
    short = shortened("# title\n\n## One\n\n" + "a" * 4_000 + "\n\n## Two\n\n" + "b" * 4_000 + "\n## Three\n")
    assert short.endswith("a\n\nThe rest is in this version's files: Two, Three.\n")
