# What Azure would answer. Identifiers are well-formed and tell the resources apart, so that scopes and principals can be compared.

mock_data "azurerm_resource_group" {
  defaults = {
    id       = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test"
    location = "westeurope"
  }
}

mock_data "azurerm_client_config" {
  defaults = {
    subscription_id = "00000000-0000-0000-0000-000000000001"
    tenant_id       = "00000000-0000-0000-0000-000000000002"
  }
}

mock_resource "azurerm_network_security_group" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/networkSecurityGroups/mock"
  }
}

mock_resource "azurerm_public_ip" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/publicIPAddresses/mock"
  }
}

mock_resource "azurerm_nat_gateway" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/natGateways/mock"
  }
}

mock_resource "azurerm_virtual_network" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/virtualNetworks/mock"
  }
}

mock_resource "azurerm_network_interface" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/networkInterfaces/mock"
  }
}

mock_resource "azurerm_linux_virtual_machine" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Compute/virtualMachines/mock"
  }
}

mock_resource "azurerm_managed_disk" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Compute/disks/mock"
  }
}

mock_resource "azurerm_monitor_autoscale_setting" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Insights/autoScaleSettings/mock"
  }
}

mock_resource "azurerm_log_analytics_workspace" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.OperationalInsights/workspaces/mock"
  }
}

mock_resource "azurerm_monitor_data_collection_rule" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Insights/dataCollectionRules/mock"
  }
}

mock_resource "azurerm_monitor_action_group" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Insights/actionGroups/mock"
  }
}

mock_resource "azurerm_eventgrid_system_topic" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.EventGrid/systemTopics/mock"
  }
}

override_resource {
  target = module.identity.azurerm_user_assigned_identity.worker
  values = {
    id           = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-testfleet-worker"
    principal_id = "00000000-0000-0000-0000-000000000013"
    client_id    = "00000000-0000-0000-0000-000000000023"
  }
}

override_resource {
  target = module.identity.azurerm_user_assigned_identity.broker
  values = {
    id           = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-testfleet-broker"
    principal_id = "00000000-0000-0000-0000-000000000014"
    client_id    = "00000000-0000-0000-0000-000000000024"
  }
}

override_resource {
  target = module.identity.azurerm_user_assigned_identity.events
  values = {
    id           = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-testfleet-events"
    principal_id = "00000000-0000-0000-0000-000000000015"
    client_id    = "00000000-0000-0000-0000-000000000025"
  }
}

override_resource {
  target = module.identity.azurerm_key_vault.worker
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.KeyVault/vaults/kv-testfleet-worker"
  }
}

override_resource {
  target = module.identity.azurerm_key_vault.broker
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.KeyVault/vaults/kv-testfleet-broker"
  }
}

override_resource {
  target = module.storage.azurerm_storage_account.data
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetdata"
  }
}

override_resource {
  target = module.storage.azurerm_storage_account.ops
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops"
  }
}

override_resource {
  target = module.storage.azurerm_storage_container.incoming
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetdata/blobServices/default/containers/incoming"
  }
}

override_resource {
  target = module.storage.azurerm_storage_container.results
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetdata/blobServices/default/containers/results"
  }
}

override_resource {
  target = module.storage.azurerm_storage_container.models
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetdata/blobServices/default/containers/models"
  }
}

override_resource {
  target = module.storage.azurerm_storage_container.artifacts
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops/blobServices/default/containers/artifacts"
  }
}

override_resource {
  target = module.storage.azurerm_storage_container.event_dead_letters
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops/blobServices/default/containers/event-dead-letters"
  }
}

override_resource {
  target = module.storage.azurerm_storage_queue.blob_created
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops/queueServices/default/queues/blob-created"
  }
}
override_resource {
  target = module.storage.azurerm_storage_queue.poison
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops/queueServices/default/queues/blob-created-poison"
  }
}

override_resource {
  target = module.storage.azurerm_storage_queue.instances[0]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops/queueServices/default/queues/instance-created"
  }
}
override_resource {
  target = module.storage.azurerm_storage_queue.instances_poison[0]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops/queueServices/default/queues/instance-created-poison"
  }
}

override_resource {
  target = module.network.azurerm_subnet.this["workers"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/virtualNetworks/vnet-testfleet/subnets/workers"
  }
}

override_resource {
  target = module.network.azurerm_subnet.this["brokers"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/virtualNetworks/vnet-testfleet/subnets/brokers"
  }
}

override_resource {
  target = module.network.azurerm_subnet.this["endpoints"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/virtualNetworks/vnet-testfleet/subnets/endpoints"
  }
}

override_resource {
  target = module.network.azurerm_private_dns_zone.this["blob"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/privateDnsZones/privatelink.blob.core.windows.net"
  }
}

override_resource {
  target = module.network.azurerm_private_dns_zone.this["queue"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/privateDnsZones/privatelink.queue.core.windows.net"
  }
}

override_resource {
  target = module.network.azurerm_private_dns_zone.this["vault"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/privateDnsZones/privatelink.vaultcore.azure.net"
  }
}

override_resource {
  target = module.network.azurerm_private_dns_zone.this["internal"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/privateDnsZones/nightread.internal"
  }
}

override_resource {
  target = module.workers.module.regular.azurerm_linux_virtual_machine_scale_set.this
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Compute/virtualMachineScaleSets/vmss-testfleet-workers"
  }
}

override_resource {
  target = module.workers.module.spot[0].azurerm_linux_virtual_machine_scale_set.this
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Compute/virtualMachineScaleSets/vmss-testfleet-workers-spot"
  }
}

override_resource {
  target = module.network.azurerm_network_security_group.this["workers"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/networkSecurityGroups/nsg-testfleet-workers"
  }
}

override_resource {
  target = module.network.azurerm_network_security_group.this["brokers"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/networkSecurityGroups/nsg-testfleet-brokers"
  }
}

override_resource {
  target = module.network.azurerm_network_security_group.this["endpoints"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/networkSecurityGroups/nsg-testfleet-endpoints"
  }
}

override_resource {
  target = module.broker.azurerm_network_interface.this["0"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/networkInterfaces/nic-testfleet-broker-0"
  }
}

override_resource {
  target = module.broker.azurerm_linux_virtual_machine.this["0"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Compute/virtualMachines/vm-testfleet-broker-0"
  }
}

override_resource {
  target = module.broker.azurerm_managed_disk.this["0"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Compute/disks/disk-testfleet-broker-0"
  }
}

override_resource {
  target = module.broker.azurerm_network_interface.this["1"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/networkInterfaces/nic-testfleet-broker-1"
  }
}

override_resource {
  target = module.broker.azurerm_linux_virtual_machine.this["1"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Compute/virtualMachines/vm-testfleet-broker-1"
  }
}

override_resource {
  target = module.broker.azurerm_managed_disk.this["1"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Compute/disks/disk-testfleet-broker-1"
  }
}

override_resource {
  target = module.broker.azurerm_network_interface.this["2"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/networkInterfaces/nic-testfleet-broker-2"
  }
}

override_resource {
  target = module.broker.azurerm_linux_virtual_machine.this["2"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Compute/virtualMachines/vm-testfleet-broker-2"
  }
}

override_resource {
  target = module.broker.azurerm_managed_disk.this["2"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Compute/disks/disk-testfleet-broker-2"
  }
}

override_resource {
  target = module.autoscale.azurerm_monitor_autoscale_setting.this
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Insights/autoscalesettings/autoscale-testfleet-workers"
  }
}

override_resource {
  target = module.events.azurerm_eventgrid_system_topic.this
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.EventGrid/systemTopics/evgt-testfleet"
  }
}

override_resource {
  target = module.monitoring.azurerm_log_analytics_workspace.this
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.OperationalInsights/workspaces/log-testfleet"
  }
}

override_resource {
  target = module.monitoring.azurerm_monitor_action_group.this
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Insights/actionGroups/ag-testfleet"
  }
}

override_resource {
  target = module.monitoring.azurerm_monitor_data_collection_rule.this
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Insights/dataCollectionRules/dcr-testfleet"
  }
}

override_resource {
  target = module.network.azurerm_subnet.this["containers"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/virtualNetworks/vnet-testfleet/subnets/containers"
  }
}

override_resource {
  target = module.network.azurerm_private_dns_zone.this["registry"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/privateDnsZones/privatelink.azurecr.io"
  }
}

override_resource {
  target = module.network.azurerm_network_security_group.this["containers"]
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/networkSecurityGroups/nsg-testfleet-containers"
  }
}

override_resource {
  target = module.container_apps[0].azurerm_container_registry.this
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.ContainerRegistry/registries/crtestfleet"
  }
}

override_resource {
  target = module.container_apps[0].azurerm_container_app_environment.this
  values = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.App/managedEnvironments/cae-testfleet"
  }
}

mock_resource "azurerm_monitor_data_collection_endpoint" {
  defaults = {
    id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Insights/dataCollectionEndpoints/mock"
  }
}

override_resource {
  target = module.metrics[0].azurerm_monitor_data_collection_endpoint.this
  values = {
    id                         = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Insights/dataCollectionEndpoints/dce-testfleet-metrics"
    metrics_ingestion_endpoint = "https://dce-testfleet-metrics.westeurope-1.metrics.ingest.monitor.azure.com"
  }
}

override_resource {
  target = module.metrics[0].azurerm_monitor_data_collection_rule.this
  values = {
    id           = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Insights/dataCollectionRules/dcr-testfleet-metrics"
    immutable_id = "dcr-00000000000000000000000000000001"
  }
}
