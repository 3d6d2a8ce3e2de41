"""The one model of the bench, for the peers written in Python: LightGBM's own booster, one thread."""

from __future__ import annotations

import os

import lightgbm

INPUTS = os.environ["BENCH_INPUTS"].split(",")
booster = lightgbm.Booster(model_file=os.environ["BENCH_MODEL"])


def probability(vector: list[float]) -> float:
    """The model's probability for one vector."""
    return float(booster.predict([vector], num_threads=1)[0])
