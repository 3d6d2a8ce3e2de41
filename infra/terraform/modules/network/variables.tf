variable "name" {
  description = "Prefix of every resource's name, such as tidemill-production."
  type        = string
}

variable "cidr" {
  description = "Addresses of the network; private subnets take its lower half, public ones a slice of its upper."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && tonumber(split("/", var.cidr)[1]) <= 20 && tonumber(split("/", var.cidr)[1]) >= 16
    error_message = "cidr must be an IPv4 block of size /16 to /20, such as 10.40.0.0/16."
  }
}

variable "zones" {
  description = "How many availability zones to use."
  type        = number
  default     = 2

  validation {
    condition     = var.zones >= 2 && var.zones <= 4
    error_message = "zones must be 2 to 4: a load balancer and a database that fails over need two."
  }
}

variable "interface_endpoints" {
  description = "AWS services reached without leaving the network, besides S3 and DynamoDB; each costs by the hour and zone."
  type        = set(string)
  default = [
    "ecr.api", "ecr.dkr", "ecs", "emr-serverless", "kms", "logs", "monitoring", "secretsmanager", "sts",
  ]
}

variable "log_key_arn" {
  description = "KMS key of the flow logs."
  type        = string
}

variable "log_retention_days" {
  description = "How long flow logs are kept."
  type        = number
}

variable "more_endpoints" {
  description = "Services reached in the same way that only some installations need."
  type        = set(string)
  default     = []
}
