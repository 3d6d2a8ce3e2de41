# One service on Fargate: its task, who it may be, where it writes its log, and how many of it there are.

data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  full_name = "${var.name}-${var.component}"
  # The image declares these, so that an empty one belongs to the image's user; all else is read-only.
  writable = { home = "/var/lib/tidemill", sockets = "/run/tidemill" }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/${var.component}"
  retention_in_days = var.logs.retention_days
  kms_key_id        = var.logs.key_arn
}

resource "aws_ecs_task_definition" "this" {
  family                   = local.full_name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  dynamic "volume" {
    for_each = local.writable

    content {
      name = volume.key
    }
  }

  container_definitions = jsonencode([merge(
    {
      name                   = var.component
      image                  = var.image
      essential              = true
      readonlyRootFilesystem = true
      linuxParameters        = { initProcessEnabled = true, capabilities = { add = [], drop = ["ALL"] } }
      stopTimeout            = 60
      environment            = [for name, value in merge({ TMPDIR = "/run/tidemill" }, var.environment) : { name = name, value = value }]
      secrets                = [for name, arn in var.secrets : { name = name, valueFrom = arn }]
      portMappings           = [for port in var.port == null ? [] : [var.port] : { containerPort = port, hostPort = port, protocol = "tcp" }]
      mountPoints            = [for name, path in local.writable : { sourceVolume = name, containerPath = path, readOnly = false }]

      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.this.name
          awslogs-region        = data.aws_region.current.name
          awslogs-stream-prefix = var.component
        }
      }
    },
    { for name, value in { command = var.command } : name => value if value != null },
    var.port == null || var.health_path == null ? {} : {
      healthCheck = {
        command     = ["CMD", "python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:${var.port}${var.health_path}', timeout=5)"]
        interval    = 10
        timeout     = 6
        retries     = 3
        startPeriod = 120
      }
    },
  )])
}

resource "aws_service_discovery_service" "this" {
  count = var.port == null ? 0 : 1
  name  = var.component

  dns_config {
    namespace_id   = var.network.namespace_id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 10
    }
  }
}

resource "aws_ecs_service" "this" {
  count                              = var.once ? 0 : 1
  name                               = var.component
  cluster                            = var.cluster.arn
  task_definition                    = aws_ecs_task_definition.this.arn
  launch_type                        = "FARGATE"
  desired_count                      = var.desired_count
  enable_execute_command             = false
  health_check_grace_period_seconds  = length(var.target_group_arns) > 0 ? 120 : null
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  availability_zone_rebalancing      = "ENABLED"
  propagate_tags                     = "SERVICE"

  # A deployment whose tasks do not come up goes back to the one before.
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.network.subnet_ids
    security_groups  = [var.network.security_group_id]
    assign_public_ip = false
  }

  dynamic "service_registries" {
    for_each = aws_service_discovery_service.this

    content {
      registry_arn = service_registries.value.arn
    }
  }

  dynamic "load_balancer" {
    for_each = var.target_group_arns

    content {
      target_group_arn = load_balancer.value
      container_name   = var.component
      container_port   = var.port
    }
  }

  # The first is scaling's and the rollout's; the second a local AWS API forgets.
  lifecycle {
    ignore_changes = [desired_count, availability_zone_rebalancing]
  }
}
