variable "name" {
  description = "Prefix of every resource's name, such as tidemill-production."
  type        = string
}

variable "images" {
  description = "The container images there are, each a repository."
  type        = set(string)
  default     = ["orchestrate", "jobs", "serve"]
}

variable "keep_images" {
  description = "How many images a repository keeps; a release that is served must be among them."
  type        = number
  default     = 50

  validation {
    condition     = var.keep_images >= 10
    error_message = "keep_images must be at least 10, or a rollback may find its image gone."
  }
}

variable "protected" {
  description = "Whether repositories, secrets and the database refuse to be destroyed at once."
  type        = bool
}

variable "database" {
  description = "The PostgreSQL of Airflow, MLflow, Optuna and the ledger; null for none, where one is at hand already."
  type = object({
    instance_class        = string
    storage_gb            = number
    max_storage_gb        = number
    multi_az              = bool
    backup_retention_days = number
  })

  validation {
    condition     = try(var.database.max_storage_gb >= var.database.storage_gb, true)
    error_message = "database.max_storage_gb must not be below database.storage_gb."
  }

  validation {
    condition     = try(var.database.backup_retention_days >= 1 && var.database.backup_retention_days <= 35, true)
    error_message = "database.backup_retention_days must be 1 to 35; without backups the ledger cannot be restored."
  }
}

variable "vpc_id" {
  description = "The network that the database is in."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in two zones at least."
  type        = list(string)
}

variable "client_security_groups" {
  description = "Who may reach the database: security groups by a name each."
  type        = map(string)
}

variable "mlflow" {
  description = "Where the tracking server runs, what of, and where its files are; null for none."
  type = object({
    image        = string
    bucket       = string
    bucket_arn   = string
    lake_key_arn = string
    namespace    = string
    cluster      = object({ name = string, arn = string })
    network      = object({ subnet_ids = list(string), security_group_id = string, namespace_id = string })
    logs         = object({ key_arn = string, retention_days = number })
  })
  default = null
}

variable "secrets_version" {
  description = "Raise it to have every secret made anew; docs/cloud.md says what to start again then."
  type        = number
  default     = 1

  validation {
    condition     = var.secrets_version >= 1 && floor(var.secrets_version) == var.secrets_version
    error_message = "secrets_version must be a whole number from 1 on."
  }
}
