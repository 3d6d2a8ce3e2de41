output "settings" {
  description = "What `tidemill` reads, secrets excepted: the environment of every container, as lines of a settings file."
  value       = join("", [for name, value in local.settings : "${name}=${jsonencode(value)}\n"])
}

output "secrets" {
  description = "Where each secret is: its ARN in Secrets Manager, by name."
  value       = module.registry.secrets
}

output "landing" {
  description = "Where each project's producers deliver: the prefix of each source."
  value       = module.lake.landing
}

output "repositories" {
  description = "Where each image is pushed to."
  value       = module.registry.repositories
}

output "stages" {
  description = "How a stage is started: cluster, task definitions, network and logs of containers; application and roles of Spark."
  value = {
    cluster         = module.compute.cluster.arn
    tasks           = module.compute.tasks
    subnets         = module.network.private_subnet_ids
    security_groups = [module.network.tasks_security_group_id]
    log_groups      = module.compute.stage_log_groups
    databases       = module.registry.databases_task
    spark           = module.compute.spark
  }
}

output "slots" {
  description = "Each slot's project, colour, port, ECS service, and target group under the weights policy."
  value       = module.serving.slots
}

output "address" {
  description = "The load balancer's DNS name, which the domain's record points to; null without one."
  value       = module.serving.address
}

output "airflow" {
  description = "Airflow's pages, as they are reached inside the network."
  value       = module.orchestrator.url
}

output "alarms" {
  description = "Names of all alarms."
  value       = module.observability.alarms
}
