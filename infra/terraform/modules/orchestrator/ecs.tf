# Airflow as four services. Tasks are threads of the scheduler's LocalExecutor that start containers and wait for
# them, so one scheduler is enough, and it may be replaced at any time: what it started goes on.

locals {
  port = 8702
  processes = var.engine == "ecs" ? {
    "airflow-api-server"    = { cpu = 1024, memory = 3072, port = local.port, health = "/api/v2/monitor/health" }
    "airflow-scheduler"     = { cpu = 1024, memory = 4096, port = null, health = null }
    "airflow-dag-processor" = { cpu = 512, memory = 2048, port = null, health = null }
    "airflow-triggerer"     = { cpu = 512, memory = 2048, port = null, health = null }
  } : {}
  url = "http://airflow-api-server.${var.network.namespace}:${local.port}"
  secrets = {
    for setting, secret in {
      AIRFLOW__DATABASE__SQL_ALCHEMY_CONN = "database/airflow/url"
      AIRFLOW__CORE__FERNET_KEY           = "airflow_fernet"
      AIRFLOW__API__SECRET_KEY            = "airflow_session"
      AIRFLOW__API_AUTH__JWT_SECRET       = "airflow_jwt"
      TIDEMILL_AIRFLOW_PASSWORD           = "airflow_password"
    } : setting => var.registry.secrets[secret] if contains(keys(var.registry.secrets), secret)
  }
  environment = merge(var.settings, {
    AIRFLOW__CORE__EXECUTOR                    = "LocalExecutor"
    AIRFLOW__CORE__EXECUTION_API_SERVER_URL    = "${local.url}/execution/"
    AIRFLOW__API__BASE_URL                     = local.url
    AIRFLOW__LOGGING__REMOTE_LOGGING           = "True"
    AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER   = "s3://${var.lake.bucket}/airflow/logs"
    AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID       = "aws_default"
    AIRFLOW__LOGGING__DELETE_LOCAL_LOGS        = "True"
    AIRFLOW__SCHEDULER__CATCHUP_BY_DEFAULT     = "False"
    AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION = "True"
    AIRFLOW_CONN_AWS_DEFAULT                   = "aws://"
  })
}

module "airflow" {
  source          = "../service"
  for_each        = local.processes
  name            = var.name
  component       = each.key
  image           = var.image
  cpu             = each.value.cpu
  memory          = each.value.memory
  port            = each.value.port
  health_path     = each.value.health
  environment     = merge(local.environment, { TIDEMILL_SERVICE = each.key })
  secrets         = local.secrets
  key_arns        = [var.registry.key_arn]
  repository_arns = var.registry.repository_arns
  policies        = { airflow = data.aws_iam_policy_document.airflow.json }
  cluster         = var.cluster
  network         = var.network
  logs            = var.logs
}
