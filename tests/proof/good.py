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
    },
    "traffic": {
        f"walk, seed {seed}": candidate(weights(SEED + 100 + seed), POLICY) for seed in range(1, 8)
    },
}  # fmt: skip
