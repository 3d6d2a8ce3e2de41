variable "name" {
  description = "Prefix of every resource's name, such as tidemill-production."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,23}$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "projects" {
  description = "The model projects by name, as `tidemill projects --tfvars` writes them."
  type = map(object({
    title   = string
    owner   = string
    sources = list(string)
    ports   = map(number)
  }))

  validation {
    condition     = length(var.projects) > 0 && alltrue([for name, _ in var.projects : can(regex("^[a-z][a-z0-9_]*$", name))])
    error_message = "projects must hold at least one project; write it by `tidemill projects --tfvars > projects.auto.tfvars.json`."
  }
}

variable "protected" {
  description = "Whether data, secrets and the load balancer refuse to be destroyed."
  type        = bool
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 90

  validation {
    condition     = contains([30, 60, 90, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days must be one of 30, 60, 90, 180, 365, 400, 545, 731, which CloudWatch knows."
  }
}

variable "left_out" {
  description = "What a local AWS API cannot make or takes a minute for; empty in an account."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.left_out, ["autoscaling", "lifecycle_rules", "load_balancer", "spark", "tls"])) == 0
    error_message = "left_out may name autoscaling, lifecycle_rules, load_balancer, spark and tls."
  }
}

variable "cidr" {
  description = "Addresses of the network."
  type        = string
  default     = "10.40.0.0/16"
}

variable "zones" {
  description = "How many availability zones to use."
  type        = number
  default     = 2
}

variable "database" {
  description = "The PostgreSQL of Airflow, MLflow, Optuna and the ledger; null for none."
  type = object({
    instance_class        = string
    storage_gb            = number
    max_storage_gb        = number
    multi_az              = bool
    backup_retention_days = number
  })
}

variable "image_tag" {
  description = "The tag of the three images, such as the commit they were built from."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]{4,128}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "image_tag must be a tag that is not latest, such as the output of `git rev-parse --short=12 HEAD`."
  }
}

variable "airflow" {
  description = "Where Airflow runs: ecs, or mwaa."
  type        = string
  default     = "ecs"
}

variable "routing" {
  description = "How slots share traffic: by the router, or by the load balancer's weights."
  type        = string
  default     = "router"

  validation {
    condition     = var.routing != "weights" || var.public != null
    error_message = "routing = \"weights\" needs a public end, whose load balancer has the weights."
  }
}

variable "public" {
  description = "The public end: its domain, certificate, who may call, and how often one address may; null for none."
  type = object({
    domain                = string
    certificate_arn       = string
    client_cidrs          = list(string)
    requests_five_minutes = number
  })

  validation {
    condition     = try(length(var.public.client_cidrs) > 0, true)
    error_message = "public.client_cidrs must name at least one block of addresses; [\"0.0.0.0/0\"] is everybody."
  }
}

variable "slot" {
  description = "A slot's task, and how many of it there may be."
  type = object({
    cpu         = number
    memory      = number
    maximum     = number
    cpu_percent = number
  })
}

variable "stages" {
  description = "The tasks that a stage may run in, by name: processor units, MiB and GiB of disk."
  type = map(object({
    cpu     = number
    memory  = number
    disk_gb = number
  }))
}

variable "online_store_units" {
  description = "The most read and write units a second of the online store, which bounds its bill; -1 for no bound."
  type = object({
    read  = number
    write = number
  })
}

variable "emails" {
  description = "Who is told of alarms and of the budget."
  type        = set(string)
}

variable "monthly_budget" {
  description = "Dollars a month; 80 % spent, and 100 % forecast, are told. Null for none."
  type        = number
}

variable "spark" {
  description = "The most that EMR Serverless takes at once, and how long it idles before it stops."
  type = object({
    release      = string
    max_cpu      = number
    max_memory   = number
    max_disk     = number
    idle_minutes = number
  })
  default = { release = "emr-7.9.0", max_cpu = 200, max_memory = 800, max_disk = 2000, idle_minutes = 5 }
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
