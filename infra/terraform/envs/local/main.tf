# The whole against a local AWS API, without an account: for tests, and to see what there will be.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "local"
  secret_key                  = "local"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = false

  # Every service that the modules know: one left out would be asked in the cloud.
  endpoints {
    applicationautoscaling = var.aws_endpoint
    budgets                = var.aws_endpoint
    cloudwatch             = var.aws_endpoint
    dynamodb               = var.aws_endpoint
    ec2                    = var.aws_endpoint
    ecr                    = var.aws_endpoint
    ecs                    = var.aws_endpoint
    elbv2                  = var.aws_endpoint
    emrserverless          = var.aws_endpoint
    events                 = var.aws_endpoint
    iam                    = var.aws_endpoint
    kms                    = var.aws_endpoint
    logs                   = var.aws_endpoint
    mwaa                   = var.aws_endpoint
    rds                    = var.aws_endpoint
    s3                     = var.aws_endpoint
    secretsmanager         = var.aws_endpoint
    servicediscovery       = var.aws_endpoint
    sns                    = var.aws_endpoint
    sts                    = var.aws_endpoint
    wafv2                  = var.aws_endpoint
  }

  default_tags {
    tags = { Application = "tidemill", Environment = "local", Installation = "tidemill-local" }
  }
}

module "tidemill" {
  source             = "../../modules/installation"
  name               = "tidemill-local"
  projects           = var.projects
  image_tag          = "none"
  protected          = false
  database           = null
  public             = null
  slot               = { cpu = 1024, memory = 2048, maximum = 2, cpu_percent = 60 }
  stages             = { small = { cpu = 1024, memory = 4096, disk_gb = 30 } }
  online_store_units = { read = -1, write = -1 }
  emails             = ["nobody@example.org"]
  monthly_budget     = null
  left_out           = ["autoscaling", "lifecycle_rules", "load_balancer", "spark", "tls"]
}
