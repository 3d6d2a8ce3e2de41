"""MLflow, where people look: candidates, registered versions and aliases, all a projection of the ledger.

Models are logged as plain files with an `MLmodel` that states their signature and has no Python
loader, so that nothing can be loaded, let alone unpickled, through the registry.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from jobs.release.ledger import Ledger
from jobs.settings import Settings

_Answer = TypeVar("_Answer")
RUN_TAG = "tidemill.candidate"


@dataclass(frozen=True, kw_only=True)
class Logged:
    """One candidate, as MLflow shows it."""

    name: str
    digest: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    dataset: Mapping[str, Any]
    """name, digest, source, rows."""
    plots: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    inputs: tuple[str, ...] = field(default=())


class Registry:
    """A project's experiment and registered model on the tracking server."""

    def __init__(self, settings: Settings, project: str) -> None:
        self.url, self.project = settings.mlflow_url.rstrip("/"), project
        self._settings = settings

    def reachable(self) -> bool:
        """Whether there is a password and the server answers within two seconds; asked before MLflow's slow import."""
        import httpx

        if self._settings.mlflow_password is None:
            return False

        try:
            return httpx.get(f"{self.url}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def client(self) -> Any:
        """A client of the tracking server, with its credentials and short retries."""
        environment = {
            "MLFLOW_TRACKING_USERNAME": self._settings.mlflow_username,
            "MLFLOW_TRACKING_PASSWORD": self._settings.need("mlflow_password"),
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "GIT_PYTHON_REFRESH": "quiet",
        }
        os.environ.update(environment)
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        return MlflowClient(tracking_uri=self.url, registry_uri=self.url)

    def log(self, client: Any, logged: Logged) -> str:
        """The MLflow run of a candidate; one that was logged with the same digest is found, not repeated."""
        from mlflow.entities import Dataset, DatasetInput, Metric, Param
        from mlflow.utils.time import get_current_time_millis

        experiment = self._experiment(client)
        filter_ = f"tags.`{RUN_TAG}` = '{logged.name}' and tags.`tidemill.digest` = '{logged.digest}'"
        for found in client.search_runs([experiment], filter_, max_results=5):
            if found.info.status == "FINISHED":
                return str(found.info.run_id)
        tags = {**logged.tags, RUN_TAG: logged.name, "tidemill.digest": logged.digest}
        run = client.create_run(experiment, run_name=logged.name, tags=tags).info.run_id
        now = get_current_time_millis()
        client.log_batch(
            run,
            metrics=[Metric(name, value, now, 0) for name, value in logged.metrics.items()],
            params=[Param(name, str(value)) for name, value in logged.params.items()],
        )
        data = logged.dataset
        source = json.dumps({"uri": data["source"]})
        profile = json.dumps({"rows": data["rows"]})
        schema = json.dumps({"mlflow_colspec": [{"name": name, "type": "double"} for name in logged.inputs]})
        dataset = Dataset(data["name"], data["digest"][:36], "local", source, schema, profile)
        client.log_inputs(run, datasets=[DatasetInput(dataset)])
        for path in logged.plots:
            client.log_artifact(run, str(path), "plots")
        if logged.files:
            self._log_model(client, experiment, run, logged.name, logged.files, logged.inputs, logged.tags)
        client.set_terminated(run)
        return str(run)

    def aliases(self, client: Any) -> dict[str, str]:
        """The version that each alias of the registered model names; empty while no release is registered."""
        from mlflow.exceptions import MlflowException

        try:
            found = client.get_registered_model(self.project).aliases
        except MlflowException:
            return {}
        return {str(alias): str(version) for alias, version in found.items()}

    def release_of(self, client: Any, version: str | None) -> str | None:
        """The release that a version holds, None for no version or one that is not ours."""
        if version is None:
            return None
        return client.get_model_version(self.project, version).tags.get("tidemill.release")  # type: ignore[no-any-return]

    def register(
        self,
        client: Any,
        run: str,
        release: str,
        digest: str,
        files: Iterable[Path],
        inputs: tuple[str, ...],
        card: str,
    ) -> str:
        """The registered version that holds a release's files; made once a release."""
        from mlflow.exceptions import MlflowException

        try:
            client.get_registered_model(self.project)
        except MlflowException:
            client.create_registered_model(self.project, description=f"Releases of the model project {self.project}.")
        version = self.version_of(client, release)
        if version is None:
            experiment = self._experiment(client)
            tags = {"tidemill.release": release, "tidemill.digest": digest}
            model = self._log_model(client, experiment, run, release, tuple(files), inputs, tags)
            version = client.create_model_version(
                self.project, f"models:/{model}", run_id=run, tags=tags, description=card, model_id=model
            ).version
        return str(version)

    def version_of(self, client: Any, release: str) -> str | None:
        """The registered version of a release, or None."""
        for version in client.search_model_versions(f"name = '{self.project}'"):
            if version.tags.get("tidemill.release") == release:
                return str(version.version)
        return None

    def _experiment(self, client: Any) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.project)
        if found is None:
            try:
                return str(client.create_experiment(self.project))
            except MlflowException:  # another training of the project created it just now
                found = client.get_experiment_by_name(self.project)
        return str(found.experiment_id)

    def _log_model(
        self,
        client: Any,
        experiment: str,
        run: str,
        name: str,
        files: tuple[Path, ...],
        inputs: tuple[str, ...],
        tags: Mapping[str, str],
    ) -> str:
        import shutil

        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model, ModelSignature
        from mlflow.types import ColSpec, Schema

        safe = name.replace("/", "-").replace(":", "-").replace(".", "-")
        model = client.create_logged_model(experiment, safe, source_run_id=run, tags=dict(tags))
        signature = ModelSignature(
            inputs=Schema([ColSpec("double", one) for one in inputs]),
            outputs=Schema([ColSpec("double", "probability")]),
        )
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for path in files:
                shutil.copyfile(path, folder / path.name)
            described = Model(
                artifact_path=model.artifact_location,
                run_id=run,
                model_uuid=model.model_id,
                model_id=model.model_id,
                signature=signature,
                flavors={"tidemill": {"files": sorted(path.name for path in files)}},
            )
            described.save(str(folder / "MLmodel"))
            client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run, models=[LoggedModelOutput(model.model_id, step=0)])
        return str(model.model_id)


def attempt(registry: Registry, act: Callable[[Any], _Answer]) -> _Answer | None:
    """What `act` answers on the registry's client, or None when the server is away or fails: never an error.

    Work that is done and kept must not be lost for want of a page to look at it.
    """
    if not registry.reachable():
        return None
    client = registry.client()
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        return act(client)
    except (MlflowException, RequestException) as error:
        import sys

        print(f"MLflow at {registry.url} failed: {str(error).splitlines()[0][:300]}", file=sys.stderr)
        return None


def set_aliases(
    settings: Settings, project: str, champion: str | None, challenger: str | None
) -> dict[str, dict[str, str | None]] | None:
    """Brings MLflow's aliases `champion` and `challenger` to the ledger's releases; None when it did not answer.

    An alias whose release is None, or is not registered, is removed. Returns each alias that was another one, with the
    release it `found` and the one it is `now`.
    """
    registry = Registry(settings, project)

    def act(client: Any) -> dict[str, dict[str, str | None]]:
        changed: dict[str, dict[str, str | None]] = {}
        for alias, release in (("champion", champion), ("challenger", challenger)):
            wanted = registry.version_of(client, release) if release else None
            found = registry.aliases(client).get(alias)
            if found == wanted:
                continue
            if wanted is not None:
                client.set_registered_model_alias(project, alias, wanted)
            else:
                client.delete_registered_model_alias(project, alias)
            changed[alias] = {"found": registry.release_of(client, found), "now": release if wanted else None}
        return changed

    return attempt(registry, act)


def reconcile(settings: Settings, ledger: Ledger, project: str) -> dict[str, dict[str, str | None]] | None:
    """Brings the aliases back to what the ledger says, and keeps an audit record of each that was another.

    Returns as `set_aliases` does. Nothing is served by an alias: slots are told by the ledger's rollout alone.
    """
    champion, challenger = ledger.champion(project), ledger.challenger(project)
    changed = set_aliases(
        settings, project, champion.release if champion else None, challenger.release if challenger else None
    )
    if changed:
        ledger.audit(project, "aliases restored", {"aliases": changed})
    return changed
