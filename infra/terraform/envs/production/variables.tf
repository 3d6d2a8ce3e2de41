variable "region" {
  description = "The AWS region of everything, such as eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be the name of a region, such as eu-central-1."
  }
}

variable "account" {
  description = "The AWS account this environment is in; credentials of any other are refused before anything is touched."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account))
    error_message = "account must be the twelve digits of an AWS account, as `aws sts get-caller-identity` prints them."
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
}

variable "image_tag" {
  description = "The tag of the three images, such as the commit they were built from."
  type        = string
}

variable "public" {
  description = "The public end: its domain, certificate, who may call, and how often one address may in five minutes."
  type = object({
    domain                = string
    certificate_arn       = string
    client_cidrs          = list(string)
    requests_five_minutes = number
  })
}

variable "emails" {
  description = "Who is told of alarms and of the budget."
  type        = set(string)

  validation {
    condition     = length(var.emails) > 0
    error_message = "emails must name somebody: an alarm that nobody reads is none."
  }
}

variable "monthly_budget" {
  description = "Dollars a month; docs/cloud.md shows what each size costs."
  type        = number
}

variable "airflow" {
  description = "Where Airflow runs: ecs, or mwaa."
  type        = string
  default     = "ecs"
}

variable "routing" {
  description = "How slots share traffic: router, or weights."
  type        = string
  default     = "router"
}

variable "secrets_version" {
  description = "Raise it to have every secret made anew; docs/cloud.md says what to start again then."
  type        = number
  default     = 1
}
