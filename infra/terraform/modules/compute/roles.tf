# A stage's roles, a pair for each project: one project's stages reach neither another's data nor its values.

data "aws_iam_policy_document" "assume" {
  for_each = toset(["ecs-tasks", "emr-serverless"])

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "start" {
  for_each           = var.projects
  name               = "${var.name}-${each.key}-stage-start"
  assume_role_policy = data.aws_iam_policy_document.assume["ecs-tasks"].json
}

resource "aws_iam_role_policy" "start" {
  for_each = var.projects
  name     = "start"
  role     = aws_iam_role.start[each.key].id
  policy   = data.aws_iam_policy_document.start[each.key].json
}

data "aws_iam_policy_document" "start" {
  for_each = var.projects

  statement {
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = var.registry.repository_arns
  }

  # Takes no resource: it is the log-in to the registry as a whole.
  statement {
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.stages[each.key].arn}:*"]
  }

  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = values(local.secrets)
  }

  statement {
    actions   = ["kms:Decrypt"]
    resources = [var.registry.key_arn]
  }
}

resource "aws_iam_role" "stage" {
  for_each           = var.projects
  name               = "${var.name}-${each.key}-stage"
  description        = "Stages of ${each.value.title}, owned by ${each.value.owner}"
  assume_role_policy = data.aws_iam_policy_document.assume["ecs-tasks"].json
}

resource "aws_iam_role_policy" "stage" {
  for_each = var.projects
  name     = "data"
  role     = aws_iam_role.stage[each.key].id
  policy   = data.aws_iam_policy_document.stage[each.key].json
}

data "aws_iam_policy_document" "stage" {
  for_each                = var.projects
  source_policy_documents = [data.aws_iam_policy_document.lake[each.key].json]

  statement {
    sid       = "ItsOwnValues"
    actions   = ["dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [var.online_store.table_arn]

    condition {
      test     = "ForAllValues:StringLike"
      variable = "dynamodb:LeadingKeys"
      values   = ["${each.key}:*"]
    }
  }

  # A scan, which finds values of an old layout, knows no leading key.
  statement {
    sid       = "Sweep"
    actions   = ["dynamodb:DescribeTable", "dynamodb:Scan"]
    resources = [var.online_store.table_arn]
  }

  statement {
    sid       = "Keys"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.online_store.key_arn]
  }
}

data "aws_iam_policy_document" "lake" {
  for_each = var.projects

  statement {
    sid       = "ItsOwnFiles"
    actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = [for place in ["*/${each.key}/*", "docs/*"] : "${var.lake.bucket_arn}/${place}"]
  }

  statement {
    sid       = "List"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [var.lake.bucket_arn]
  }

  statement {
    sid       = "LakeKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.lake.key_arn]
  }
}

resource "aws_iam_role_policy" "rollout" {
  for_each = var.projects
  name     = "rollout"
  role     = aws_iam_role.stage[each.key].id
  policy   = var.rollout_policies[each.key]
}
