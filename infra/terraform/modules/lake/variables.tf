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

variable "log_retention_days" {
  description = "How long the bucket's access logs are kept."
  type        = number
}

variable "keep_replaced_days" {
  description = "How long replaced and deleted objects can still be restored."
  type        = number
  default     = 30

  validation {
    condition     = var.keep_replaced_days >= 7
    error_message = "keep_replaced_days must be at least 7: a person has to notice a bad delete and undo it."
  }
}

variable "protected" {
  description = "Whether `terraform destroy` is refused while the bucket holds anything."
  type        = bool
}

variable "lifecycle_rules" {
  description = "Whether objects are moved to colder storage and expire; a local AWS API takes a minute to say yes."
  type        = bool
  default     = true
}

variable "encrypted_transport_only" {
  description = "Whether requests without TLS are refused; a local AWS API has none."
  type        = bool
  default     = true
}
