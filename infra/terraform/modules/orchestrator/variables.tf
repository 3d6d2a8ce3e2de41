variable "name" {
  description = "Prefix of every resource's name, such as tidemill-production."
  type        = string
}

variable "engine" {
  description = "Where Airflow runs: ecs, four services of ours, or mwaa, AWS's own."
  type        = string
  default     = "ecs"

  validation {
    condition     = contains(["ecs", "mwaa"], var.engine)
    error_message = "engine must be ecs or mwaa."
  }
}

variable "image" {
  description = "The orchestrate image, by tag or digest."
  type        = string
}

variable "mwaa" {
  description = "Of MWAA: Airflow's version, the size of its machines, and at most how many workers."
  type = object({
    version           = string
    environment_class = string
    max_workers       = number
  })
  default = { version = "3.0.6", environment_class = "mw1.small", max_workers = 5 }
}

variable "lake" {
  description = "The lake's bucket, by name and ARN, and its KMS key."
  type = object({
    bucket     = string
    bucket_arn = string
    key_arn    = string
  })
}

variable "registry" {
  description = "Where images come from, the key of images and secrets, and the ARN of each secret by name."
  type = object({
    repository_arns = list(string)
    key_arn         = string
    secrets         = map(string)
  })
}

variable "compute" {
  description = "What stages run in: task families, the roles they are started with, their logs, and Spark (null for none)."
  type = object({
    families         = list(string)
    passed_role_arns = list(string)
    log_groups       = list(string)
    spark = object({
      application_arn = string
      role_arns       = map(string)
      log_group       = string
    })
  })
}

variable "cluster" {
  description = "Name and ARN of the ECS cluster."
  type = object({
    name = string
    arn  = string
  })
}

variable "network" {
  description = "Where Airflow runs."
  type = object({
    subnet_ids        = list(string)
    security_group_id = string
    namespace_id      = string
    namespace         = string
  })
}

variable "settings" {
  description = "Environment of Airflow, from which it tells stages where things are; secrets excepted."
  type        = map(string)
}

variable "logs" {
  description = "KMS key and retention of logs."
  type = object({
    key_arn        = string
    retention_days = number
  })
}
