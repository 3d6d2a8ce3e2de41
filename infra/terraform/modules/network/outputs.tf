output "vpc_id" {
  description = "The network."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Where everything runs."
  value       = [for one in aws_subnet.private : one.id]
}

output "public_subnet_ids" {
  description = "Where the load balancer is, and nothing else."
  value       = [for one in aws_subnet.public : one.id]
}

output "tasks_security_group_id" {
  description = "The security group of containers and Spark."
  value       = aws_security_group.tasks.id
}
