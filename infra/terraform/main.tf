data "azurerm_resource_group" "this" {
  name = var.resource_group_name
}

locals {
  settings   = jsondecode(file("${path.module}/../shared/settings.json"))
  location   = coalesce(var.location, data.azurerm_resource_group.this.location)
  vm_size    = coalesce(var.worker_vm_size, local.settings.sizes.worker)
  containers = var.compute == "containerApps"
  spot       = var.spot_enabled && var.shape == "prod" && !local.containers
  # Autoscale owns the number afterwards.
  first_capacity    = local.containers ? 0 : var.worker_capacity
  metrics_write_url = one(module.metrics[*].write_url) == null ? "" : one(module.metrics[*].write_url)
  # The brokers name the scale set in their metrics and are made without waiting for it.
  scale_set_name = "vmss-${var.name}-workers"
  scale_set_id   = "${data.azurerm_resource_group.this.id}/providers/Microsoft.Compute/virtualMachineScaleSets/${local.scale_set_name}"
}

module "network" {
  source                = "./modules/network"
  name                  = var.name
  location              = local.location
  resource_group_name   = var.resource_group_name
  package_mirror_ranges = var.package_mirror_ranges
}

module "identity" {
  source              = "./modules/identity"
  name                = var.name
  location            = local.location
  resource_group_name = var.resource_group_name
  endpoints_subnet_id = module.network.endpoints_subnet_id
  vault_zone_id       = module.network.vault_zone_id
  operator_ip_ranges  = var.operator_ip_ranges
}

module "storage" {
  source              = "./modules/storage"
  name                = var.name
  location            = local.location
  resource_group_name = var.resource_group_name
  shape               = var.shape
  endpoints_subnet_id = module.network.endpoints_subnet_id
  blob_zone_id        = module.network.blob_zone_id
  queue_zone_id       = module.network.queue_zone_id
  worker_principal_id = module.identity.worker_principal_id
  broker_principal_id = module.identity.broker_principal_id
  events_principal_id = module.identity.events_principal_id
  operator_ip_ranges  = var.operator_ip_ranges
  gathers_series      = var.series_prefix != ""
  pins_models         = length(var.model_pins) > 0
}

module "events" {
  source              = "./modules/events"
  name                = var.name
  location            = local.location
  resource_group_name = var.resource_group_name
  data_account_id     = module.storage.data_account_id
  ops_account_id      = module.storage.ops_account_id
  events_identity_id  = module.identity.events_identity_id
  series_prefix       = var.series_prefix
  # Event Grid tries its roles when the subscription is made.
  depends_on = [module.storage]
}

module "metrics" {
  count               = var.metrics_workspace_id == "" ? 0 : 1
  source              = "./modules/metrics"
  name                = var.name
  location            = local.location
  resource_group_name = var.resource_group_name
  workspace_id        = var.metrics_workspace_id
  worker_principal_id = module.identity.worker_principal_id
  broker_principal_id = module.identity.broker_principal_id
}

module "broker" {
  source               = "./modules/broker"
  name                 = var.name
  location             = local.location
  resource_group_name  = var.resource_group_name
  shape                = var.shape
  subnet_id            = module.network.brokers_subnet_id
  internal_zone_id     = module.network.internal_zone_id
  identity_id          = module.identity.broker_identity_id
  client_id            = module.identity.broker_client_id
  vault_name           = module.identity.broker_vault_name
  data_account_name    = module.storage.data_account_name
  ops_account_name     = module.storage.ops_account_name
  management_tls       = local.containers
  packages_name        = var.broker_packages_name
  packages_sha256      = var.broker_packages_sha256
  archive_name         = var.worker_archive_name
  archive_sha256       = var.worker_archive_sha256
  precision            = var.precision
  model_pins           = var.model_pins
  admin_ssh_public_key = var.admin_ssh_public_key
  scale_set_id         = local.scale_set_id
  metrics_write_url    = local.metrics_write_url
  series_prefix        = var.series_prefix
  series_model         = var.series_model
}

module "workers" {
  source               = "./modules/workers"
  name                 = var.name
  location             = local.location
  resource_group_name  = var.resource_group_name
  shape                = var.shape
  vm_size              = local.vm_size
  capacity             = local.first_capacity
  spot_enabled         = local.spot
  subnet_id            = module.network.workers_subnet_id
  identity_id          = module.identity.worker_identity_id
  client_id            = module.identity.worker_client_id
  vault_name           = module.identity.worker_vault_name
  data_account_name    = module.storage.data_account_name
  ops_account_name     = module.storage.ops_account_name
  archive_name         = var.worker_archive_name
  archive_sha256       = var.worker_archive_sha256
  precision            = var.precision
  model_pins           = var.model_pins
  admin_ssh_public_key = var.admin_ssh_public_key
  broker_principal_id  = module.identity.broker_principal_id
  metrics_write_url    = local.metrics_write_url
  series_prefix        = var.series_prefix
  series_model         = var.series_model
}

module "container_apps" {
  count               = local.containers ? 1 : 0
  source              = "./modules/container_apps"
  name                = var.name
  location            = local.location
  resource_group_name = var.resource_group_name
  shape               = var.shape
  image_tag           = var.worker_image_tag
  subnet_id           = module.network.containers_subnet_id
  endpoints_subnet_id = module.network.endpoints_subnet_id
  registry_zone_id    = module.network.registry_zone_id
  identity_id         = module.identity.worker_identity_id
  client_id           = module.identity.worker_client_id
  principal_id        = module.identity.worker_principal_id
  broker_identity_id  = module.identity.broker_identity_id
  broker_client_id    = module.identity.broker_client_id
  broker_principal_id = module.identity.broker_principal_id
  vault_name          = module.identity.worker_vault_name
  broker_vault_name   = module.identity.broker_vault_name
  data_account_name   = module.storage.data_account_name
  precision           = var.precision
  model_pins          = var.model_pins
  metrics_write_url   = local.metrics_write_url
  operator_ip_ranges  = var.operator_ip_ranges
}

module "autoscale" {
  source              = "./modules/autoscale"
  name                = "autoscale-${var.name}-workers"
  location            = local.location
  resource_group_name = var.resource_group_name
  target_id           = module.workers.scale_set_id
  metric_resource_id  = module.workers.scale_set_id
  kind                = "regular"
  shape               = var.shape
  on_backlog          = var.autoscale_on_backlog && !local.containers
  fixed_capacity      = local.first_capacity
}

module "autoscale_spot" {
  count               = local.spot ? 1 : 0
  source              = "./modules/autoscale"
  name                = "autoscale-${var.name}-workers-spot"
  location            = local.location
  resource_group_name = var.resource_group_name
  target_id           = module.workers.spot_set_id
  metric_resource_id  = module.workers.scale_set_id
  kind                = "spot"
  shape               = var.shape
  on_backlog          = var.autoscale_on_backlog
  fixed_capacity      = 0
}

module "monitoring" {
  source              = "./modules/monitoring"
  name                = var.name
  location            = local.location
  resource_group_name = var.resource_group_name
  resource_group_id   = data.azurerm_resource_group.this.id
  alert_email         = var.alert_email
  scale_set_id        = module.workers.scale_set_id
  spot_set_ids        = local.spot ? { spot = module.workers.spot_set_id } : {}
  broker_ids          = module.broker.ids
  topic_id            = module.events.topic_id
  log_sources = {
    data-blobs   = "${module.storage.data_account_id}/blobServices/default"
    ops-blobs    = "${module.storage.ops_account_id}/blobServices/default"
    ops-queues   = "${module.storage.ops_account_id}/queueServices/default"
    worker-vault = module.identity.worker_vault_id
    broker-vault = module.identity.broker_vault_id
    autoscale    = module.autoscale.id
    topic        = module.events.topic_id
  }
}
