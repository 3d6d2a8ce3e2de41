"""Good candidates: as good as the champion, and not the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.proof.case import SEED, Seen
from tests.proof.home import SIGNAL, Home, declared
from tests.proof.walks import POLICY, candidate, weights
from tests.training.synthetic import frame


def _trained(home: Home, seed: int, **changes: Any) -> Seen:
    return home.candidate(home.run_name("good"), frame(signal=SIGNAL), declared(seed, **changes))


def _first(home: Home) -> Seen:
    assert home.first is not None
    return home.first


CANDIDATES: dict[str, dict[str, Callable[[Any], Seen]]] = {
    "home": {
        "XGBoost, seed 1": _first,
        **{f"XGBoost, seed {seed}": partial(_trained, seed=SEED + seed) for seed in (2, 3)},
        "XGBoost, two trials": partial(_trained, seed=SEED + 4, trials=2),
        "LightGBM": partial(_trained, seed=SEED + 5, learners=("lightgbm",)),
        "LightGBM, another seed": partial(_trained, seed=SEED + 6, learners=("lightgbm",)),
    },
    "traffic": {
        f"walk, seed {seed}": candidate(weights(SEED + 100 + seed), POLICY) for seed in range(1, 5)
    },
}  # fmt: skip
