variable "name" {
  description = "Whose state it is; the first part of the bucket's name."
  type        = string
  default     = "tidemill"
}

variable "region" {
  description = "Where the bucket is."
  type        = string
}

variable "aws_endpoint" {
  description = "Address of a local AWS API; null for the account's own."
  type        = string
  default     = null
}
