"""Run by the orchestrate environment's interpreter: the DAGs of a folder, as Airflow parses and serializes them."""

import json
import logging
import sys
from pathlib import Path

logging.disable(logging.WARNING)

from airflow.dag_processing.dagbag import BundleDagBag  # noqa: E402
from airflow.serialization.serialized_objects import DagSerialization  # noqa: E402

folder = Path(sys.argv[1])
bag = BundleDagBag(str(folder), bundle_path=folder, bundle_name="dags-folder")
dags = {}
for name, dag in bag.dags.items():
    restored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    dags[name] = {
        "tasks": {
            task.task_id: {
                "upstream": sorted(task.upstream_task_ids),
                "owner": task.owner,
                "pool": task.pool,
                "weight_rule": str(task.weight_rule),
                "retries": task.retries,
                "timeout": task.execution_timeout.total_seconds() if task.execution_timeout else None,
                "trigger_rule": task.trigger_rule.value,
                "outlets": [outlet.name for outlet in task.outlets],
                "template_fields": list(task.template_fields),
                "command": getattr(task, "command", None),
                "links": [type(link).__name__ for link in task.operator_extra_links],
            }
            for task in dag.tasks
        },
        "order": [task.task_id for task in dag.topological_sort()],
        "assets": [asset.name for _, asset in restored.timetable.asset_condition.iter_assets()]
        if hasattr(dag.timetable, "asset_condition")
        else [],
        "cron": getattr(dag.timetable, "expression", None),
        "start": dag.start_date.isoformat(),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "doc": dag.doc_md,
        "tags": sorted(dag.tags),
        "params": {key: {"value": param.value, **param.schema} for key, param in dag.params.items()},
        "periodic": restored.timetable.periodic,
    }
print(json.dumps({"errors": bag.import_errors, "dags": dags, "seconds": [
    stat.duration.total_seconds() for stat in bag.dagbag_stats]}))  # fmt: skip
