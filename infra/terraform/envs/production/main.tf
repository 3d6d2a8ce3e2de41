# What clients depend on: three zones, a database that fails over, backups, and nothing that a slip can delete.

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account]

  default_tags {
    tags = { Application = "tidemill", Environment = "production", Installation = "tidemill-production" }
  }
}

module "tidemill" {
  source             = "../../modules/installation"
  name               = "tidemill-production"
  projects           = var.projects
  image_tag          = var.image_tag
  airflow            = var.airflow
  routing            = var.routing
  secrets_version    = var.secrets_version
  public             = var.public
  emails             = var.emails
  monthly_budget     = var.monthly_budget
  protected          = true
  zones              = 3
  log_retention_days = 365
  slot               = { cpu = 2048, memory = 4096, maximum = 40, cpu_percent = 55 }
  online_store_units = { read = 40000, write = 40000 }

  database = {
    instance_class        = "db.m7g.large"
    storage_gb            = 100
    max_storage_gb        = 1000
    multi_az              = true
    backup_retention_days = 35
  }

  stages = {
    small = { cpu = 1024, memory = 4096, disk_gb = 30 }
    large = { cpu = 16384, memory = 65536, disk_gb = 200 }
  }
}
