"""What every task says of itself: the questions that training, evaluation, gate and monitoring ask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from jobs.spec import Library, Model, TaskName
from jobs.training.learners import Examples, Learner
from jobs.training.metrics import Outcomes

if TYPE_CHECKING:
    from jobs.training.frame import Frame

Labels = NDArray[Any]
Flags = NDArray[np.bool_]
Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A picture of what happened beside one or more named sets of scores."""

    name: str
    """Of the file, without its ending."""
    title: str
    draw: Callable[[Path, Outcomes, Mapping[str, Scores]], None]


class Task(ABC):
    """One kind of prediction. It has no state; a model's declaration comes with every question."""

    name: ClassVar[TaskName]
    metrics: ClassVar[tuple[str, ...]]
    """What every evaluation reports, by the names of `jobs.training.metrics`."""
    headline: ClassVar[tuple[str, ...]]
    """The few of them that a backtest averages over its folds."""
    learners: ClassVar[Mapping[Library, Learner]]
    """What can learn it; a `rule` learns nothing and fits every task."""
    distributed: ClassVar[tuple[Library, ...]]
    """What of that learns past one machine, on Spark: LightGBM has no learner there that installs without Java's packages."""
    starts: ClassVar[Sequence[Mapping[str, Any]]]
    """What the first trials of a tuning set beside the learner's own start, one each."""
    plots: ClassVar[Sequence[Plot]]
    separable: ClassVar[bool] = True
    """Whether a model can do without any one of its inputs."""

    def of(self, model: Model) -> Task:
        """The task as it is for a model: itself, or one that reports more metrics."""
        return self

    @abstractmethod
    def labels(self, column: Any) -> Labels:
        """The label column of a frame (an Arrow array without nulls) as an array."""

    def logged(self, rows: Any) -> Scores:
        """The scores of a table of answers from the prediction log; NaN where an answer was none of a model."""
        return np.asarray(rows.column("score").to_numpy(), dtype=np.float64)

    @abstractmethod
    def positive(self, label: Labels) -> Flags:
        """Which labels are what is looked for: what a gate asks a least number of."""

    @abstractmethod
    def fault(self, label: Labels) -> str | None:
        """Why rows with these labels teach or show nothing, as the end of a sentence; None where they do."""

    @abstractmethod
    def propose(self, trial: Any, library: Library) -> dict[str, Any]:
        """The parameters of an Optuna trial that are the task's own, beside those of the learner."""

    @abstractmethod
    def examples(self, model: Model, params: Mapping[str, Any], rows: Frame) -> Examples:
        """What a model learns from, prepared as its parameters say."""

    @abstractmethod
    def of_library(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters that the library itself takes."""

    @abstractmethod
    def thinned(self, rows: Frame, share: float, seed: int) -> Flags:
        """Which rows to keep of a frame that is too large: about a share of them, and as much of what is rare."""

    @abstractmethod
    def entry(self, model: Model, params: Mapping[str, Any], thinned: float = 1.0) -> dict[str, Any]:
        """What a manifest says of how margins become scores, before any calibration; `thinned` is the share that was kept."""

    @abstractmethod
    def calibrated(self, margins: Scores, entry: Mapping[str, Any], rows: Frame) -> dict[str, Any]:
        """The entry with the calibration of margins of rows that neither fitted nor tuned the model."""

    @abstractmethod
    def compared(self, trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any], *, lower: bool) -> Any:
        """What a tuning says of the task's own parameters, for the model card; None where there are none."""

    @abstractmethod
    def decisions(self, model: Model, label: Labels, scores: Scores) -> dict[str, Any]:
        """What serving decides by: thresholds chosen on the scores of the validation folds, or declared costs."""
