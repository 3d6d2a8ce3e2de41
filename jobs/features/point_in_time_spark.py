"""The join of `point_in_time` on Spark, equal to DuckDB's on every cell; runs on Spark Connect too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from jobs.spec import FeatureView

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_VALUE = "__value"


def join(spine: DataFrame, views: Mapping[FeatureView, DataFrame], *, provenance: bool = False) -> DataFrame:
    """The spine, in no order, with `<view>__<feature>` and `<view>__found` of every view.

    With `provenance` also `<view>__available_at`. Each view costs one shuffle and one sort by its keys.
    """
    for view, values in views.items():
        spine = _joined(spine, view, values, provenance)
    return spine


def _joined(spine: DataFrame, view: FeatureView, values: DataFrame, provenance: bool) -> DataFrame:
    """The values between the events of their key, and at each event the last value that came before it."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    fields = [f.col("available_at"), *(f.col(name).cast("bigint").alias(name) for name in view.features)]
    complete = " and ".join(f"`{name}` is not null" for name in (*view.entity, "available_at"))
    offered = values.where(complete).select(
        *view.entity, f.col("available_at").alias("event_time"), f.struct(*fields).alias(_VALUE)
    )
    events = spine.withColumn(_VALUE, f.lit(None).cast(offered.schema[_VALUE].dataType)).withColumn("__event", f.lit(1))
    both = events.unionByName(offered.withColumn("__event", f.lit(0)), allowMissingColumns=True)
    order = [f.col("event_time").asc_nulls_first(), f.col("__event").asc()]
    order += [f.col(f"{_VALUE}.{name}").asc_nulls_first() for name in view.features]
    before = Window.partitionBy(*view.entity).orderBy(*order).rowsBetween(Window.unboundedPreceding, 0)
    seen = both.withColumn(_VALUE, f.last(_VALUE, ignorenulls=True).over(before)).where("__event = 1")
    age = f.unix_micros("event_time") - f.unix_micros(f"{_VALUE}.available_at")
    found = f.coalesce(age < view.ttl // timedelta(microseconds=1), f.lit(False))
    columns = [f.col(f"`{name}`") for name in spine.columns]
    columns += [
        f.when(found, f.col(f"{_VALUE}.{name}")).otherwise(f.lit(0).cast("bigint")).alias(f"{view.name}__{name}")
        for name in view.features
    ]
    columns.append(found.alias(f"{view.name}__found"))
    if provenance:
        columns.append(f.when(found, f.col(f"{_VALUE}.available_at")).alias(f"{view.name}__available_at"))
    return seen.select(*columns)
