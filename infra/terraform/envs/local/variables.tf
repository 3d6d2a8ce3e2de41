variable "aws_endpoint" {
  description = "Address of the local AWS API, such as http://127.0.0.1:5000 of `moto_server`."
  type        = string

  validation {
    condition     = can(regex("^http://(127\\.0\\.0\\.1|localhost|\\[::1\\])(:[0-9]+)?$", var.aws_endpoint))
    error_message = "aws_endpoint must be an address of this machine; for an account there are envs/staging and envs/production."
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
