"""Run by the orchestrate environment's interpreter: the runs that the scheduler makes, whatever the clocks do."""

import json
import logging
import os
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from unittest import mock

logging.disable(logging.WARNING)

import pendulum  # noqa: E402
from airflow.dag_processing.dagbag import BundleDagBag  # noqa: E402
from airflow.serialization.serialized_objects import DagSerialization  # noqa: E402
from airflow.timetables import interval  # noqa: E402
from airflow.timetables.base import DataInterval, TimeRestriction  # noqa: E402

asked = json.loads(sys.argv[2])
folder = Path(sys.argv[1])
bag = BundleDagBag(str(folder / "data.py"), bundle_path=folder, bundle_name="dags-folder")
assert bag.import_errors == {}, bag.import_errors
dag = DagSerialization.from_dict(DagSerialization.to_dict(bag.dags[asked["dag"]]))
wait = next(task for task in bag.dags[asked["dag"]].tasks if hasattr(task, "due_at"))


def moment(text: str) -> pendulum.DateTime:
    return pendulum.instance(datetime.fromisoformat(text))


def days(first: str, last: str) -> list[tuple[str, str]]:
    """The interval of each run that catching up makes, from one day to another."""
    found, before = [], None
    while True:
        limits = TimeRestriction(earliest=moment(first), latest=moment(last), catchup=True)
        info = dag.timetable.next_dagrun_info(last_automated_data_interval=before, restriction=limits)
        if info is None:
            return found
        before = DataInterval(info.data_interval.start, info.data_interval.end)
        found.append((before.start.isoformat(), before.end.isoformat()))


def scheduled(clock: list[str]) -> list[tuple[str, str, str]]:
    """The runs of a scheduler that does not catch up and looks at these times, each as the clock then shows it."""
    found, before = [], None
    for now in map(moment, clock):
        with mock.patch.object(interval, "utcnow", lambda now=now: now):
            limits = TimeRestriction(earliest=moment(asked["start"]), latest=None, catchup=False)
            info = dag.timetable.next_dagrun_info(last_automated_data_interval=before, restriction=limits)
        if info.run_after <= now:
            before = DataInterval(info.data_interval.start, info.data_interval.end)
            found.append((now.isoformat(), before.start.isoformat(), before.end.isoformat()))
    return found


answers = {"days": {}, "due": {}, "clocks": [scheduled(clock) for clock in asked["clocks"]]}
for zone in asked["zones"]:
    os.environ["TZ"] = zone
    time.tzset()
    answers["days"][zone] = [days(*span) for span in asked["spans"]]
    answers["due"][zone] = {
        str(day): wait.due_at(day).astimezone(UTC).isoformat()
        for day in (date.fromisoformat(asked["spans"][0][0][:10]) + timedelta(n) for n in range(400))
    }
print(json.dumps(answers))
