# The whole, as an account would have it, without one: everything that a local AWS API cannot make is planned here.
# Its provider asks a local AWS API (AWS_ENDPOINT_URL, see docs/cloud.md): Terraform mocks no ephemeral resource yet.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "local"
  secret_key                  = "local"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
}

variables {
  name      = "tidemill-test"
  image_tag = "0123abcd"
  protected = true

  projects = {
    alpha = { title = "First", owner = "one", sources = ["events", "labels"], ports = { blue = 8710, green = 8711 } }
    be_ta = { title = "Second", owner = "two", sources = ["events"], ports = { blue = 8712, green = 8713 } }
  }

  database = {
    instance_class        = "db.t4g.small"
    storage_gb            = 20
    max_storage_gb        = 50
    multi_az              = true
    backup_retention_days = 35
  }

  public = {
    domain                = "models.example.org"
    certificate_arn       = "arn:aws:acm:eu-central-1:123456789012:certificate/one"
    client_cidrs          = ["203.0.113.0/24"]
    requests_five_minutes = 10000
  }

  slot               = { cpu = 1024, memory = 2048, maximum = 10, cpu_percent = 60 }
  stages             = { small = { cpu = 1024, memory = 4096, disk_gb = 30 }, large = { cpu = 8192, memory = 32768, disk_gb = 100 } }
  online_store_units = { read = 1000, write = 1000 }
  emails             = ["ops@example.org"]
  monthly_budget     = 500
}

run "by_the_router" {
  command = plan

  assert {
    condition     = toset(keys(output.slots)) == toset(["serve-alpha-blue", "serve-alpha-green", "serve-be-ta-blue", "serve-be-ta-green"])
    error_message = "every project has two slots"
  }

  assert {
    condition     = toset(keys(output.stages.tasks)) == toset(["alpha-small", "alpha-large", "be_ta-small", "be_ta-large"])
    error_message = "every project has a task of every size"
  }

  assert {
    condition     = toset(keys(output.landing["alpha"])) == toset(["events", "labels"])
    error_message = "every source has a place to be delivered to"
  }

  assert {
    condition = length(setsubtract([
      "tidemill-test-errors", "tidemill-test-latency", "tidemill-test-unhealthy-router", "tidemill-test-stale-alpha",
      "tidemill-test-drift-be_ta", "tidemill-test-failed-runs", "tidemill-test-queued-tasks", "tidemill-test-database-storage",
      "tidemill-test-online-store-throttled", "tidemill-test-spark-failed",
    ], output.alarms)) == 0
    error_message = "an alarm is missing"
  }

  assert {
    condition     = contains(keys(output.secrets), "database/tidemill/url")
    error_message = "the ledger's URL is a secret"
  }
}

run "by_weights_on_mwaa" {
  command = plan

  variables {
    routing = "weights"
    airflow = "mwaa"
  }

  assert {
    condition     = contains(output.alarms, "tidemill-test-unhealthy-serve-alpha-blue")
    error_message = "under the weights policy every slot has a target group that is watched"
  }

  assert {
    condition     = contains(output.alarms, "tidemill-test-mwaa-queued") && !contains(output.alarms, "tidemill-test-queued-tasks")
    error_message = "MWAA has its own metric of what waits"
  }
}

run "every_wrong_value_is_refused_at_once" {
  command = plan

  variables {
    name               = "Tidemill!"
    projects           = {}
    image_tag          = "latest"
    log_retention_days = 31
    left_out           = ["everything"]
  }

  expect_failures = [var.name, var.projects, var.image_tag, var.log_retention_days, var.left_out]
}
