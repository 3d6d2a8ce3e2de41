# Two slots for each project, and the router before them. Which slot serves what, and how much traffic it gets, is
# the rollout's business: it starts and stops tasks, writes routes to the lake or weights to the load balancer.

locals {
  slots = {
    for pair in setproduct(keys(var.projects), ["blue", "green"]) : "serve-${replace(pair[0], "_", "-")}-${pair[1]}" => {
      project = pair[0]
      slot    = pair[1]
      port    = var.projects[pair[0]].ports[pair[1]]
    }
  }
  secrets = {
    for setting, secret in {
      TIDEMILL_API_KEY      = "api_key"
      TIDEMILL_DATABASE_URL = "database/tidemill/url"
    } : setting => var.registry.secrets[secret] if contains(keys(var.registry.secrets), secret)
  }
  router_port = 8700
}

module "slot" {
  source            = "../service"
  for_each          = local.slots
  name              = var.name
  component         = each.key
  image             = var.images.serve
  cpu               = var.size.cpu
  memory            = var.size.memory
  port              = each.value.port
  health_path       = "/livez"
  environment       = merge(var.settings, { TIDEMILL_SERVICE = "serve-${each.value.project}-${each.value.slot}", TIDEMILL_PROJECT = each.value.project, TIDEMILL_SLOT = each.value.slot })
  secrets           = local.secrets
  key_arns          = [var.registry.key_arn]
  repository_arns   = var.registry.repository_arns
  policies          = { data = data.aws_iam_policy_document.slot[each.value.project].json }
  cluster           = var.cluster
  network           = var.network
  logs              = var.logs
  desired_count     = 0
  scaling           = var.autoscaling ? { minimum = 1, maximum = var.size.maximum, cpu_percent = var.size.cpu_percent } : null
  target_group_arns = [for one in aws_lb_target_group.slot : one.arn if one.tags.Slot == each.key]
}

module "router" {
  source            = "../service"
  count             = var.policy == "router" ? 1 : 0
  name              = var.name
  component         = "router"
  image             = var.images.router
  cpu               = 1024
  memory            = 2048
  port              = local.router_port
  health_path       = "/livez"
  environment       = merge(var.settings, { TIDEMILL_SERVICE = "router" })
  key_arns          = [var.registry.key_arn]
  repository_arns   = var.registry.repository_arns
  policies          = { routes = data.aws_iam_policy_document.router.json }
  cluster           = var.cluster
  network           = var.network
  logs              = var.logs
  desired_count     = var.routers.minimum
  scaling           = var.autoscaling ? merge(var.routers, { cpu_percent = 50 }) : null
  target_group_arns = aws_lb_target_group.router[*].arn
}

# A slot reads its project's releases and values, adds events to live values, and writes its prediction log.
data "aws_iam_policy_document" "slot" {
  for_each = var.projects

  statement {
    sid       = "ReadReleases"
    actions   = ["s3:GetObject"]
    resources = [for place in ["releases", "serving"] : "${var.lake.bucket_arn}/${place}/${each.key}/*"]
  }

  statement {
    sid       = "ListReleases"
    actions   = ["s3:ListBucket"]
    resources = [var.lake.bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = [for place in ["releases", "serving"] : "${place}/${each.key}/*"]
    }
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["s3:PutObject"]
    resources = [for place in ["landing", "shadow"] : "${var.lake.bucket_arn}/${place}/${each.key}/predictions/*"]
  }

  statement {
    sid       = "ItsOwnValues"
    actions   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [var.online_store.table_arn]

    condition {
      test     = "ForAllValues:StringLike"
      variable = "dynamodb:LeadingKeys"
      values   = ["${each.key}:*"]
    }
  }

  statement {
    sid       = "Keys"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.lake.key_arn, var.online_store.key_arn]
  }
}

data "aws_iam_policy_document" "router" {
  statement {
    sid       = "ReadRoutes"
    actions   = ["s3:GetObject"]
    resources = ["${var.lake.bucket_arn}/routes/*"]
  }

  statement {
    sid       = "ListRoutes"
    actions   = ["s3:ListBucket"]
    resources = [var.lake.bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["routes/*"]
    }
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt"]
    resources = [var.lake.key_arn]
  }
}
