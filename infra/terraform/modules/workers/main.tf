data "azurerm_client_config" "current" {}

locals {
  settings = jsondecode(file("${path.module}/../../../shared/settings.json"))
  shared   = "${path.module}/../../../shared"
  net      = local.settings.network
  # Role definitions belong to the subscription, whatever the scope of the assignment.
  role_prefix = "/subscriptions/${data.azurerm_client_config.current.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/"

  route = replace(replace(replace(file("${local.shared}/series/route.toml"), "@@INCOMING@@", local.settings.names.containers.incoming), "@@SERIES_PREFIX@@", var.series_prefix), "@@SERIES_MODEL@@", var.series_model)

  template    = file("${local.shared}/cloud-init/worker.yaml")
  r01         = replace(local.template, "@@AZURE_FETCH_B64@@", base64encode(file("${local.shared}/scripts/azure-fetch")))
  r02         = replace(local.r01, "@@SETUP_B64@@", base64encode(file("${local.shared}/scripts/setup-worker")))
  r03         = replace(local.r02, "@@IDENTITY_CLIENT_ID@@", var.client_id)
  r04         = replace(local.r03, "@@VAULT@@", var.vault_name)
  r05         = replace(local.r04, "@@DATA_ACCOUNT@@", var.data_account_name)
  r06         = replace(local.r05, "@@OPS_ACCOUNT@@", var.ops_account_name)
  r07         = replace(local.r06, "@@ARTIFACTS@@", local.settings.names.containers.artifacts)
  r08         = replace(local.r07, "@@ARCHIVE_NAME@@", var.archive_name)
  r09         = replace(local.r08, "@@ARCHIVE_SHA256@@", var.archive_sha256)
  r10         = replace(local.r09, "@@PRECISION@@", var.precision)
  r11         = replace(local.r10, "@@BROKER_HOST@@", "${local.net.brokerHost}.${local.net.internalZone}")
  r12         = replace(local.r11, "@@AMQPS_PORT@@", tostring(local.settings.ports.amqps))
  r13         = replace(local.r12, "@@HEALTH_PORT@@", tostring(local.settings.ports.health))
  r14         = replace(local.r13, "@@DRAIN_SECONDS@@", tostring(local.settings.drain.deadlineSeconds))
  r15         = replace(local.r14, "@@BROKER_USER@@", local.settings.names.brokerUsers.worker)
  r16         = replace(local.r15, "@@SECRET_PASSWORD@@", local.settings.names.secrets.workerPassword)
  r17         = replace(local.r16, "@@SECRET_CA@@", local.settings.names.secrets.brokerCa)
  r18         = replace(local.r17, "@@SPOOL_DIR@@", local.settings.spool.folder)
  r19         = replace(local.r18, "@@METRICS_AUDIENCE@@", local.settings.metrics.remoteWrite.audience)
  r20         = replace(local.r19, "@@CONSUMER_TIMEOUT_SECONDS@@", tostring(local.settings.broker.consumerTimeoutSeconds))
  r21         = replace(local.r20, "@@VOLUMES_CONSUMER_TIMEOUT_SECONDS@@", tostring(local.settings.broker.volumesConsumerTimeoutSeconds))
  r22         = replace(local.r21, "@@SERIES_ROUTE_B64@@", var.series_prefix == "" ? "" : base64encode(local.route))
  r23         = replace(local.r22, "@@MODELS_REGISTRY@@", length(var.model_pins) == 0 ? "" : local.settings.names.containers.models)
  r24         = replace(local.r23, "@@MODEL_PINS@@", join(",", var.model_pins))
  custom_data = replace(local.r24, "@@METRICS_WRITE_URL@@", var.metrics_write_url)
}

module "regular" {
  source               = "../scale_set"
  name                 = "vmss-${var.name}-workers"
  location             = var.location
  resource_group_name  = var.resource_group_name
  zones                = local.settings.shapes[var.shape].workerZones
  vm_size              = var.vm_size
  capacity             = var.capacity
  spot                 = false
  subnet_id            = var.subnet_id
  identity_id          = var.identity_id
  custom_data          = local.custom_data
  admin_ssh_public_key = var.admin_ssh_public_key
}

module "spot" {
  count                = var.spot_enabled ? 1 : 0
  source               = "../scale_set"
  name                 = "vmss-${var.name}-workers-spot"
  location             = var.location
  resource_group_name  = var.resource_group_name
  zones                = local.settings.shapes[var.shape].workerZones
  vm_size              = var.vm_size
  capacity             = 0
  spot                 = true
  subnet_id            = var.subnet_id
  identity_id          = var.identity_id
  custom_data          = local.custom_data
  admin_ssh_public_key = var.admin_ssh_public_key
}

resource "azurerm_role_assignment" "broker_publishes_backlog" {
  scope              = module.regular.id
  role_definition_id = "${local.role_prefix}${local.settings.roles.metricsPublisher}"
  principal_id       = var.broker_principal_id
  principal_type     = "ServicePrincipal"
}
