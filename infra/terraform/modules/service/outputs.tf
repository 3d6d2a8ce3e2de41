output "name" {
  description = "The ECS service's name; null of a task."
  value       = one(aws_ecs_service.this[*].name)
}

output "arn" {
  description = "The ECS service's ARN; null of a task."
  value       = one(aws_ecs_service.this[*].id)
}

output "role_arns" {
  description = "The roles that whoever starts its tasks passes on."
  value       = [aws_iam_role.execution.arn, aws_iam_role.task.arn]
}

output "log_group" {
  description = "Where it logs."
  value       = aws_cloudwatch_log_group.this.name
}

output "family" {
  description = "The task definition's family."
  value       = aws_ecs_task_definition.this.family
}
