# The lake, the registry and the online store: encrypted, versioned, backed up, and not deleted by a slip.
# Its provider asks a local AWS API (AWS_ENDPOINT_URL, see docs/cloud.md): Terraform mocks no ephemeral resource yet.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "local"
  secret_key                  = "local"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
}

run "the_lake" {
  command = plan

  module {
    source = "../lake"
  }

  variables {
    name               = "tidemill-test"
    projects           = { alpha = { title = "First", owner = "one", sources = ["events"] } }
    protected          = true
    log_retention_days = 365
  }

  assert {
    condition     = alltrue([for one in aws_s3_bucket.this : !one.force_destroy])
    error_message = "a protected bucket is not destroyed with what it holds"
  }

  assert {
    condition     = alltrue([for one in aws_s3_bucket_versioning.this : one.versioning_configuration[0].status == "Enabled"])
    error_message = "every bucket keeps versions"
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.lake.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    error_message = "the lake is encrypted by its own key"
  }

  assert {
    condition     = length(aws_s3_bucket_policy.lake) == 1
    error_message = "requests without TLS are refused"
  }

  assert {
    condition     = alltrue([for rule in aws_s3_bucket_lifecycle_configuration.lake[0].rule : length(rule.expiration) == 0 || rule.id != "landing"])
    error_message = "landing is never expired"
  }
}

run "the_registry" {
  command = plan

  module {
    source = "../registry"
  }

  variables {
    name                   = "tidemill-test"
    protected              = true
    vpc_id                 = "vpc-1"
    subnet_ids             = ["subnet-1", "subnet-2"]
    client_security_groups = { tasks = "sg-1" }
    database               = { instance_class = "db.m7g.large", storage_gb = 100, max_storage_gb = 1000, multi_az = true, backup_retention_days = 35 }
  }

  assert {
    condition     = aws_db_instance.this["this"].deletion_protection && !aws_db_instance.this["this"].skip_final_snapshot
    error_message = "the database is not deleted by a slip, nor without a last snapshot"
  }

  assert {
    condition     = !aws_db_instance.this["this"].publicly_accessible && aws_db_instance.this["this"].storage_encrypted && aws_db_instance.this["this"].backup_retention_period == 35
    error_message = "the database is private, encrypted and backed up"
  }

  assert {
    condition     = aws_db_instance.this["this"].password == null
    error_message = "the password must not be in the state"
  }

  assert {
    condition     = toset([for one in values(aws_secretsmanager_secret.url) : one.name]) == toset([for name in ["airflow", "mlflow", "mlflow_auth", "optuna", "tidemill"] : "tidemill-test/database/${name}/url"])
    error_message = "every client has a URL of its own"
  }

  assert {
    condition     = alltrue([for one in aws_ecr_repository.this : one.image_tag_mutability == "IMMUTABLE" && one.image_scanning_configuration[0].scan_on_push && !one.force_delete])
    error_message = "images are scanned, and a tag means one image for ever"
  }
}

run "a_database_that_may_be_destroyed_keeps_a_last_snapshot" {
  command = plan

  module {
    source = "../registry"
  }

  variables {
    name                   = "tidemill-test"
    protected              = false
    vpc_id                 = "vpc-1"
    subnet_ids             = ["subnet-1", "subnet-2"]
    client_security_groups = {}
    database               = { instance_class = "db.m7g.large", storage_gb = 100, max_storage_gb = 1000, multi_az = true, backup_retention_days = 35 }
  }

  assert {
    condition     = aws_db_instance.this["this"].final_snapshot_identifier == "tidemill-test-metadata-last" && !aws_db_instance.this["this"].delete_automated_backups
    error_message = "what was unprotected to be destroyed still leaves its last snapshot and its backups"
  }
}

run "a_database_without_backups_is_refused" {
  command = plan

  module {
    source = "../registry"
  }

  variables {
    name                   = "tidemill-test"
    protected              = true
    keep_images            = 1
    vpc_id                 = "vpc-1"
    subnet_ids             = ["subnet-1", "subnet-2"]
    client_security_groups = {}
    database               = { instance_class = "db.m7g.large", storage_gb = 100, max_storage_gb = 10, multi_az = true, backup_retention_days = 0 }
  }

  expect_failures = [var.database, var.keep_images]
}

run "the_online_store" {
  command = plan

  module {
    source = "../online_store"
  }

  variables {
    name      = "tidemill-test"
    protected = true
  }

  assert {
    condition     = aws_dynamodb_table.this.deletion_protection_enabled && aws_dynamodb_table.this.point_in_time_recovery[0].enabled && aws_dynamodb_table.this.ttl[0].enabled
    error_message = "the table is protected, can be restored to any second, and forgets what expires"
  }

  assert {
    condition     = aws_dynamodb_table.this.on_demand_throughput[0].max_write_request_units == 40000
    error_message = "the bill is bounded"
  }

  assert {
    condition     = aws_dynamodb_table.this.hash_key == "pk" && aws_dynamodb_table.this.billing_mode == "PAY_PER_REQUEST"
    error_message = "the table is what jobs/features/online/dynamodb.py reads"
  }
}
