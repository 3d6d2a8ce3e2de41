output "cluster" {
  description = "Name and ARN of the ECS cluster."
  value       = { name = aws_ecs_cluster.this.name, arn = aws_ecs_cluster.this.arn }
}

output "namespace" {
  description = "Id and name of the namespace that services are called by name in."
  value = {
    id   = aws_service_discovery_private_dns_namespace.this.id
    name = aws_service_discovery_private_dns_namespace.this.name
  }
}

output "tasks" {
  description = "The task definition of each project and size, as <project>-<size>."
  value       = { for name, one in aws_ecs_task_definition.stage : name => one.family }
}

output "passed_role_arns" {
  description = "The roles that whoever starts stages passes on."
  value = concat(
    [for one in aws_iam_role.start : one.arn],
    [for one in aws_iam_role.stage : one.arn],
  )
}

output "stage_log_groups" {
  description = "Where each project's stages log."
  value       = { for name, one in aws_cloudwatch_log_group.stages : name => one.name }
}

output "spark" {
  description = "The EMR Serverless application, the role of each project's jobs, and where they log; null without one."
  value = one([for key, one in aws_emrserverless_application.this : {
    application_id  = one.id
    application_arn = one.arn
    role_arns       = { for name, role in aws_iam_role.spark : name => role.arn }
    log_group       = aws_cloudwatch_log_group.spark[key].name
  }])
}
