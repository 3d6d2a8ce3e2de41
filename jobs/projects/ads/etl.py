"""Cleaning of impressions and clicks; each event arrives here once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def clean(tables: Mapping[str, DataFrame]) -> Mapping[str, DataFrame]:
    """Impressions as they are; of the clicks, the first of each impression and day: a second finger is no second one."""
    from pyspark.sql import functions as F
    from pyspark.sql.window import Window

    first = Window.partitionBy("impression_id", F.to_date("clicked_at")).orderBy("clicked_at", "click_id")
    clicks = tables["clicks"].withColumn("place", F.row_number().over(first)).where("place = 1").drop("place")
    return {"impressions": tables["impressions"], "clicks": clicks}
