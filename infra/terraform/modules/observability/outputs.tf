output "log_key_arn" {
  description = "ARN of the KMS key of log groups and alarms."
  value       = aws_kms_key.this.arn
}

output "topic_arn" {
  description = "The SNS topic that alarms and the budget are told to."
  value       = aws_sns_topic.this.arn
}

output "alarms" {
  description = "Names of all alarms."
  value = sort(concat(
    [for one in aws_cloudwatch_metric_alarm.errors : one.alarm_name],
    [for one in aws_cloudwatch_metric_alarm.latency : one.alarm_name],
    [for one in aws_cloudwatch_metric_alarm.unhealthy : one.alarm_name],
    [for one in aws_cloudwatch_metric_alarm.stale : one.alarm_name],
    [for one in aws_cloudwatch_metric_alarm.drift : one.alarm_name],
    [for one in aws_cloudwatch_metric_alarm.scheduler : one.alarm_name],
    [for one in aws_cloudwatch_metric_alarm.store : one.alarm_name],
  ))
}
