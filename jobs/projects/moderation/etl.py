"""Cleaning of posts and verdicts; each event arrives here once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def clean(tables: Mapping[str, DataFrame]) -> Mapping[str, DataFrame]:
    """Posts as they are; of the verdicts the last of each reviewer, post and day, in small letters."""
    from pyspark.sql import functions as F
    from pyspark.sql.window import Window

    last = Window.partitionBy("post_id", "reviewer_id", F.to_date("reviewed_at")).orderBy(
        F.desc("reviewed_at"), F.desc("verdict_id")
    )
    verdicts = tables["verdicts"].withColumn("verdict", F.lower(F.trim("verdict")))
    verdicts = verdicts.withColumn("place", F.row_number().over(last)).where("place = 1").drop("place")
    return {"posts": tables["posts"], "verdicts": verdicts}
