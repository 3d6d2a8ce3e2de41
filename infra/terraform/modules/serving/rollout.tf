# What a rollout may do to a project's own slots: start and stop them, and share traffic out. What they are told to serve
# is among the project's files of the lake; the routes are one document of all projects.

data "aws_iam_policy_document" "rollout" {
  for_each = var.projects

  statement {
    sid       = "StartAndStopSlots"
    actions   = ["ecs:DescribeServices", "ecs:UpdateService"]
    resources = [for name, one in local.slots : module.slot[name].arn if one.project == each.key]
  }

  # Takes no resource; it reads only.
  statement {
    sid       = "FindSlotsAndRouters"
    actions   = ["servicediscovery:DiscoverInstances"]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = var.policy == "router" ? ["routes"] : []

    content {
      sid       = "ShareTrafficOut"
      actions   = ["s3:GetObject", "s3:PutObject"]
      resources = ["${var.lake.bucket_arn}/routes/routes.json"]
    }
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
