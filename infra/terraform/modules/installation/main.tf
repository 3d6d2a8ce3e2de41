# One installation of Tidemill: what every environment has, in the sizes that the environment says.

locals {
  in_account = {
    for part in ["autoscaling", "lifecycle_rules", "load_balancer", "spark", "tls"] : part => !contains(var.left_out, part)
  }
  image = { for name, url in module.registry.repositories : name => "${url}:${var.image_tag}" }
  logs  = { key_arn = module.observability.log_key_arn, retention_days = var.log_retention_days }
  lake  = { bucket = module.lake.bucket, bucket_arn = module.lake.bucket_arn, key_arn = module.lake.key_arn }
  network = {
    vpc_id            = module.network.vpc_id
    subnet_ids        = module.network.private_subnet_ids
    security_group_id = module.network.tasks_security_group_id
    namespace_id      = module.compute.namespace.id
    namespace         = module.compute.namespace.name
  }
  online_store = { table_arn = module.online_store.table_arn, key_arn = module.online_store.key_arn }
  registry = {
    repository_arns = values(module.registry.repository_arns)
    key_arn         = module.registry.key_arn
    secrets         = module.registry.secrets
  }
}

module "network" {
  source             = "../network"
  name               = var.name
  cidr               = var.cidr
  zones              = var.zones
  more_endpoints     = concat(["data-servicediscovery"], var.airflow == "mwaa" ? ["sqs"] : [], var.routing == "weights" ? ["elasticloadbalancing"] : [])
  log_key_arn        = module.observability.log_key_arn
  log_retention_days = var.log_retention_days
}

module "lake" {
  source                   = "../lake"
  name                     = var.name
  projects                 = var.projects
  protected                = var.protected
  log_retention_days       = var.log_retention_days
  lifecycle_rules          = local.in_account.lifecycle_rules
  encrypted_transport_only = local.in_account.tls
}

module "registry" {
  source                 = "../registry"
  name                   = var.name
  protected              = var.protected
  database               = var.database
  vpc_id                 = module.network.vpc_id
  subnet_ids             = module.network.private_subnet_ids
  client_security_groups = { tasks = module.network.tasks_security_group_id }
  secrets_version        = var.secrets_version

  mlflow = {
    image        = "${module.registry.repositories["jobs"]}:${var.image_tag}"
    bucket       = module.lake.bucket
    bucket_arn   = module.lake.bucket_arn
    lake_key_arn = module.lake.key_arn
    namespace    = module.compute.namespace.name
    cluster      = module.compute.cluster
    network      = local.network
    logs         = local.logs
  }
}

module "online_store" {
  source          = "../online_store"
  name            = var.name
  protected       = var.protected
  max_read_units  = var.online_store_units.read
  max_write_units = var.online_store_units.write
}

module "compute" {
  source           = "../compute"
  name             = var.name
  projects         = var.projects
  image            = local.image["jobs"]
  sizes            = var.stages
  lake             = local.lake
  online_store     = local.online_store
  registry         = local.registry
  network          = { vpc_id = module.network.vpc_id, subnet_ids = module.network.private_subnet_ids, security_group_id = module.network.tasks_security_group_id }
  settings         = local.settings
  rollout_policies = module.serving.rollout_policies
  logs             = local.logs
  spark            = local.in_account.spark ? var.spark : null
}

module "orchestrator" {
  source   = "../orchestrator"
  name     = var.name
  engine   = var.airflow
  image    = local.image["orchestrate"]
  lake     = local.lake
  registry = local.registry
  cluster  = module.compute.cluster
  network  = local.network
  settings = local.settings
  logs     = local.logs

  compute = {
    families         = values(module.compute.tasks)
    passed_role_arns = module.compute.passed_role_arns
    log_groups       = values(module.compute.stage_log_groups)
    spark            = module.compute.spark
  }
}

module "serving" {
  source       = "../serving"
  name         = var.name
  projects     = var.projects
  policy       = var.routing
  images       = { serve = local.image["serve"], router = local.image["jobs"] }
  size         = var.slot
  autoscaling  = local.in_account.autoscaling
  protected    = var.protected
  settings     = local.settings
  lake         = local.lake
  online_store = local.online_store
  registry     = local.registry
  cluster      = module.compute.cluster
  network      = local.network
  logs         = local.logs

  load_balancer = !local.in_account.load_balancer || var.public == null ? null : {
    certificate_arn       = var.public.certificate_arn
    client_cidrs          = var.public.client_cidrs
    requests_five_minutes = var.public.requests_five_minutes
    public_subnet_ids     = module.network.public_subnet_ids
    logs_bucket           = module.lake.logs_bucket
  }
}

module "observability" {
  source              = "../observability"
  name                = var.name
  emails              = var.emails
  monthly_budget      = var.monthly_budget
  database            = module.registry.database
  table               = module.online_store.table
  spark               = module.compute.spark
  stage_log_groups    = module.compute.stage_log_groups
  scheduler_log_group = var.airflow == "ecs" ? module.orchestrator.scheduler_log_group : null
  mwaa                = var.airflow == "mwaa" ? var.name : null
  load_balancer       = !local.in_account.load_balancer || var.public == null ? null : { name = module.serving.load_balancer, target_groups = module.serving.target_groups }
}
