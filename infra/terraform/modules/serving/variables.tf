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
    ports   = map(number)
  }))
}

variable "policy" {
  description = "How slots share traffic: by the router (sticky by entity, shadow, retries) or by the load balancer's weights."
  type        = string
  default     = "router"

  validation {
    condition     = contains(["router", "weights"], var.policy)
    error_message = "policy must be router or weights."
  }
}

variable "images" {
  description = "The images of slots and router, by tag or digest."
  type = object({
    serve  = string
    router = string
  })
}

variable "size" {
  description = "A slot's task, and how many of it there may be."
  type = object({
    cpu         = number
    memory      = number
    maximum     = number
    cpu_percent = number
  })
  default = { cpu = 1024, memory = 2048, maximum = 20, cpu_percent = 60 }
}

variable "routers" {
  description = "How many routers there are at least and at most."
  type = object({
    minimum = number
    maximum = number
  })
  default = { minimum = 2, maximum = 10 }
}

variable "autoscaling" {
  description = "Whether the number of tasks follows the load."
  type        = bool
  default     = true
}

variable "load_balancer" {
  description = "The public end: certificate, who may call, the most requests of one address in five minutes. Null for none."
  type = object({
    certificate_arn       = string
    client_cidrs          = list(string)
    requests_five_minutes = number
    public_subnet_ids     = list(string)
    logs_bucket           = string
  })

  validation {
    condition     = try(startswith(var.load_balancer.certificate_arn, "arn:"), true)
    error_message = "load_balancer.certificate_arn must be the ARN of a certificate in ACM; docs/cloud.md shows how to get one."
  }

  validation {
    condition     = try(alltrue([for one in var.load_balancer.client_cidrs : can(cidrhost(one, 0))]), true)
    error_message = "load_balancer.client_cidrs must be blocks of addresses, such as 203.0.113.0/24."
  }

  validation {
    condition     = try(var.load_balancer.requests_five_minutes >= 100, true)
    error_message = "load_balancer.requests_five_minutes must be at least 100, the least that WAF knows."
  }
}

variable "protected" {
  description = "Whether the load balancer refuses to be deleted."
  type        = bool
}

variable "settings" {
  description = "Environment of every slot and router, secrets excepted."
  type        = map(string)
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

variable "cluster" {
  description = "Name and ARN of the ECS cluster."
  type = object({
    name = string
    arn  = string
  })
}

variable "network" {
  description = "Where slots and router run."
  type = object({
    vpc_id            = string
    subnet_ids        = list(string)
    security_group_id = string
    namespace_id      = string
  })
}

variable "logs" {
  description = "KMS key and retention of logs."
  type = object({
    key_arn        = string
    retention_days = number
  })
}
