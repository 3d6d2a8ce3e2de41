# Before the load balancer: known bad requests are refused, and no address may ask without end.

resource "aws_wafv2_web_acl" "this" {
  #checkov:skip=CKV_AWS_192:The rules against bad inputs are a dynamic block, which the check does not follow.
  #checkov:skip=CKV2_AWS_31:Its logging is below, by for_each, which the check does not follow.
  for_each = local.balancer
  name     = var.name
  scope    = "REGIONAL"

  default_action {
    allow {}
  }

  dynamic "rule" {
    for_each = { AWSManagedRulesKnownBadInputsRuleSet = 1, AWSManagedRulesAmazonIpReputationList = 2 }

    content {
      name     = rule.key
      priority = rule.value

      override_action {
        none {}
      }

      statement {
        managed_rule_group_statement {
          vendor_name = "AWS"
          name        = rule.key
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = rule.key
        sampled_requests_enabled   = false
      }
    }
  }

  rule {
    name     = "rate"
    priority = 10

    action {
      block {}
    }

    statement {
      rate_based_statement {
        limit              = each.value.requests_five_minutes
        aggregate_key_type = "IP"
      }
    }

    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "rate"
      sampled_requests_enabled   = false
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = var.name
    sampled_requests_enabled   = false
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  for_each     = local.balancer
  resource_arn = aws_lb.this["this"].arn
  web_acl_arn  = aws_wafv2_web_acl.this["this"].arn
}

# The name must begin so, or WAF does not take it.
resource "aws_cloudwatch_log_group" "firewall" {
  for_each          = local.balancer
  name              = "aws-waf-logs-${var.name}"
  retention_in_days = var.logs.retention_days
  kms_key_id        = var.logs.key_arn
}

resource "aws_wafv2_web_acl_logging_configuration" "this" {
  for_each                = local.balancer
  resource_arn            = aws_wafv2_web_acl.this["this"].arn
  log_destination_configs = [aws_cloudwatch_log_group.firewall["this"].arn]

  # Keys are in this header.
  redacted_fields {
    single_header {
      name = "authorization"
    }
  }

  logging_filter {
    default_behavior = "DROP"

    filter {
      behavior    = "KEEP"
      requirement = "MEETS_ANY"

      condition {
        action_condition {
          action = "BLOCK"
        }
      }
    }
  }
}
