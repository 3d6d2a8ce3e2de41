"""Good candidates: as good as the champion, and not the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from jobs.projects import PROJECTS
from tests.proof.case import SEED, Seen
from tests.proof.home import Home
from tests.proof.world import declared


def _trained(home: Home, seed: int) -> Seen:
    return home.candidate(home.run_name("good"), project=declared(PROJECTS[home.name], SEED + seed))


def _first(home: Home) -> Seen:
    assert home.first is not None
    return home.first


CANDIDATES: dict[str, Callable[[Home], Seen]] = {
    "trained, seed 1": _first,
    **{f"trained, seed {seed}": partial(_trained, seed=seed) for seed in (2, 3)},
}
