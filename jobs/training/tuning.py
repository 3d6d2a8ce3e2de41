"""Optuna, so that a tuning may be killed anywhere and continued to the same answer."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.release.probability import scores_of
from jobs.spec import Library, Model
from jobs.training.fitting import Configuration
from jobs.training.frame import Frame, TrainingFrame, outcomes_of
from jobs.training.metrics import LOWER_IS_BETTER, measure
from jobs.training.tasks import task_of

PATIENCE = 4
"""Looks without a better value after which a trial stops growing."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The best trial: what to fit, and how it was found."""

    configuration: Configuration
    value: float
    trials: list[dict[str, Any]]
    imbalance: Any
    """Of the task's own parameters: the chosen treatment of rare positives, and what each was worth; None without any."""


def tune(
    model: Model,
    library: Library,
    frame: TrainingFrame,
    *,
    study: str,
    storage: str | Path,
    progress: Callable[[], None] = lambda: None,
) -> Tuned:
    """The best of the model's trials by the mean of its metric over the plan's tuning folds; known trials count.

    The first trials are the library's start with each start of the task: every treatment of imbalance, for one. Trial n is drawn from the n
    trials before it by a seed of its own, so an interrupted study continues exactly as it would have gone on.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lower = model.metric in LOWER_IS_BETTER
    kept = optuna.create_study(
        study_name=study,
        storage=_storage(storage),
        direction="minimize" if lower else "maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        load_if_exists=True,
    )
    running = optuna.trial.TrialState.RUNNING
    for abandoned in kept.get_trials(states=(running,)):
        kept.tell(abandoned.number, state=optuna.trial.TrialState.FAIL)
    done = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    finished = len(kept.get_trials(deepcopy=False, states=done))
    for _ in range(finished):
        progress()
    objective = _objective(model, library, frame) if finished < model.trials else None
    while finished < model.trials:
        kept.sampler = _sampler(model, library, finished)
        kept.optimize(objective, n_trials=1)
        finished += 1
        progress()
    best = kept.best_trial
    trials = [
        {"params": trial.params, "value": trial.value, "state": trial.state.name, "rounds": trial.user_attrs.get("rounds")}
        for trial in kept.get_trials(deepcopy=False, states=done)
    ]  # fmt: skip
    return Tuned(
        configuration=Configuration(library=library, params=dict(best.params), rounds=best.user_attrs["rounds"]),
        value=float(best.value or 0.0),
        trials=trials,
        imbalance=task_of(model).compared(trials, best.params, lower=lower),
    )


def _sampler(model: Model, library: Library, number: int) -> Any:
    import optuna

    sampler, task = optuna.samplers.TPESampler(seed=model.seed + number, n_startup_trials=5), task_of(model)
    if number >= len(task.starts):
        return sampler
    fixed = {**task.learners[library].start, **task.starts[number]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.PartialFixedSampler(fixed, sampler)


def _objective(model: Model, library: Library, frame: TrainingFrame) -> Callable[[Any], float]:
    folds = [(frame.learned(fold), frame.judged(fold)) for fold in frame.plan.tuning]
    sign = -1.0 if model.metric in LOWER_IS_BETTER else 1.0

    def objective(trial: Any) -> float:
        import optuna

        params = frame.task.propose(trial, library)
        params |= frame.task.learners[library].propose(trial)
        curves: list[_Curve] = []
        best = (-np.inf, 0)
        for step, (train, held) in enumerate(folds):
            curves.append(_Curve(model, library, params, train, held))
            best = _best(curves, sign)
            trial.set_user_attr("rounds", best[1])
            trial.report(sign * best[0], step)
            if step + 1 < len(folds) and trial.should_prune():
                raise optuna.TrialPruned
        return sign * best[0] if best[1] else float("nan")

    return objective


class _Curve:
    """A fold's metric as its model grows, as far as anybody asked."""

    def __init__(self, model: Model, library: Library, params: Mapping[str, Any], train: Frame, held: Frame) -> None:
        task = task_of(model)
        grown: Iterator[tuple[int, NDArray[np.float64]]] = task.learners[library].grow(
            task.of_library(params), task.examples(model, params, train), held.vectors, model.seed
        )
        self._grown, self._metric, self._outcomes = grown, model.metric, outcomes_of(held)
        self._entry = task.entry(model, params)
        self._values: list[tuple[int, float]] = []

    def at(self, look: int) -> tuple[int, float] | None:
        """Rounds and metric at the n-th look; None beyond the last."""
        while len(self._values) <= look:
            grown = next(self._grown, None)
            if grown is None:
                return None
            scores = scores_of(grown[1], self._entry)
            self._values.append((grown[0], measure(self._metric, self._outcomes, scores)))
        return self._values[look]


def _best(curves: list[_Curve], sign: float) -> tuple[float, int]:
    """The best mean over the curves and its rounds, grown until it has not become better for a while."""
    best, rounds, worse, look = -np.inf, 0, 0, 0
    while worse < PATIENCE:
        points = [curve.at(look) for curve in curves]
        known = [point for point in points if point is not None]
        if len(known) < len(points):
            break
        value = sign * float(np.mean([point[1] for point in known]))
        worse = 0 if value > best else worse + 1
        if value > best:
            best, rounds = value, known[0][0]
        look += 1
    return best, rounds


def _storage(place: str | Path) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = JournalFileOpenLock(str(place))
        _mend(place, lock)
        return optuna.storages.JournalStorage(JournalFileBackend(str(place), lock))
    return optuna.storages.RDBStorage(place, engine_kwargs={"pool_pre_ping": True})


def _mend(journal: Path, lock: Any) -> None:
    """Takes off a last line that was only written in part: by a process that was killed, or onto a full disk."""
    if not journal.exists():
        return
    lock.acquire()
    try:
        whole = journal.read_bytes().rpartition(b"\n")
        if whole[2]:
            os.truncate(journal, len(whole[0]) + len(whole[1]))
    finally:
        lock.release()
