output "address" {
  description = "The load balancer's DNS name, which the domain's record points to; null without one."
  value       = one([for one in aws_lb.this : one.dns_name])
}

output "load_balancer" {
  description = "What metrics call the load balancer; null without one."
  value       = one([for one in aws_lb.this : one.arn_suffix])
}

output "slots" {
  description = "Each slot's project, colour, ECS service, and target group under the weights policy."
  value = {
    for name, one in local.slots : name => merge(one, {
      service      = module.slot[name].name
      target_group = try(aws_lb_target_group.slot[name].arn, null)
    })
  }
}

output "service_arns" {
  description = "The ECS services that a rollout starts and stops."
  value       = [for one in module.slot : one.arn]
}

output "listener_rules" {
  description = "Of each project under the weights policy: the listener rule whose weights a rollout moves, and each slot's target group."
  value = { for project, one in aws_lb_listener_rule.project : project => merge(
    { rule = one.arn },
    { for name, slot in local.slots : slot.slot => aws_lb_target_group.slot[name].arn if slot.project == project },
  ) if local.weighted }
}

output "target_groups" {
  description = "What metrics call each target group."
  value = merge(
    { for one in aws_lb_target_group.router : "router" => one.arn_suffix },
    { for name, one in aws_lb_target_group.slot : name => one.arn_suffix },
  )
}
