"""Cleaning of payments and fraud reports; each event arrives here once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def clean(tables: Mapping[str, DataFrame]) -> Mapping[str, DataFrame]:
    """Payments as they are; of the reports, those that name a fraud, the first of each payment and day."""
    from pyspark.sql import functions as F
    from pyspark.sql.window import Window

    first = Window.partitionBy("transaction_id", F.to_date("reported_at")).orderBy("reported_at", "report_id")
    reports = (
        tables["fraud_reports"]
        .where("is_fraud")
        .withColumn("place", F.row_number().over(first))
        .where("place = 1")
        .drop("place")
    )
    return {"transactions": tables["transactions"], "fraud_reports": reports}
