"""Evidently's comparison of two frames, with our index as its test, and its page."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.monitoring.distance import psi

if TYPE_CHECKING:
    import pandas as pd

_METHOD = "tidemill_psi"


def by_evidently(
    reference: pd.DataFrame, current: pd.DataFrame, thresholds: Mapping[str, float], page: Path
) -> dict[str, float]:
    """The index of each column that has a threshold, NaN where there is none; Evidently's page is written to `page`."""
    os.environ.setdefault("DO_NOT_TRACK", "1")  # this process sends nothing to anybody
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType
    from evidently.presets import DataDriftPreset

    def measure(before: Any, after: Any, _: ColumnType, threshold: float) -> tuple[float, bool]:
        value = psi(before.to_numpy(dtype=np.float64), after.to_numpy(dtype=np.float64))
        return value, value >= threshold

    test = StatTest(name=_METHOD, display_name="PSI on deciles", allowed_feature_types=[ColumnType.Numerical])
    register_stattest(test, default_impl=measure)
    columns = list(thresholds)
    preset = DataDriftPreset(
        columns=columns,
        num_method=_METHOD,
        per_column_threshold=dict(thresholds),
        drift_share=1 / len(columns),
    )
    definition = DataDefinition(numerical_columns=columns)
    frames = [Dataset.from_pandas(frame[columns], data_definition=definition) for frame in (current, reference)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its widgets divide by the spread of constant columns
        snapshot = Report([preset]).run(*frames)
        snapshot.save_html(str(page))
    return {
        metric["config"]["column"]: float(metric["value"])
        for metric in snapshot.dict()["metrics"]
        if metric["config"]["type"].endswith(":ValueDrift")
    }
