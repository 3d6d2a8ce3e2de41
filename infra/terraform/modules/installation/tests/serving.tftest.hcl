mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name         = "tidemill-test"
  protected    = true
  projects     = { alpha = { title = "First", owner = "one", sources = ["events"], ports = { blue = 8710, green = 8711 } } }
  images       = { serve = "registry/serve:0123abcd", router = "registry/jobs:0123abcd" }
  settings     = { TIDEMILL_LAKE_URI = "s3://lake" }
  lake         = { bucket_arn = "arn:aws:s3:::lake", key_arn = "arn:aws:kms:eu-central-1:123456789012:key/lake" }
  online_store = { table_arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/one", key_arn = "arn:aws:kms:eu-central-1:123456789012:key/store" }
  registry     = { repository_arns = ["arn:aws:ecr:eu-central-1:123456789012:repository/serve"], key_arn = "arn:aws:kms:eu-central-1:123456789012:key/registry", secrets = {} }
  cluster      = { name = "tidemill-test", arn = "arn:aws:ecs:eu-central-1:123456789012:cluster/tidemill-test" }
  network      = { vpc_id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], security_group_id = "sg-1", namespace_id = "ns-1" }
  logs         = { key_arn = "arn:aws:kms:eu-central-1:123456789012:key/logs", retention_days = 90 }

  load_balancer = {
    certificate_arn       = "arn:aws:acm:eu-central-1:123456789012:certificate/one"
    client_cidrs          = ["203.0.113.0/24", "198.51.100.0/24"]
    requests_five_minutes = 10000
    public_subnet_ids     = ["subnet-3", "subnet-4"]
    logs_bucket           = "logs"
  }
}

run "one_public_port" {
  command = plan

  module {
    source = "../serving"
  }

  assert {
    condition     = alltrue([for one in aws_vpc_security_group_ingress_rule.clients : one.from_port == 443 && one.to_port == 443]) && toset([for one in aws_vpc_security_group_ingress_rule.clients : one.cidr_ipv4]) == toset(var.load_balancer.client_cidrs)
    error_message = "clients reach 443 and nothing else, and only those who may"
  }

  assert {
    condition     = aws_lb_listener.tls["this"].protocol == "HTTPS" && aws_lb_listener.tls["this"].port == 443
    error_message = "the one listener speaks TLS"
  }

  assert {
    condition     = aws_lb.this["this"].enable_deletion_protection
    error_message = "the load balancer is not deleted by a slip"
  }

  assert {
    condition     = toset(flatten([for one in aws_lb_listener_rule.project["alpha"].condition : [for path in one.path_pattern : path.values]])) == toset(["/alpha/predict", "/alpha/explain"])
    error_message = "clients reach what answers them, and no page or metric of a slot"
  }

  assert {
    condition     = length(aws_lb_target_group.router) == 1 && length(aws_lb_target_group.slot) == 0
    error_message = "by default the router stands behind the load balancer"
  }

  assert {
    condition     = data.aws_iam_policy_document.slot["alpha"].statement[2].resources == toset(["arn:aws:s3:::lake/landing/alpha/predictions/*", "arn:aws:s3:::lake/shadow/alpha/predictions/*"])
    error_message = "a slot writes its own log and nothing else"
  }

  assert {
    condition     = data.aws_iam_policy_document.rollout["alpha"].statement[2].resources == toset(["arn:aws:s3:::lake/routes/routes.json"]) && length(output.listener_rules) == 0
    error_message = "a rollout writes the routes, and there are no weights to move"
  }
}

run "by_weights" {
  command = plan

  module {
    source = "../serving"
  }

  variables {
    policy = "weights"
  }

  assert {
    condition     = toset(keys(aws_lb_target_group.slot)) == toset(["serve-alpha-blue", "serve-alpha-green"]) && length(aws_lb_target_group.router) == 0
    error_message = "each slot has a target group, and there is no router"
  }

  assert {
    condition     = sum([for one in aws_lb_listener_rule.project["alpha"].action[0].forward[0].target_group : one.weight]) == 100
    error_message = "weights sum to 100"
  }

  assert {
    condition     = toset(keys(output.listener_rules["alpha"])) == toset(["rule", "blue", "green"])
    error_message = "a rollout is told the rule and each slot's target group"
  }
}

run "what_is_wrong_is_refused" {
  command = plan

  module {
    source = "../serving"
  }

  variables {
    policy = "both"
    load_balancer = {
      certificate_arn       = "none"
      client_cidrs          = ["everybody"]
      requests_five_minutes = 1
      public_subnet_ids     = ["subnet-3", "subnet-4"]
      logs_bucket           = "logs"
    }
  }

  expect_failures = [var.policy, var.load_balancer]
}

run "a_service_that_scales" {
  command = plan

  module {
    source = "../service"
  }

  variables {
    component       = "router"
    image           = "registry/jobs:0123abcd"
    cpu             = 1024
    memory          = 2048
    key_arns        = ["arn:aws:kms:eu-central-1:123456789012:key/registry"]
    repository_arns = ["arn:aws:ecr:eu-central-1:123456789012:repository/jobs"]
    port            = 8700
    health_path     = "/livez"
    scaling         = { minimum = 2, maximum = 10, cpu_percent = 50 }
  }

  assert {
    condition     = aws_appautoscaling_target.this[0].min_capacity == 2 && aws_appautoscaling_target.this[0].max_capacity == 10
    error_message = "the number of tasks follows the load between its bounds"
  }

  assert {
    condition     = !aws_ecs_service.this[0].network_configuration[0].assign_public_ip && aws_ecs_service.this[0].deployment_circuit_breaker[0].rollback
    error_message = "a task has no public address, and a deployment that fails is undone"
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].readonlyRootFilesystem && jsondecode(aws_ecs_task_definition.this.container_definitions)[0].linuxParameters.capabilities.drop == ["ALL"]
    error_message = "a container writes nowhere but where it must, and has no capability"
  }
}

run "a_service_without_a_tag_is_refused" {
  command = plan

  module {
    source = "../service"
  }

  variables {
    component       = "router"
    image           = "registry/jobs:latest"
    cpu             = 1000
    memory          = 2048
    key_arns        = []
    repository_arns = []
    scaling         = { minimum = 3, maximum = 1, cpu_percent = 50 }
  }

  expect_failures = [var.image, var.cpu, var.scaling]
}
