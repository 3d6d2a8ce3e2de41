output "table" {
  description = "Name of the table."
  value       = aws_dynamodb_table.this.name
}

output "table_arn" {
  description = "ARN of the table."
  value       = aws_dynamodb_table.this.arn
}

output "key_arn" {
  description = "ARN of the table's KMS key."
  value       = aws_kms_key.this.arn
}

output "url" {
  description = "The store as TIDEMILL_ONLINE_STORE_URL names it."
  value       = "dynamodb://${aws_dynamodb_table.this.name}?region=${data.aws_region.current.name}"
}
