# What clients notice: errors, slowness, and slots that are not well.

locals {
  balancer      = var.load_balancer == null ? {} : { this = var.load_balancer }
  target_groups = var.load_balancer == null ? {} : var.load_balancer.target_groups
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  for_each            = local.balancer
  alarm_name          = "${var.name}-errors"
  alarm_description   = "More than ${var.limits.error_percent} % of the requests failed for five minutes. Urgent: `tidemill rollout abort` if a release is walking, else see the slots' logs."
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.limits.error_percent
  evaluation_periods  = 5
  datapoints_to_alarm = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]

  metric_query {
    id          = "share"
    expression  = "IF(requests > 20, 100 * (FILL(target, 0) + FILL(own, 0)) / requests, 0)"
    label       = "errors, % of requests"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { requests = "RequestCount", target = "HTTPCode_Target_5XX_Count", own = "HTTPCode_ELB_5XX_Count" }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/ApplicationELB"
        metric_name = metric_query.value
        period      = 60
        stat        = "Sum"
        dimensions  = { LoadBalancer = each.value.name }
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "latency" {
  for_each            = local.balancer
  alarm_name          = "${var.name}-latency"
  alarm_description   = "One request in a hundred took longer than ${var.limits.p99_milliseconds} ms for five minutes. See whether slots are at their maximum, and the online store throttles."
  namespace           = "AWS/ApplicationELB"
  metric_name         = "TargetResponseTime"
  dimensions          = { LoadBalancer = each.value.name }
  extended_statistic  = "p99"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.limits.p99_milliseconds / 1000
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "unhealthy" {
  for_each            = local.target_groups
  alarm_name          = "${var.name}-unhealthy-${each.key}"
  alarm_description   = "A task of ${each.key} does not answer its health check. It is replaced; if this stays, see its log."
  namespace           = "AWS/ApplicationELB"
  metric_name         = "UnHealthyHostCount"
  dimensions          = { LoadBalancer = var.load_balancer.name, TargetGroup = each.value }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}
