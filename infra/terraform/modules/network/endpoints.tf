# What makes a way out unnecessary, and who may talk to whom.

resource "aws_vpc_endpoint" "gateway" {
  for_each          = toset(["s3", "dynamodb"])
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${data.aws_region.current.name}.${each.key}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.private.id]
  tags              = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = setunion(var.interface_endpoints, var.more_endpoints)
  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${data.aws_region.current.name}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for one in aws_subnet.private : one.id]
  security_group_ids  = [aws_security_group.endpoints.id]
  tags                = { Name = "${var.name}-${each.key}" }
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "AWS services inside the network"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  security_group_id            = aws_security_group.endpoints.id
  description                  = "TLS from tasks"
  referenced_security_group_id = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443

  # A local AWS API forgets it.
  lifecycle {
    ignore_changes = [description]
  }
}

resource "aws_security_group" "tasks" {
  name        = "${var.name}-tasks"
  description = "Containers and Spark, which talk to AWS services, to the database and to one another"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "tasks" {
  #checkov:skip=CKV_AWS_25:Its source is a security group and no address, which the check does not see.
  security_group_id            = aws_security_group.tasks.id
  description                  = "services and Spark's executors, among themselves"
  referenced_security_group_id = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = 1024
  to_port                      = 65535

  # A local AWS API forgets it.
  lifecycle {
    ignore_changes = [description]
  }
}

# There is no route out of the private subnets; these rules say so once more.
resource "aws_vpc_security_group_egress_rule" "inside" {
  security_group_id = aws_security_group.tasks.id
  description       = "the network itself: endpoints, database, services"
  cidr_ipv4         = var.cidr
  ip_protocol       = "tcp"
  from_port         = 0
  to_port           = 65535
}

resource "aws_vpc_security_group_egress_rule" "gateway" {
  for_each          = aws_vpc_endpoint.gateway
  security_group_id = aws_security_group.tasks.id
  description       = "TLS to ${each.key}"
  prefix_list_id    = each.value.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443

  # A local AWS API forgets it.
  lifecycle {
    ignore_changes = [description]
  }
}
