"""What a model is asked for, and all that differs by it: a task is a module of this package.

To add one: write a module with a subclass of `Task` (how labels are read and what counts as a positive, the learners'
objectives, the metrics it reports, calibration, plots, what examples are), name it in `TASKS` and in `spec.TaskName`,
add its metrics by name to `jobs.training.metrics`, and how its margins become scores to `jobs.release.probability`,
which servers share. Stages, tuning, gate and card ask the task and never its name.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobs.spec import Model, TaskName
from jobs.training.tasks.binary import Binary
from jobs.training.tasks.multiclass import Multiclass
from jobs.training.tasks.ranking import Ranking
from jobs.training.tasks.retrieval import Retrieval
from jobs.training.tasks.task import Task

TASKS: Mapping[TaskName, Task] = {
    "binary": Binary(),
    "multiclass": Multiclass(),
    "ranking": Ranking(),
    "retrieval": Retrieval(),
}


def task_of(model: Model) -> Task:
    """The task that a model declares."""
    return TASKS[model.task].of(model)
