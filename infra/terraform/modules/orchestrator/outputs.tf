output "url" {
  description = "Airflow's pages and API, as they are reached inside the network."
  value       = var.engine == "ecs" ? local.url : "https://${one([for one in aws_mwaa_environment.this : one.webserver_url])}"
}

output "scheduler_log_group" {
  description = "Where the scheduler logs."
  value       = var.engine == "ecs" ? module.airflow["airflow-scheduler"].log_group : "airflow-${var.name}-Scheduler"
}

output "services" {
  description = "The ECS services there are."
  value       = [for one in module.airflow : one.name]
}
