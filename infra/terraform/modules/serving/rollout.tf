# What a rollout may do to a project's own slots: start and stop them, and move the load balancer's weights.

data "aws_iam_policy_document" "rollout" {
  for_each = var.projects

  statement {
    sid       = "StartAndStopSlots"
    actions   = ["ecs:DescribeServices", "ecs:UpdateService"]
    resources = [for name, one in local.slots : module.slot[name].arn if one.project == each.key]
  }

  dynamic "statement" {
    for_each = local.weighted ? ["weights"] : []

    content {
      sid       = "MoveWeights"
      actions   = ["elasticloadbalancing:ModifyRule"]
      resources = [aws_lb_listener_rule.project[each.key].arn]
    }
  }

  # Neither takes a resource; they read only.
  dynamic "statement" {
    for_each = local.weighted ? ["weights"] : []

    content {
      sid       = "SeeWeights"
      actions   = ["elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeTargetHealth"]
      resources = ["*"]
    }
  }
}

output "rollout_policies" {
  description = "For each project, the policy of whoever rolls its releases out."
  value       = { for name, one in data.aws_iam_policy_document.rollout : name => one.json }
}
