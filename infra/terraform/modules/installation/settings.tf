# The settings that `tidemill` reads (jobs/settings.py). Secrets are not among them: a container gets each from Secrets
# Manager under the name that the same setting has.

locals {
  settings = {
    TIDEMILL_LAKE_URI         = "s3://${module.lake.bucket}"
    TIDEMILL_ONLINE_STORE_URL = module.online_store.url
    TIDEMILL_WAREHOUSE        = local.in_account.spark ? "spark" : "duckdb"
    TIDEMILL_MLFLOW_URL       = "http://mlflow.${var.name}.internal:8703"
    TIDEMILL_MLFLOW_USERNAME  = "admin"
    TIDEMILL_AIRFLOW_URL      = "http://airflow-api-server.${var.name}.internal:8702"
    TIDEMILL_AIRFLOW_USERNAME = "admin"
    TIDEMILL_SERVING_URL      = var.public == null ? "http://router.${var.name}.internal:8700" : "https://${var.public.domain}"
    TIDEMILL_ROUTER_ADMIN_URL = "http://router.${var.name}.internal:8701"
    AWS_DEFAULT_REGION        = data.aws_region.current.name
  }
}

data "aws_region" "current" {}
