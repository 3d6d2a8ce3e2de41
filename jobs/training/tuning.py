"""Optuna, so that a tuning may be killed anywhere and continued to the same answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.spec import Model
from jobs.training.frame import Frame, outcomes_of
from jobs.training.learners import Learner
from jobs.training.metrics import LOWER_IS_BETTER, measure

PATIENCE = 4
"""Looks without a better value after which a trial stops growing."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The best trial: what to fit, and how it was found."""

    params: dict[str, Any]
    rounds: int
    value: float
    trials: list[dict[str, Any]]


def tune(
    model: Model,
    learner: Learner,
    train: Frame,
    validation: Frame,
    *,
    study: str,
    storage: str | Path,
    progress: Callable[[], None] = lambda: None,
) -> Tuned:
    """The best of the model's trials on the validation part; trials already in the study count.

    Trial n is drawn from the n trials before it by a seed of its own, so an interrupted study
    continues exactly as it would have gone on.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lower = model.metric in LOWER_IS_BETTER
    kept = optuna.create_study(
        study_name=study,
        storage=_storage(storage),
        direction="minimize" if lower else "maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=40, interval_steps=20),
        load_if_exists=True,
    )
    running = optuna.trial.TrialState.RUNNING
    for abandoned in kept.get_trials(states=(running,)):
        kept.tell(abandoned.number, state=optuna.trial.TrialState.FAIL)
    objective = _objective(model, learner, train, validation)
    done = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    finished = len(kept.get_trials(deepcopy=False, states=done))
    for _ in range(finished):
        progress()
    while finished < model.trials:
        kept.sampler = optuna.samplers.TPESampler(seed=model.seed + finished, n_startup_trials=5)
        kept.optimize(objective, n_trials=1)
        finished += 1
        progress()
    best = kept.best_trial
    return Tuned(
        params=dict(best.params),
        rounds=best.user_attrs["rounds"],
        value=float(best.value or 0.0),
        trials=[
            {"params": trial.params, "value": trial.value, "state": trial.state.name, "rounds": trial.user_attrs.get("rounds")}
            for trial in kept.get_trials(deepcopy=False, states=done)
        ],
    )  # fmt: skip


def _objective(model: Model, learner: Learner, train: Frame, validation: Frame) -> Callable[[Any], float]:
    outcomes = outcomes_of(validation)
    sign = -1.0 if model.metric in LOWER_IS_BETTER else 1.0

    def objective(trial: Any) -> float:
        import optuna

        best, rounds_of_best, worse = -np.inf, 0, 0
        params = learner.propose(trial)
        for rounds, scores in learner.grow(params, train.vectors, train.label, validation.vectors, model.seed):
            value = sign * measure(model.metric, outcomes, scores)
            worse = 0 if value > best else worse + 1
            if value > best:
                best, rounds_of_best = value, rounds
                trial.set_user_attr("rounds", rounds)
            trial.report(sign * value, rounds)
            if trial.should_prune():
                raise optuna.TrialPruned
            if worse >= PATIENCE:
                break
        return sign * best if rounds_of_best else float("nan")

    return objective


def _storage(place: str | Path) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
        return optuna.storages.JournalStorage(JournalFileBackend(str(place), JournalFileOpenLock(str(place))))
    return optuna.storages.RDBStorage(place, engine_kwargs={"pool_pre_ping": True})
