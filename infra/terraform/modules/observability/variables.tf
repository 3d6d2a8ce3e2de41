variable "name" {
  description = "Prefix of every resource's name, such as tidemill-production."
  type        = string
}

variable "emails" {
  description = "Who is told of alarms and of the budget; each has to confirm once."
  type        = set(string)

  validation {
    condition     = alltrue([for one in var.emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", one))])
    error_message = "emails must be e-mail addresses."
  }
}

variable "monthly_budget" {
  description = "Dollars a month; 80 % spent, and 100 % forecast, are told. Null for none."
  type        = number

  validation {
    condition     = try(var.monthly_budget >= 1, true)
    error_message = "monthly_budget must be at least 1 dollar."
  }
}

variable "limits" {
  description = "From where on somebody is told."
  type = object({
    error_percent     = number
    p99_milliseconds  = number
    stale_hours       = number
    queued_tasks      = number
    database_free_gb  = number
    throttled_minutes = number
  })
  default = {
    error_percent     = 1
    p99_milliseconds  = 250
    stale_hours       = 30
    queued_tasks      = 50
    database_free_gb  = 10
    throttled_minutes = 5
  }

  validation {
    condition     = var.limits.stale_hours >= 25 && var.limits.stale_hours <= 168
    error_message = "limits.stale_hours must be 25 to 168: a batch is a day, and an alarm looks back a week at most."
  }
}

variable "load_balancer" {
  description = "What metrics call the load balancer, and its target groups by name; null for none."
  type = object({
    name          = string
    target_groups = map(string)
  })
}

variable "database" {
  description = "The database, by its identifier; null for none."
  type = object({
    identifier = string
  })
}

variable "table" {
  description = "The online store's table."
  type        = string
}

variable "spark" {
  description = "The EMR Serverless application, by its id; null for none."
  type = object({
    application_id = string
  })
}

variable "stage_log_groups" {
  description = "Where each project's stages log."
  type        = map(string)
}

variable "scheduler_log_group" {
  description = "Where Airflow's scheduler logs; null where AWS's own Airflow has metrics of its own."
  type        = string
}

variable "mwaa" {
  description = "The MWAA environment's name; null for none."
  type        = string
}
