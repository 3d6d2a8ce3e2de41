# What everything stands on: the database, the online store, Spark, and AWS's own Airflow where it is used.

locals {
  stores = merge(
    var.database == null ? {} : {
      database-storage     = { namespace = "AWS/RDS", metric = "FreeStorageSpace", dimensions = { DBInstanceIdentifier = var.database.identifier }, statistic = "Minimum", below = true, threshold = var.limits.database_free_gb * 1073741824, minutes = 15, says = "The database's disk is nearly full. It grows by itself up to max_storage_gb: raise that." }
      database-processor   = { namespace = "AWS/RDS", metric = "CPUUtilization", dimensions = { DBInstanceIdentifier = var.database.identifier }, statistic = "Average", below = false, threshold = 85, minutes = 15, says = "The database is busy. See Performance Insights for the query; the next instance class is one apply away." }
      database-connections = { namespace = "AWS/RDS", metric = "DatabaseConnections", dimensions = { DBInstanceIdentifier = var.database.identifier }, statistic = "Maximum", below = false, threshold = 300, minutes = 5, says = "Many connections are open: a component does not close its own." }
    },
    {
      online-store-throttled = { namespace = "AWS/DynamoDB", metric = "ThrottledRequests", dimensions = { TableName = var.table }, statistic = "Sum", below = false, threshold = 0, minutes = var.limits.throttled_minutes, says = "The online store refuses requests: answers are degraded and events wait in memory. A hot key, or the bound that max_write_units sets." }
      online-store-errors    = { namespace = "AWS/DynamoDB", metric = "SystemErrors", dimensions = { TableName = var.table }, statistic = "Sum", below = false, threshold = 0, minutes = 5, says = "DynamoDB itself fails. Serving goes on with default features." }
    },
    var.spark == null ? {} : {
      spark-failed = { namespace = "AWS/EMRServerless", metric = "FailedJobs", dimensions = { ApplicationId = var.spark.application_id }, statistic = "Maximum", below = false, threshold = 0, minutes = 1, says = "A Spark job failed. Airflow tries again; its log is linked from the task." }
    },
    var.mwaa == null ? {} : {
      mwaa-queued = { namespace = "AmazonMWAA", metric = "QueuedTasks", dimensions = { Function = "Executor", Environment = var.mwaa }, statistic = "Maximum", below = false, threshold = var.limits.queued_tasks, minutes = 15, says = "Tasks waited for a quarter of an hour: raise max_workers, or wait for the backfill." }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "store" {
  for_each            = local.stores
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.says
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = 60
  evaluation_periods  = each.value.minutes
  comparison_operator = each.value.below ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}
