"""The Spark session: a warm Spark Connect server when one is set, else one of this process."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from jobs.services.java import java_home
from jobs.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LISTED_BY_DRIVER = 100_000
_RUNTIME = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.shuffle.partitions": "8",
    # A day is a small file: listing hundreds of them in the driver is quicker than a job that does it.
    "spark.sql.sources.parallelPartitionDiscovery.threshold": str(_LISTED_BY_DRIVER),
}
_STATIC = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.sql.catalogImplementation": "in-memory",
}
_LOCAL = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "2g",
}
"""For a master on this machine; on a cluster the executors have to find the driver."""


def session(settings: Settings) -> SparkSession:
    """A session in UTC that writes microsecond timestamps; raises SettingError when there is no Java for a local one."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if settings.spark_remote:
        spark = SparkSession.builder.remote(settings.spark_remote).getOrCreate()
    else:
        os.environ["JAVA_HOME"] = str(java_home(settings))
        builder = SparkSession.builder.master(settings.spark_master).appName("tidemill")
        local = settings.spark_master.startswith("local")
        if local:
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        for name, value in (_STATIC | (_LOCAL if local else {}) | _RUNTIME).items():
            builder = builder.config(name, value)
        spark = builder.config("spark.sql.warehouse.dir", str(settings.home / "spark")).getOrCreate()
    for name, value in _RUNTIME.items():
        spark.conf.set(name, value)
    return spark
