# Where stages run: a cluster of containers, a task a project and size, and the names that services have.

data "aws_region" "current" {}
data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  tasks = {
    for pair in setproduct(keys(var.projects), keys(var.sizes)) : "${pair[0]}-${pair[1]}" => {
      project = pair[0]
      size    = var.sizes[pair[1]]
    }
  }
  # What a stage may have to know and nobody else: by the setting, the name of the secret.
  secrets = {
    for setting, secret in {
      TIDEMILL_DATABASE_URL    = "database/tidemill/url"
      TIDEMILL_OPTUNA_URL      = "database/optuna/url"
      TIDEMILL_MLFLOW_PASSWORD = "mlflow_password"
      TIDEMILL_API_KEY         = "api_key"
    } : setting => var.registry.secrets[secret] if contains(keys(var.registry.secrets), secret)
  }
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = "${var.name}.internal"
  description = "What services call one another"
  vpc         = var.network.vpc_id
}

resource "aws_cloudwatch_log_group" "stages" {
  for_each          = var.projects
  name              = "/${var.name}/stages/${each.key}"
  retention_in_days = var.logs.retention_days
  kms_key_id        = var.logs.key_arn
}

# Airflow overrides the command: `tidemill <stage> --project …`, the same words as anywhere else.
resource "aws_ecs_task_definition" "stage" {
  for_each                 = local.tasks
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.size.cpu
  memory                   = each.value.size.memory
  execution_role_arn       = aws_iam_role.start[each.value.project].arn
  task_role_arn            = aws_iam_role.stage[each.value.project].arn

  ephemeral_storage {
    size_in_gib = each.value.size.disk_gb
  }

  volume {
    name = "home"
  }

  volume {
    name = "sockets"
  }

  container_definitions = jsonencode([{
    name                   = "jobs"
    image                  = var.image
    command                = ["tidemill", "--help"]
    essential              = true
    readonlyRootFilesystem = true
    linuxParameters        = { initProcessEnabled = true, capabilities = { add = [], drop = ["ALL"] } }
    stopTimeout            = 120
    environment            = [for name, value in merge(var.settings, { TMPDIR = "/run/tidemill" }) : { name = name, value = value }]
    secrets                = [for name, arn in local.secrets : { name = name, valueFrom = arn }]

    mountPoints = [
      { sourceVolume = "home", containerPath = "/var/lib/tidemill", readOnly = false },
      { sourceVolume = "sockets", containerPath = "/run/tidemill", readOnly = false },
    ]

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.stages[each.value.project].name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = "tidemill"
      }
    }
  }])
}
