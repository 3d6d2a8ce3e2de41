# The settings that `tidemill` reads (jobs/settings.py). Secrets are not among them: a container gets each from Secrets
# Manager under the name that the same setting has.

locals {
  # A stage's place bears its project's name, which Airflow puts in: `{project}`.
  stage_settings = {
    TIDEMILL_COMPUTE             = jsonencode(contains(keys(var.stages), "large") ? { "*" = "ecs", train = "ecs-large" } : { "*" = "ecs" })
    TIDEMILL_ECS_CLUSTER         = module.compute.cluster.name
    TIDEMILL_ECS_TASK            = "${var.name}-{project}-small"
    TIDEMILL_ECS_TASK_LARGE      = contains(keys(var.stages), "large") ? "${var.name}-{project}-large" : null
    TIDEMILL_ECS_SUBNETS         = join(",", module.network.private_subnet_ids)
    TIDEMILL_ECS_SECURITY_GROUPS = module.network.tasks_security_group_id
    TIDEMILL_ECS_LOG_GROUP       = "/${var.name}/stages/{project}"
    TIDEMILL_EMR_APPLICATION     = one(module.compute.spark[*].application_id)
    TIDEMILL_EMR_ROLE            = local.in_account.spark ? "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:role/${var.name}-{project}-spark" : null
  }
  rollout_settings = {
    TIDEMILL_ROUTING        = var.routing
    TIDEMILL_LISTENER_RULES = var.routing == "weights" ? jsonencode(module.serving.listener_rules) : null
  }
  settings = { for name, value in merge(local.own_settings, local.stage_settings, local.rollout_settings) : name => value if value != null }
  own_settings = {
    TIDEMILL_HOSTS            = "named"
    TIDEMILL_NAMESPACE        = module.compute.namespace.name
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
data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
