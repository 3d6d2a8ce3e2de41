variable "name" {
  description = "Prefix of every resource's name, such as tidemill-production."
  type        = string
}

variable "protected" {
  description = "Whether the table refuses to be deleted."
  type        = bool
}

variable "max_read_units" {
  description = "The most read units a second, which bounds the bill; -1 for no bound. Past it requests are throttled."
  type        = number
  default     = 40000

  validation {
    condition     = var.max_read_units == -1 || var.max_read_units >= 1
    error_message = "max_read_units must be -1 (no bound) or at least 1."
  }
}

variable "max_write_units" {
  description = "The most write units a second, which bounds the bill; -1 for no bound. Past it writes are throttled."
  type        = number
  default     = 40000

  validation {
    condition     = var.max_write_units == -1 || var.max_write_units >= 1
    error_message = "max_write_units must be -1 (no bound) or at least 1."
  }
}
