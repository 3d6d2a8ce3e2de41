# The one public port. What is behind it is either the router or, by the simpler policy, each slot's target group.

locals {
  balancer = var.load_balancer == null ? {} : { this = var.load_balancer }
  weighted = var.load_balancer != null && var.policy == "weights"
}

resource "aws_security_group" "load_balancer" {
  for_each    = local.balancer
  name        = "${var.name}-load-balancer"
  description = "TLS from clients, and on to slots and routers"
  vpc_id      = var.network.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each          = toset(var.load_balancer == null ? [] : var.load_balancer.client_cidrs)
  security_group_id = aws_security_group.load_balancer["this"].id
  description       = "TLS from ${each.key}"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "targets" {
  for_each                     = local.balancer
  security_group_id            = aws_security_group.load_balancer["this"].id
  description                  = "routers and slots"
  referenced_security_group_id = var.network.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = local.router_port
  to_port                      = local.router_port + 199
}

resource "aws_vpc_security_group_ingress_rule" "targets" {
  for_each                     = local.balancer
  security_group_id            = var.network.security_group_id
  description                  = "requests from the load balancer"
  referenced_security_group_id = aws_security_group.load_balancer["this"].id
  ip_protocol                  = "tcp"
  from_port                    = local.router_port
  to_port                      = local.router_port + 199
}

resource "aws_lb" "this" {
  #checkov:skip=CKV2_AWS_28:Its firewall is in firewall.tf, by for_each, which the check does not follow.
  for_each                   = local.balancer
  name                       = var.name
  load_balancer_type         = "application"
  internal                   = false
  subnets                    = each.value.public_subnet_ids
  security_groups            = [aws_security_group.load_balancer["this"].id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.protected
  idle_timeout               = 60

  access_logs {
    bucket  = each.value.logs_bucket
    prefix  = "load-balancer"
    enabled = true
  }
}

resource "aws_lb_listener" "tls" {
  for_each          = local.balancer
  load_balancer_arn = aws_lb.this["this"].arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = each.value.certificate_arn

  default_action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      message_body = "there is nothing here\n"
      status_code  = "404"
    }
  }
}

resource "aws_lb_target_group" "router" {
  count                = var.load_balancer != null && var.policy == "router" ? 1 : 0
  name                 = "${var.name}-router"
  vpc_id               = var.network.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = local.router_port
  deregistration_delay = 60

  health_check {
    path                = "/livez"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_target_group" "slot" {
  for_each             = local.weighted ? local.slots : {}
  name                 = substr(replace("${each.key}-${md5(var.name)}", "/^serve-/", ""), 0, 32)
  vpc_id               = var.network.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = each.value.port
  deregistration_delay = 60
  tags                 = { Slot = each.key }

  health_check {
    path                = "/readyz"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

# Only what clients ask for goes on: the pages and metrics of a slot are for the inside.
resource "aws_lb_listener_rule" "project" {
  for_each     = var.load_balancer == null ? {} : var.projects
  listener_arn = aws_lb_listener.tls["this"].arn

  condition {
    path_pattern {
      values = ["/${each.key}/predict", "/${each.key}/explain"]
    }
  }

  condition {
    http_request_method {
      values = ["POST"]
    }
  }

  action {
    type             = "forward"
    target_group_arn = local.weighted ? null : aws_lb_target_group.router[0].arn

    dynamic "forward" {
      for_each = local.weighted ? ["weights"] : []

      content {
        dynamic "target_group" {
          for_each = { for name, one in local.slots : name => one if one.project == each.key }

          content {
            arn    = aws_lb_target_group.slot[target_group.key].arn
            weight = target_group.value.slot == "blue" ? 100 : 0
          }
        }
      }
    }
  }

  # The rollout moves the weights.
  lifecycle {
    ignore_changes = [action]
  }
}
