variable "name" {
  description = "Prefix of every resource's name, such as tidemill-production."
  type        = string
}

variable "projects" {
  description = "The model projects by name, as `tidemill projects --tfvars` writes them."
  type = map(object({
    title   = string
    owner   = string
    sources = list(string)
  }))
}

variable "image" {
  description = "The image that stages run in, by tag or digest."
  type        = string
}

variable "sizes" {
  description = "The tasks that a stage may run in, by the name a setting picks: processor units, MiB and GiB of disk."
  type = map(object({
    cpu     = number
    memory  = number
    disk_gb = number
  }))
  default = {
    small = { cpu = 1024, memory = 4096, disk_gb = 30 }
    large = { cpu = 8192, memory = 32768, disk_gb = 100 }
  }

  validation {
    condition     = contains(keys(var.sizes), "small") && alltrue([for one in values(var.sizes) : one.disk_gb >= 21 && one.disk_gb <= 200])
    error_message = "sizes must have a small one, and disk_gb must be 21 to 200, which is what Fargate offers."
  }
}

variable "spark" {
  description = "The most that EMR Serverless takes at once, and how long it idles before it stops; null for no Spark of its own."
  type = object({
    release      = string
    max_cpu      = number
    max_memory   = number
    max_disk     = number
    idle_minutes = number
  })
  default = {
    release      = "emr-7.9.0"
    max_cpu      = 200
    max_memory   = 800
    max_disk     = 2000
    idle_minutes = 5
  }
}

variable "lake" {
  description = "The lake's bucket and KMS key, by ARN."
  type = object({
    bucket_arn = string
    key_arn    = string
  })
}

variable "online_store" {
  description = "The online store's table and KMS key, by ARN."
  type = object({
    table_arn = string
    key_arn   = string
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

variable "network" {
  description = "The network that tasks and Spark run in."
  type = object({
    vpc_id            = string
    subnet_ids        = list(string)
    security_group_id = string
  })
}

variable "settings" {
  description = "Environment of every stage, secrets excepted."
  type        = map(string)
}

variable "logs" {
  description = "KMS key and retention of logs."
  type = object({
    key_arn        = string
    retention_days = number
  })
}

variable "rollout_policies" {
  description = "For each project, what its rollout may do to its slots."
  type        = map(string)
}
