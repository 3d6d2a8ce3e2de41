output "settings" {
  description = "The settings file: `terraform output -raw settings > settings.env`."
  value       = module.tidemill.settings
}

output "secrets" {
  description = "Where each secret is: its ARN in Secrets Manager, by name."
  value       = module.tidemill.secrets
}

output "landing" {
  description = "Where each project's producers deliver: the prefix of each source."
  value       = module.tidemill.landing
}

output "repositories" {
  description = "Where each image is pushed to."
  value       = module.tidemill.repositories
}

output "stages" {
  description = "How a stage is started: cluster, task definitions, network and logs of containers; application and roles of Spark."
  value       = module.tidemill.stages
}

output "slots" {
  description = "Each slot's project, colour, port, ECS service, and target group under the weights policy."
  value       = module.tidemill.slots
}

output "address" {
  description = "The load balancer's DNS name, which the domain's record points to; null without one."
  value       = module.tidemill.address
}

output "airflow" {
  description = "Airflow's pages, as they are reached inside the network."
  value       = module.tidemill.airflow
}

output "alarms" {
  description = "Names of all alarms."
  value       = module.tidemill.alarms
}
