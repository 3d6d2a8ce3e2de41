# What Airflow may do: start and stop stages, in the roles they have, read their logs, and look at what landed.

data "aws_region" "current" {}
data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  scope = "${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
}

data "aws_iam_policy_document" "airflow" {
  statement {
    sid       = "StartStages"
    actions   = ["ecs:RunTask"]
    resources = [for family in var.compute.families : "arn:${data.aws_partition.current.partition}:ecs:${local.scope}:task-definition/${family}:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [var.cluster.arn]
    }
  }

  statement {
    sid       = "WatchAndStopStages"
    actions   = ["ecs:DescribeTasks", "ecs:StopTask"]
    resources = ["arn:${data.aws_partition.current.partition}:ecs:${local.scope}:task/${var.cluster.name}/*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [var.cluster.arn]
    }
  }

  # Takes a container instance, of which Fargate has none.
  statement {
    sid       = "FindStages"
    actions   = ["ecs:ListTasks"]
    resources = ["*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [var.cluster.arn]
    }
  }

  statement {
    sid       = "TagStages"
    actions   = ["ecs:TagResource"]
    resources = ["arn:${data.aws_partition.current.partition}:ecs:${local.scope}:task/${var.cluster.name}/*"]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RunTask"]
    }
  }

  statement {
    sid       = "PassStagesTheirRoles"
    actions   = ["iam:PassRole"]
    resources = var.compute.passed_role_arns

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  dynamic "statement" {
    for_each = var.compute.spark == null ? [] : [var.compute.spark]

    content {
      sid = "StartAndStopSpark"
      actions = [
        "emr-serverless:CancelJobRun", "emr-serverless:GetApplication", "emr-serverless:GetJobRun",
        "emr-serverless:StartApplication", "emr-serverless:StartJobRun",
      ]
      resources = [statement.value.application_arn, "${statement.value.application_arn}/jobruns/*"]
    }
  }

  dynamic "statement" {
    for_each = var.compute.spark == null ? [] : [var.compute.spark]

    content {
      sid       = "PassSparkItsRoles"
      actions   = ["iam:PassRole"]
      resources = values(statement.value.role_arns)

      condition {
        test     = "StringEquals"
        variable = "iam:PassedToService"
        values   = ["emr-serverless.amazonaws.com"]
      }
    }
  }

  statement {
    sid     = "ReadStagesLogs"
    actions = ["logs:FilterLogEvents", "logs:GetLogEvents"]
    resources = [
      for group in concat(var.compute.log_groups, var.compute.spark == null ? [] : [var.compute.spark.log_group]) :
      "arn:${data.aws_partition.current.partition}:logs:${local.scope}:log-group:${group}:*"
    ]
  }

  statement {
    sid       = "SeeWhatLanded"
    actions   = ["s3:GetObject"]
    resources = ["${var.lake.bucket_arn}/landing/*"]
  }

  statement {
    sid       = "ListLandingAndItsOwnLogs"
    actions   = ["s3:ListBucket"]
    resources = [var.lake.bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["landing/*", "airflow/*"]
    }
  }

  statement {
    sid       = "ItsOwnLogs"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${var.lake.bucket_arn}/airflow/*"]
  }

  statement {
    sid       = "LakeKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.lake.key_arn]
  }
}
