# The same DAG files on AWS's own Airflow: they are copied to the lake's airflow/ folder (docs/cloud.md).

locals {
  mwaa = var.engine == "mwaa" ? { this = var.mwaa } : {}
}

resource "aws_mwaa_environment" "this" {
  for_each              = local.mwaa
  name                  = var.name
  airflow_version       = each.value.version
  environment_class     = each.value.environment_class
  max_workers           = each.value.max_workers
  execution_role_arn    = aws_iam_role.mwaa["this"].arn
  source_bucket_arn     = var.lake.bucket_arn
  dag_s3_path           = "airflow/dags"
  requirements_s3_path  = "airflow/requirements.txt"
  kms_key               = var.lake.key_arn
  webserver_access_mode = "PRIVATE_ONLY"

  # Airflow's workers have no environment of ours: what a stage must know comes as configuration.
  airflow_configuration_options = merge(
    { "core.dags_are_paused_at_creation" = "True", "scheduler.catchup_by_default" = "False" },
    { for name, value in var.settings : "tidemill.${lower(name)}" => value },
  )

  network_configuration {
    security_group_ids = [var.network.security_group_id]
    subnet_ids         = slice(var.network.subnet_ids, 0, 2)
  }

  logging_configuration {
    dag_processing_logs {
      enabled   = true
      log_level = "WARNING"
    }

    scheduler_logs {
      enabled   = true
      log_level = "INFO"
    }

    task_logs {
      enabled   = true
      log_level = "INFO"
    }

    webserver_logs {
      enabled   = true
      log_level = "WARNING"
    }

    worker_logs {
      enabled   = true
      log_level = "WARNING"
    }
  }
}

data "aws_iam_policy_document" "mwaa_assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["airflow.amazonaws.com", "airflow-env.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "mwaa" {
  for_each           = local.mwaa
  name               = "${var.name}-mwaa"
  assume_role_policy = data.aws_iam_policy_document.mwaa_assume.json
}

resource "aws_iam_role_policy" "mwaa" {
  for_each = { for name, policy in { stages = data.aws_iam_policy_document.airflow.json, environment = data.aws_iam_policy_document.mwaa.json } : name => policy if var.engine == "mwaa" }
  name     = each.key
  role     = aws_iam_role.mwaa["this"].id
  policy   = each.value
}

data "aws_iam_policy_document" "mwaa" {
  statement {
    sid       = "Metrics"
    actions   = ["airflow:PublishMetrics"]
    resources = ["arn:${data.aws_partition.current.partition}:airflow:${local.scope}:environment/${var.name}"]
  }

  statement {
    sid       = "Source"
    actions   = ["s3:GetBucketPublicAccessBlock", "s3:GetBucketVersioning", "s3:GetEncryptionConfiguration"]
    resources = [var.lake.bucket_arn]
  }

  statement {
    sid = "Logs"
    actions = [
      "logs:CreateLogGroup", "logs:CreateLogStream", "logs:GetLogEvents", "logs:GetLogGroupFields",
      "logs:GetLogRecord", "logs:GetQueryResults", "logs:PutLogEvents",
    ]
    resources = ["arn:${data.aws_partition.current.partition}:logs:${local.scope}:log-group:airflow-${var.name}-*"]
  }

  # MWAA's own queue is in AWS's account; nothing else bears the name.
  statement {
    sid = "Queue"
    actions = [
      "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
      "sqs:ReceiveMessage", "sqs:SendMessage",
    ]
    resources = ["arn:${data.aws_partition.current.partition}:sqs:${data.aws_region.current.name}:*:airflow-celery-*"]
  }
}
