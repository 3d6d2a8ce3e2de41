output "bucket" {
  description = "Name of the lake's bucket."
  value       = aws_s3_bucket.this["lake"].id
}

output "bucket_arn" {
  description = "ARN of the lake's bucket."
  value       = aws_s3_bucket.this["lake"].arn
}

output "logs_bucket" {
  description = "Name of the bucket that access logs go to."
  value       = aws_s3_bucket.this["logs"].id
}

output "key_arn" {
  description = "ARN of the KMS key of everything in the lake."
  value       = aws_kms_key.lake.arn
}

output "landing" {
  description = "Where each project's producers deliver: the prefix of each source."
  value = {
    for name, project in var.projects : name => {
      for source in project.sources : source => "s3://${aws_s3_bucket.this["lake"].id}/landing/${name}/${source}/"
    }
  }
}
