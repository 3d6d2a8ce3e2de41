mock_provider "aws" {
  source = "./tests/mocks"
}

run "nothing_but_tls_goes_anywhere" {
  command = plan

  module {
    source = "../network"
  }

  variables {
    name               = "tidemill-test"
    zones              = 3
    log_key_arn        = "arn:aws:kms:eu-central-1:123456789012:key/one"
    log_retention_days = 90
  }

  assert {
    condition     = length(aws_subnet.private) == 3 && alltrue([for one in aws_subnet.public : !one.map_public_ip_on_launch])
    error_message = "a private subnet in each zone, and no address given away in public ones"
  }

  assert {
    condition     = length(distinct(concat([for one in aws_subnet.private : one.cidr_block], [for one in aws_subnet.public : one.cidr_block]))) == 6
    error_message = "no two subnets share addresses"
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.inside.cidr_ipv4 == var.cidr && aws_vpc_security_group_egress_rule.inside.cidr_ipv4 != "0.0.0.0/0"
    error_message = "tasks reach the network itself, and nothing beyond it"
  }

  assert {
    condition     = length(setsubtract(["ecr.api", "ecr.dkr", "kms", "logs", "secretsmanager"], keys(aws_vpc_endpoint.interface))) == 0
    error_message = "a task could not start without a way out"
  }
}

run "one_zone_is_refused" {
  command = plan

  module {
    source = "../network"
  }

  variables {
    name               = "tidemill-test"
    cidr               = "10.0.0.0/28"
    zones              = 1
    log_key_arn        = "arn:aws:kms:eu-central-1:123456789012:key/one"
    log_retention_days = 90
  }

  expect_failures = [var.zones, var.cidr]
}
