"""Cleaning of what was offered and what was watched; each event arrives here once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def clean(tables: Mapping[str, DataFrame]) -> Mapping[str, DataFrame]:
    """Offers as they are; of what was watched, the most of each offer and day: players report again as they go on."""
    from pyspark.sql import functions as F
    from pyspark.sql.window import Window

    most = Window.partitionBy("impression_id", F.to_date("watched_at")).orderBy(
        F.desc("percent"), "watched_at", "watch_id"
    )
    watches = tables["watches"].withColumn("kept", F.row_number().over(most)).where("kept = 1").drop("kept")
    return {"impressions": tables["impressions"], "watches": watches}
