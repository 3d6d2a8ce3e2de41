"""`python -m jobs.services.mlflow_server PORT [ADDRESS]`: MLflow's tracking server in one process.

`mlflow server` imports MLflow twice, once in a parent that only waits; on two cores that costs half of
the start of all services, and 280 MB for as long as they run. This does what it does, in its order:
the stores first, then the administrator, then the application with authentication.
"""

from __future__ import annotations

import os
import sys


def main(port: int, address: str = "127.0.0.1") -> None:
    """Serves on that address until SIGTERM; configured by MLFLOW_* as `mlflow server` is."""
    from mlflow.server import constants

    database = os.environ["MLFLOW_BACKEND_STORE_URI"]
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: database,
        constants.REGISTRY_STORE_URI_ENV_VAR: database,
        constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: os.environ["MLFLOW_ARTIFACTS_DESTINATION"],
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
    }
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(database, database, "mlflow-artifacts:/")

    import uvicorn
    from mlflow.server import auth

    auth.bootstrap_admin_user()
    uvicorn.run(auth.create_app(), host=address, port=port, access_log=False, timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
