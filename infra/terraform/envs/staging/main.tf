# Everything that production has, in the smallest sizes, and free to be destroyed.

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account]

  default_tags {
    tags = { Application = "tidemill", Environment = "staging", Installation = "tidemill-staging" }
  }
}

module "tidemill" {
  source             = "../../modules/installation"
  name               = "tidemill-staging"
  projects           = var.projects
  image_tag          = var.image_tag
  airflow            = var.airflow
  routing            = var.routing
  secrets_version    = var.secrets_version
  public             = var.public
  emails             = var.emails
  monthly_budget     = var.monthly_budget
  protected          = false
  zones              = 2
  log_retention_days = 30
  slot               = { cpu = 512, memory = 1024, maximum = 4, cpu_percent = 60 }
  online_store_units = { read = 2000, write = 2000 }

  database = {
    instance_class        = "db.t4g.small"
    storage_gb            = 20
    max_storage_gb        = 50
    multi_az              = false
    backup_retention_days = 3
  }

  stages = {
    small = { cpu = 1024, memory = 4096, disk_gb = 30 }
    large = { cpu = 4096, memory = 16384, disk_gb = 60 }
  }
}
