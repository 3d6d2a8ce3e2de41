mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name             = "tidemill-test"
  projects         = { alpha = { title = "First", owner = "one", sources = ["events"] }, beta = { title = "Second", owner = "two", sources = ["events"] } }
  image            = "registry/jobs:0123abcd"
  settings         = { TIDEMILL_LAKE_URI = "s3://lake" }
  rollout_policies = { alpha = "{}", beta = "{}" }
  lake             = { bucket = "lake", bucket_arn = "arn:aws:s3:::lake", key_arn = "arn:aws:kms:eu-central-1:123456789012:key/lake" }
  online_store     = { table_arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/one", key_arn = "arn:aws:kms:eu-central-1:123456789012:key/store" }
  registry         = { repository_arns = ["arn:aws:ecr:eu-central-1:123456789012:repository/jobs"], key_arn = "arn:aws:kms:eu-central-1:123456789012:key/registry", secrets = { mlflow_password = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:one" } }
  cluster          = { name = "tidemill-test", arn = "arn:aws:ecs:eu-central-1:123456789012:cluster/tidemill-test" }
  network          = { vpc_id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], security_group_id = "sg-1", namespace_id = "ns-1", namespace = "tidemill-test.internal" }
  logs             = { key_arn = "arn:aws:kms:eu-central-1:123456789012:key/logs", retention_days = 90 }
}

run "a_project_reaches_its_own_only" {
  command = plan

  module {
    source = "../compute"
  }

  assert {
    condition     = data.aws_iam_policy_document.lake["alpha"].statement[0].resources == toset(["arn:aws:s3:::lake/*/alpha/*", "arn:aws:s3:::lake/docs/*"])
    error_message = "a project's stages write its own folders and the shared documentation"
  }

  assert {
    condition     = one(data.aws_iam_policy_document.stage["beta"].statement[0].condition).values == tolist(["beta:*"])
    error_message = "a project's stages reach the online values that begin with its name"
  }

  assert {
    condition     = alltrue([for one in aws_cloudwatch_log_group.stages : one.retention_in_days == 90])
    error_message = "logs are kept as long as was said"
  }

  assert {
    condition     = [for one in jsondecode(aws_ecs_task_definition.stage["alpha-small"].container_definitions)[0].secrets : one.name] == ["TIDEMILL_MLFLOW_PASSWORD"]
    error_message = "secrets come from Secrets Manager, under the names of the settings"
  }

  assert {
    condition     = aws_emrserverless_application.this["this"].maximum_capacity[0].cpu == "200 vCPU" && aws_emrserverless_application.this["this"].auto_stop_configuration[0].enabled
    error_message = "Spark is bounded, and stops when idle"
  }
}

run "airflow_on_ecs" {
  command = plan

  module {
    source = "../orchestrator"
  }

  variables {
    image   = "registry/orchestrate:0123abcd"
    compute = { families = ["tidemill-test-alpha-small"], passed_role_arns = ["arn:aws:iam::123456789012:role/one"], log_groups = ["/one"], spark = null }
  }

  assert {
    condition     = toset(output.services) == toset(["airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"])
    error_message = "Airflow is four services"
  }

  assert {
    condition     = length(aws_mwaa_environment.this) == 0
    error_message = "and not AWS's own as well"
  }

  assert {
    condition     = data.aws_iam_policy_document.airflow.statement[0].resources == toset(["arn:aws:ecs:eu-central-1:123456789012:task-definition/tidemill-test-alpha-small:*"])
    error_message = "Airflow starts stages and nothing else"
  }
}

run "airflow_on_mwaa" {
  command = plan

  module {
    source = "../orchestrator"
  }

  variables {
    engine  = "mwaa"
    image   = "registry/orchestrate:0123abcd"
    compute = { families = ["tidemill-test-alpha-small"], passed_role_arns = ["arn:aws:iam::123456789012:role/one"], log_groups = ["/one"], spark = null }
  }

  assert {
    condition     = aws_mwaa_environment.this["this"].webserver_access_mode == "PRIVATE_ONLY" && length(output.services) == 0
    error_message = "MWAA's pages are private, and no service of ours runs beside it"
  }
}

run "another_engine_is_refused" {
  command = plan

  module {
    source = "../orchestrator"
  }

  variables {
    engine  = "cron"
    image   = "registry/orchestrate:0123abcd"
    compute = { families = [], passed_role_arns = [], log_groups = [], spark = null }
  }

  expect_failures = [var.engine]
}
