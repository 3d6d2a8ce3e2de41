"""Cleaning of what was shown and what was clicked; each event arrives here once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def clean(tables: Mapping[str, DataFrame]) -> Mapping[str, DataFrame]:
    """What was shown as it is; of the clicks, the one that was read longest of each showing and day."""
    from pyspark.sql import functions as F
    from pyspark.sql.window import Window

    longest = Window.partitionBy("impression_id", F.to_date("clicked_at")).orderBy(
        F.desc("seconds"), "clicked_at", "click_id"
    )
    clicks = tables["clicks"].withColumn("kept", F.row_number().over(longest)).where("kept = 1").drop("kept")
    return {"impressions": tables["impressions"], "clicks": clicks}
