# Secrets are made once, written, and read back where they are needed: neither state nor plan ever holds one.
# What is read back is what was written, so that an apply that stopped half-way goes on with the same passwords.

locals {
  databases = toset(["airflow", "mlflow", "mlflow_auth", "optuna", "tidemill"])
  generated = toset(concat(
    [for name in local.databases : "database/${name}/password"],
    ["database/password", "api_key", "airflow_fernet", "airflow_jwt", "airflow_password", "airflow_session",
    "mlflow_password", "mlflow_session"],
  ))
}

ephemeral "aws_secretsmanager_random_password" "this" {
  for_each            = local.generated
  password_length     = 32
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "generated" {
  for_each                = local.generated
  name                    = "${var.name}/${each.key}"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.protected ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "generated" {
  for_each                 = aws_secretsmanager_secret.generated
  secret_id                = each.value.id
  secret_string_wo_version = var.secrets_version
  secret_string_wo = (
    each.key == "airflow_fernet"
    ? replace(replace(base64encode(ephemeral.aws_secretsmanager_random_password.this[each.key].random_password), "+", "-"), "/", "_")
    : ephemeral.aws_secretsmanager_random_password.this[each.key].random_password
  )
}
