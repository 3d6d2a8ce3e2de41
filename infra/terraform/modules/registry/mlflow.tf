# MLflow's tracking server: files in the lake, metadata in the database.

module "mlflow" {
  source          = "../service"
  count           = var.mlflow == null ? 0 : 1
  name            = var.name
  component       = "mlflow"
  image           = var.mlflow.image
  cpu             = 1024
  memory          = 3072
  port            = 8703
  health_path     = "/health"
  key_arns        = [aws_kms_key.this.arn]
  repository_arns = [for one in aws_ecr_repository.this : one.arn]
  policies        = { files = data.aws_iam_policy_document.mlflow[0].json }
  cluster         = var.mlflow.cluster
  network         = var.mlflow.network
  logs            = var.mlflow.logs

  environment = {
    TIDEMILL_SERVICE             = "mlflow"
    MLFLOW_ARTIFACTS_DESTINATION = "s3://${var.mlflow.bucket}/mlflow"
    MLFLOW_AUTH_ADMIN_USERNAME   = "admin"
    MLFLOW_SERVER_ALLOWED_HOSTS  = "mlflow.${var.mlflow.namespace}:*"
  }

  secrets = merge(
    {
      MLFLOW_AUTH_ADMIN_PASSWORD     = aws_secretsmanager_secret.generated["mlflow_password"].arn
      MLFLOW_FLASK_SERVER_SECRET_KEY = aws_secretsmanager_secret.generated["mlflow_session"].arn
    },
    var.database == null ? {} : {
      MLFLOW_BACKEND_STORE_URI = aws_secretsmanager_secret.url["mlflow"].arn
      MLFLOW_AUTH_DATABASE_URI = aws_secretsmanager_secret.url["mlflow_auth"].arn
    },
  )
}

data "aws_iam_policy_document" "mlflow" {
  count = var.mlflow == null ? 0 : 1

  statement {
    sid       = "Files"
    actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${var.mlflow.bucket_arn}/mlflow/*"]
  }

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [var.mlflow.bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["mlflow/*"]
    }
  }

  statement {
    sid       = "LakeKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.mlflow.lake_key_arn]
  }
}
