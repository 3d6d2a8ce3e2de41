"""The Spark session: a warm Spark Connect server when one is set, else one of this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import SettingError
from jobs.lake import address
from jobs.services.java import java_home
from jobs.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_S3 = "s3://"
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


def place(path: Path, settings: Settings) -> str:
    """What Spark calls a path of the lake: its file on this machine, or where it is on S3 if it reads that itself."""
    where = address(path)
    if settings.spark_files == "local" or not where.startswith(_S3):
        return str(path)
    return f"{settings.spark_files}://{where.removeprefix(_S3)}"


def session(settings: Settings) -> SparkSession:
    """A session in UTC that writes microsecond timestamps.

    Raises SettingError when there is no Java for a local one, or no jars for a lake that Spark reads on S3 itself.
    """
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if settings.spark_remote:
        spark = SparkSession.builder.remote(settings.spark_remote).getOrCreate()
    elif not settings.spark_master:  # spark-submit has said where
        builder = SparkSession.builder.appName("tidemill")
        for name, value in _RUNTIME.items():
            builder = builder.config(name, value)
        spark = builder.getOrCreate()
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
    if settings.spark_files != "local" and settings.lake_uri.startswith(_S3):
        _check_jars(spark, settings)
    return spark


def _check_jars(spark: SparkSession, settings: Settings) -> None:
    """Raises SettingError naming the package when Spark cannot read S3 by the scheme that is set."""
    scheme, said = settings.spark_files, ""
    nothing = f"{scheme}://{settings.lake_uri.removeprefix(_S3).rstrip('/')}/.none"
    try:
        spark.read.format("text").load(nothing).isEmpty()
    except Exception as error:  # of Spark or of the Java virtual machine; that nothing is there is as it should be
        said = str(error)
    if "No FileSystem for scheme" in said or "ClassNotFoundException" in said:
        raise SettingError(
            f"this Spark cannot read {scheme}://; nothing was read. Add the package org.apache.hadoop:hadoop-aws:"
            f"{_hadoop()} to it (spark.jars.packages, or its jar and software.amazon.awssdk:bundle in spark.jars) and set "
            "TIDEMILL_SPARK_FILES=s3a; s3 is EMR's own. Or set TIDEMILL_SPARK_FILES=local where Spark runs on the machine "
            "that runs the command"
        )


def _hadoop() -> str:
    """The version of Hadoop that PySpark brings, which hadoop-aws has to have as well."""
    import pyspark

    found = sorted(Path(str(pyspark.__file__)).parent.glob("jars/hadoop-client-api-*.jar"))
    return found[-1].stem.removeprefix("hadoop-client-api-") if found else "<Hadoop's version>"
