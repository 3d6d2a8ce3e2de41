terraform {
  required_version = "~> 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Where the state is: `terraform init -backend-config=backend.hcl`, as docs/cloud.md shows.
  backend "s3" {}
}
