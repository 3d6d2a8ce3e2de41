output "repositories" {
  description = "URL of each image's repository."
  value       = { for name, one in aws_ecr_repository.this : name => one.repository_url }
}

output "repository_arns" {
  description = "ARN of each image's repository."
  value       = { for name, one in aws_ecr_repository.this : name => one.arn }
}

output "key_arn" {
  description = "ARN of the KMS key of images, secrets and the database."
  value       = aws_kms_key.this.arn
}

output "secrets" {
  description = "ARN of each secret by its name; its value is never in an output or the state."
  value = merge(
    { for name, one in aws_secretsmanager_secret.generated : name => one.arn },
    { for name, one in aws_secretsmanager_secret.url : "database/${name}/url" => one.arn },
  )
}

output "database" {
  description = "Identifier, address and port of the database; null without one."
  value = one([for one in aws_db_instance.this : {
    identifier = one.identifier
    address    = one.address
    port       = one.port
  }])
}

output "databases_task" {
  description = "The task that makes databases and their roles; null without a database."
  value       = one(module.databases[*].family)
}
