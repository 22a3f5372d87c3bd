# Where workers and brokers write their metrics by Prometheus remote write: an endpoint and a rule before an Azure Monitor workspace.
data "azurerm_client_config" "current" {}

locals {
  settings = jsondecode(file("${path.module}/../../../shared/settings.json"))
  stream   = local.settings.metrics.remoteWrite.stream
  # Role definitions belong to the subscription, whatever the scope of the assignment.
  role_prefix = "/subscriptions/${data.azurerm_client_config.current.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/"
}

resource "azurerm_monitor_data_collection_endpoint" "this" {
  name                          = "dce-${var.name}-metrics"
  location                      = var.location
  resource_group_name           = var.resource_group_name
  kind                          = "Linux"
  public_network_access_enabled = true
}

resource "azurerm_monitor_data_collection_rule" "this" {
  name                        = "dcr-${var.name}-metrics"
  location                    = var.location
  resource_group_name         = var.resource_group_name
  kind                        = "Linux"
  data_collection_endpoint_id = azurerm_monitor_data_collection_endpoint.this.id

  data_sources {
    prometheus_forwarder {
      name    = "prometheus"
      streams = [local.stream]
    }
  }

  destinations {
    monitor_account {
      name               = "workspace"
      monitor_account_id = var.workspace_id
    }
  }

  data_flow {
    streams      = [local.stream]
    destinations = ["workspace"]
  }
}

resource "azurerm_role_assignment" "write" {
  for_each           = { worker = var.worker_principal_id, broker = var.broker_principal_id }
  scope              = azurerm_monitor_data_collection_rule.this.id
  role_definition_id = "${local.role_prefix}${local.settings.roles.metricsPublisher}"
  principal_id       = each.value
  principal_type     = "ServicePrincipal"
}
