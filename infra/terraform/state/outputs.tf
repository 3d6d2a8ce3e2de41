output "backend" {
  description = "What an environment's backend.hcl says but for its key: `terraform output -raw backend`."
  value = join("", [
    "bucket       = \"${aws_s3_bucket.state.id}\"\n",
    "region       = \"${var.region}\"\n",
    "kms_key_id   = \"${aws_kms_key.state.arn}\"\n",
    "encrypt      = true\n",
    "use_lockfile = true\n",
  ])
}
