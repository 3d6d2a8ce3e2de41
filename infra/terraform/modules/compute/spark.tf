# Spark without machines of our own: started by a job, stopped when idle, bounded in what it may take.

locals {
  spark = var.spark == null ? {} : { this = var.spark }
}

resource "aws_emrserverless_application" "this" {
  for_each      = local.spark
  name          = var.name
  type          = "spark"
  release_label = each.value.release
  architecture  = "X86_64"

  maximum_capacity {
    cpu    = "${each.value.max_cpu} vCPU"
    memory = "${each.value.max_memory} GB"
    disk   = "${each.value.max_disk} GB"
  }

  auto_start_configuration {
    enabled = true
  }

  auto_stop_configuration {
    enabled              = true
    idle_timeout_minutes = each.value.idle_minutes
  }

  network_configuration {
    subnet_ids         = var.network.subnet_ids
    security_group_ids = [var.network.security_group_id]
  }
}

resource "aws_cloudwatch_log_group" "spark" {
  for_each          = local.spark
  name              = "/${var.name}/spark"
  retention_in_days = var.logs.retention_days
  kms_key_id        = var.logs.key_arn
}

resource "aws_iam_role" "spark" {
  for_each           = var.spark == null ? {} : var.projects
  name               = "${var.name}-${each.key}-spark"
  assume_role_policy = data.aws_iam_policy_document.assume["emr-serverless"].json
}

resource "aws_iam_role_policy" "spark" {
  for_each = aws_iam_role.spark
  name     = "data"
  role     = each.value.id
  policy   = data.aws_iam_policy_document.spark[each.key].json
}

data "aws_iam_policy_document" "spark" {
  for_each                = var.spark == null ? {} : var.projects
  source_policy_documents = [data.aws_iam_policy_document.lake[each.key].json]

  # Looking for a group takes no resource.
  statement {
    sid       = "FindLogs"
    actions   = ["logs:DescribeLogGroups"]
    resources = ["*"]
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.spark["this"].arn}:*"]
  }
}
