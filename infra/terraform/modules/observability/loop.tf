# What the loop says of itself, counted in its logs: features published, trainings asked for, runs that failed.

resource "aws_cloudwatch_log_metric_filter" "published" {
  for_each       = var.stage_log_groups
  name           = "features-published"
  log_group_name = each.value
  pattern        = "\"partitions published\""

  metric_transformation {
    namespace = var.name
    name      = "features-published-${each.key}"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "stale" {
  for_each            = var.stage_log_groups
  alarm_name          = "${var.name}-stale-${each.key}"
  alarm_description   = "No features were made for ${var.limits.stale_hours} hours: the producer is late or the data run fails. Serving goes on with the values it has, until their age limit. Can wait until morning."
  namespace           = var.name
  metric_name         = aws_cloudwatch_log_metric_filter.published[each.key].metric_transformation[0].name
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = var.limits.stale_hours
  datapoints_to_alarm = var.limits.stale_hours
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_log_metric_filter" "drift" {
  for_each       = var.stage_log_groups
  name           = "training-asked-for"
  log_group_name = each.value
  pattern        = "\"a training was asked for\""

  metric_transformation {
    namespace     = var.name
    name          = "training-asked-for-${each.key}"
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "drift" {
  for_each            = var.stage_log_groups
  alarm_name          = "${var.name}-drift-${each.key}"
  alarm_description   = "Drift or performance called for a training, which starts by itself. Read the day's report; nothing has to be done."
  namespace           = var.name
  metric_name         = aws_cloudwatch_log_metric_filter.drift[each.key].metric_transformation[0].name
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}

locals {
  scheduler = var.scheduler_log_group == null ? {} : {
    failed-runs  = { pattern = "\"Marking run\" \"failed\"", value = "1", threshold = 0, minutes = 1, says = "A run failed. Airflow shows the task and its log; docs/operations.md says what each failure means." }
    queued-tasks = { pattern = "[..., depth, unit=tasks, up=up, for=for, execution=\"execution:\"]", value = "$depth", threshold = var.limits.queued_tasks, minutes = 15, says = "Tasks waited for a quarter of an hour: a backfill is under way, or the pools are too small for what is due." }
  }
}

resource "aws_cloudwatch_log_metric_filter" "scheduler" {
  for_each       = local.scheduler
  name           = each.key
  log_group_name = var.scheduler_log_group
  pattern        = each.value.pattern

  metric_transformation {
    namespace = var.name
    name      = each.key
    value     = each.value.value
  }
}

resource "aws_cloudwatch_metric_alarm" "scheduler" {
  for_each            = local.scheduler
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.says
  namespace           = var.name
  metric_name         = aws_cloudwatch_log_metric_filter.scheduler[each.key].metric_transformation[0].name
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = each.value.minutes
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}
