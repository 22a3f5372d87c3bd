data "azurerm_client_config" "current" {}

locals {
  roles = local.settings.roles
  # Role definitions belong to the subscription, whatever the scope of the assignment.
  role_prefix = "/subscriptions/${data.azurerm_client_config.current.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/"
}

resource "azurerm_role_assignment" "worker_reads_incoming" {
  scope              = azurerm_storage_container.incoming.id
  role_definition_id = "${local.role_prefix}${local.roles.blobReader}"
  principal_id       = var.worker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "worker_reads_models" {
  scope              = azurerm_storage_container.models.id
  role_definition_id = "${local.role_prefix}${local.roles.blobReader}"
  principal_id       = var.worker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "worker_reads_artifacts" {
  scope              = azurerm_storage_container.artifacts.id
  role_definition_id = "${local.role_prefix}${local.roles.blobReader}"
  principal_id       = var.worker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "worker_writes_results" {
  scope              = azurerm_storage_container.results.id
  role_definition_id = "${local.role_prefix}${local.roles.blobContributor}"
  principal_id       = var.worker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "broker_reads_incoming" {
  scope              = azurerm_storage_container.incoming.id
  role_definition_id = "${local.role_prefix}${local.roles.blobReader}"
  principal_id       = var.broker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "broker_reads_models" {
  count              = var.pins_models ? 1 : 0
  scope              = azurerm_storage_container.models.id
  role_definition_id = "${local.role_prefix}${local.roles.blobReader}"
  principal_id       = var.broker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "broker_reads_results" {
  scope              = azurerm_storage_container.results.id
  role_definition_id = "${local.role_prefix}${local.roles.blobReader}"
  principal_id       = var.broker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "broker_reads_artifacts" {
  scope              = azurerm_storage_container.artifacts.id
  role_definition_id = "${local.role_prefix}${local.roles.blobReader}"
  principal_id       = var.broker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "broker_reads_event_dead_letters" {
  scope              = azurerm_storage_container.event_dead_letters.id
  role_definition_id = "${local.role_prefix}${local.roles.blobReader}"
  principal_id       = var.broker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "broker_takes_events" {
  scope              = azurerm_storage_queue.blob_created.id
  role_definition_id = "${local.role_prefix}${local.roles.queueProcessor}"
  principal_id       = var.broker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "broker_puts_poison_aside" {
  scope              = azurerm_storage_queue.poison.id
  role_definition_id = "${local.role_prefix}${local.roles.queueSender}"
  principal_id       = var.broker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "event_grid_sends_events" {
  scope              = azurerm_storage_queue.blob_created.id
  role_definition_id = "${local.role_prefix}${local.roles.queueSender}"
  principal_id       = var.events_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "event_grid_writes_dead_letters" {
  scope              = azurerm_storage_container.event_dead_letters.id
  role_definition_id = "${local.role_prefix}${local.roles.blobContributor}"
  principal_id       = var.events_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "broker_takes_instances" {
  count              = var.gathers_series ? 1 : 0
  scope              = azurerm_storage_queue.instances[0].id
  role_definition_id = "${local.role_prefix}${local.roles.queueProcessor}"
  principal_id       = var.broker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "broker_puts_poison_of_series_aside" {
  count              = var.gathers_series ? 1 : 0
  scope              = azurerm_storage_queue.instances_poison[0].id
  role_definition_id = "${local.role_prefix}${local.roles.queueSender}"
  principal_id       = var.broker_principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "event_grid_sends_instances" {
  count              = var.gathers_series ? 1 : 0
  scope              = azurerm_storage_queue.instances[0].id
  role_definition_id = "${local.role_prefix}${local.roles.queueSender}"
  principal_id       = var.events_principal_id
  principal_type     = "ServicePrincipal"
}

# What is known of each series, and the sets that workers read; no result.
resource "azurerm_role_assignment" "broker_writes_series" {
  count              = var.gathers_series ? 1 : 0
  scope              = azurerm_storage_container.results.id
  role_definition_id = "${local.role_prefix}${local.roles.blobContributor}"
  principal_id       = var.broker_principal_id
  principal_type     = "ServicePrincipal"
  condition          = file("${path.module}/../../../shared/series/writer.condition")
  condition_version  = "2.0"
}
