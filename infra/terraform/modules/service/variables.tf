variable "name" {
  description = "Prefix of every resource's name, such as tidemill-production."
  type        = string
}

variable "component" {
  description = "What runs, such as router: the rest of every resource's name, and the name other services call it by."
  type        = string
}

variable "image" {
  description = "The container image, by tag or digest; never latest."
  type        = string

  validation {
    condition     = can(regex("[:@][^/]+$", var.image)) && !endswith(var.image, ":latest")
    error_message = "image must name a tag or digest that is not latest, or nobody knows what runs."
  }
}

variable "command" {
  description = "The arguments of the image's entry point; null for the image's own."
  type        = list(string)
  default     = null
}

variable "cpu" {
  description = "Processor units, 1024 of which are one."
  type        = number

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.cpu)
    error_message = "cpu must be one of Fargate's sizes: 256, 512, 1024, 2048, 4096, 8192, 16384."
  }
}

variable "memory" {
  description = "Memory in MiB."
  type        = number
}

variable "environment" {
  description = "Environment variables."
  type        = map(string)
  default     = {}
}

variable "secrets" {
  description = "Environment variables by the ARN of the secret that holds their value."
  type        = map(string)
  default     = {}
}

variable "policies" {
  description = "What it may do: IAM policy documents by name."
  type        = map(string)
  default     = {}
}

variable "key_arns" {
  description = "KMS keys that its secrets and image are encrypted with."
  type        = list(string)
}

variable "repository_arns" {
  description = "Where its image may come from."
  type        = list(string)
}

variable "cluster" {
  description = "Name and ARN of the ECS cluster."
  type = object({
    name = string
    arn  = string
  })
}

variable "network" {
  description = "Where it runs, and the namespace that it is called by name in."
  type = object({
    subnet_ids        = list(string)
    security_group_id = string
    namespace_id      = string
  })
}

variable "port" {
  description = "The TCP port it answers on; null for none."
  type        = number
  default     = null
}

variable "health_path" {
  description = "What answers 200 when it is well; null where the image's own check decides."
  type        = string
  default     = null
}

variable "target_group_arns" {
  description = "Target groups of a load balancer that it belongs to."
  type        = list(string)
  default     = []
}

variable "desired_count" {
  description = "How many run at first; what scaling and rollouts make of it later is left alone."
  type        = number
  default     = 1
}

variable "once" {
  description = "Whether it is a task that somebody starts and that ends, and no service."
  type        = bool
  default     = false
}

variable "scaling" {
  description = "Between how many, and at which load, the number changes; null for a fixed number."
  type = object({
    minimum     = number
    maximum     = number
    cpu_percent = number
  })
  default = null

  validation {
    condition     = try(var.scaling.minimum <= var.scaling.maximum && var.scaling.cpu_percent >= 20 && var.scaling.cpu_percent <= 90, true)
    error_message = "scaling.minimum must not be above scaling.maximum, and scaling.cpu_percent must be 20 to 90."
  }
}

variable "logs" {
  description = "KMS key and retention of its logs."
  type = object({
    key_arn        = string
    retention_days = number
  })
}
