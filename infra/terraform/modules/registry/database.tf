# The metadata of Airflow, MLflow, Optuna and the ledger: a PostgreSQL that only its clients reach.

locals {
  database = var.database == null ? {} : { this = var.database }
}

resource "aws_db_subnet_group" "this" {
  for_each   = local.database
  name       = "${var.name}-metadata"
  subnet_ids = var.subnet_ids
}

resource "aws_security_group" "database" {
  for_each    = local.database
  name        = "${var.name}-database"
  description = "PostgreSQL, from its clients only"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  for_each                     = var.database == null ? {} : var.client_security_groups
  security_group_id            = aws_security_group.database["this"].id
  description                  = "PostgreSQL from ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_db_parameter_group" "this" {
  for_each = local.database
  name     = "${var.name}-postgres17"
  family   = "postgres17"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }

  parameter {
    name  = "log_statement"
    value = "ddl"
  }
}

ephemeral "aws_secretsmanager_secret_version" "password" {
  for_each  = var.database == null ? [] : setunion(["database/password"], [for name in local.databases : "database/${name}/password"])
  secret_id = aws_secretsmanager_secret_version.generated[each.key].secret_id
}

# To be destroyed it has to be unprotected first, so that what is kept then must not depend on protection.
resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_133:How long backups are kept is the environment's, and the variable refuses 0.
  #checkov:skip=CKV_AWS_157:Production has two zones; staging may do with one.
  #checkov:skip=CKV2_AWS_30:Statements of a second and more are logged, and changes of tables; all would hold what is asked.
  for_each                            = local.database
  identifier                          = "${var.name}-metadata"
  engine                              = "postgres"
  engine_version                      = "17"
  instance_class                      = each.value.instance_class
  allocated_storage                   = each.value.storage_gb
  max_allocated_storage               = each.value.max_storage_gb
  storage_type                        = "gp3"
  storage_encrypted                   = true
  kms_key_id                          = aws_kms_key.this.arn
  username                            = "administrator"
  password_wo                         = ephemeral.aws_secretsmanager_secret_version.password["database/password"].secret_string
  password_wo_version                 = var.secrets_version
  port                                = 5432
  db_subnet_group_name                = aws_db_subnet_group.this["this"].name
  vpc_security_group_ids              = [aws_security_group.database["this"].id]
  parameter_group_name                = aws_db_parameter_group.this["this"].name
  publicly_accessible                 = false
  multi_az                            = each.value.multi_az
  backup_retention_period             = each.value.backup_retention_days
  backup_window                       = "02:00-03:00"
  maintenance_window                  = "sun:03:30-sun:04:30"
  copy_tags_to_snapshot               = true
  auto_minor_version_upgrade          = true
  deletion_protection                 = var.protected
  skip_final_snapshot                 = each.value.backup_retention_days < 7
  final_snapshot_identifier           = each.value.backup_retention_days < 7 ? null : "${var.name}-metadata-last"
  delete_automated_backups            = each.value.backup_retention_days < 7
  iam_database_authentication_enabled = true
  performance_insights_enabled        = true
  performance_insights_kms_key_id     = aws_kms_key.this.arn
  monitoring_interval                 = 60
  monitoring_role_arn                 = aws_iam_role.monitoring["this"].arn
  enabled_cloudwatch_logs_exports     = ["postgresql", "upgrade"]
}

data "aws_iam_policy_document" "monitoring" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "monitoring" {
  for_each           = local.database
  name               = "${var.name}-database-monitoring"
  assume_role_policy = data.aws_iam_policy_document.monitoring.json
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  for_each   = local.database
  role       = aws_iam_role.monitoring["this"].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

# One URL a client, each with a role of its own: `tidemill databases` makes the roles.
resource "aws_secretsmanager_secret" "url" {
  for_each                = var.database == null ? [] : local.databases
  name                    = "${var.name}/database/${each.key}/url"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.protected ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "url" {
  for_each                 = aws_secretsmanager_secret.url
  secret_id                = each.value.id
  secret_string_wo_version = var.secrets_version
  secret_string_wo = format(
    "postgresql%s://%s:%s@%s/%s%s",
    each.key == "tidemill" ? "" : "+psycopg2",
    each.key,
    ephemeral.aws_secretsmanager_secret_version.password["database/${each.key}/password"].secret_string,
    aws_db_instance.this["this"].endpoint,
    each.key,
    # Airflow's second driver does not know the word; the server refuses a connection without TLS anyway.
    each.key == "airflow" ? "" : "?sslmode=require",
  )
}

# What `tidemill databases` makes them from: the administrator's URL, and every client's.
resource "aws_secretsmanager_secret" "all" {
  for_each                = local.database
  name                    = "${var.name}/database/all"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.protected ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "all" {
  for_each                 = aws_secretsmanager_secret.all
  secret_id                = each.value.id
  secret_string_wo_version = var.secrets_version
  secret_string_wo = jsonencode(merge(
    {
      for name in local.databases : name => format(
        "postgresql://%s:%s@%s/%s",
        name,
        ephemeral.aws_secretsmanager_secret_version.password["database/${name}/password"].secret_string,
        aws_db_instance.this["this"].endpoint,
        name,
      )
    },
    {
      administrator = format(
        "postgresql://administrator:%s@%s/postgres?sslmode=require",
        ephemeral.aws_secretsmanager_secret_version.password["database/password"].secret_string,
        aws_db_instance.this["this"].endpoint,
      )
    },
  ))
}

module "databases" {
  source          = "../service"
  count           = var.database == null || var.mlflow == null ? 0 : 1
  name            = var.name
  component       = "databases"
  once            = true
  image           = var.mlflow.image
  command         = ["tidemill", "databases"]
  cpu             = 512
  memory          = 1024
  secrets         = { TIDEMILL_DATABASES = aws_secretsmanager_secret.all["this"].arn }
  key_arns        = [aws_kms_key.this.arn]
  repository_arns = [for one in aws_ecr_repository.this : one.arn]
  cluster         = var.mlflow.cluster
  network         = var.mlflow.network
  logs            = var.mlflow.logs
}
