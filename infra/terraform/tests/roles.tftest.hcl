# Workers read inputs and write results only; nobody has a role on a whole account.
mock_provider "azurerm" {
  mock_data "azurerm_client_config" {
    defaults = {
      subscription_id = "00000000-0000-0000-0000-000000000001"
    }
  }
  override_resource {
    target = azurerm_storage_account.data
    values = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetdata"
    }
  }
  override_resource {
    target = azurerm_storage_account.ops
    values = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops"
    }
  }
  override_resource {
    target = azurerm_storage_container.incoming
    values = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetdata/blobServices/default/containers/incoming"
    }
  }
  override_resource {
    target = azurerm_storage_container.results
    values = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetdata/blobServices/default/containers/results"
    }
  }
  override_resource {
    target = azurerm_storage_container.models
    values = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetdata/blobServices/default/containers/models"
    }
  }
  override_resource {
    target = azurerm_storage_container.artifacts
    values = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops/blobServices/default/containers/artifacts"
    }
  }
  override_resource {
    target = azurerm_storage_container.event_dead_letters
    values = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops/blobServices/default/containers/event-dead-letters"
    }
  }
  override_resource {
    target = azurerm_storage_queue.blob_created
    values = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops/queueServices/default/queues/blob-created"
    }
  }
  override_resource {
    target = azurerm_storage_queue.poison
    values = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops/queueServices/default/queues/blob-created-poison"
    }
  }
  override_resource {
    target = azurerm_storage_queue.instances[0]
    values = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops/queueServices/default/queues/instance-created"
    }
  }
  override_resource {
    target = azurerm_storage_queue.instances_poison[0]
    values = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Storage/storageAccounts/testfleetops/queueServices/default/queues/instance-created-poison"
    }
  }
}

variables {
  name                = "testfleet"
  location            = "westeurope"
  resource_group_name = "rg-test"
  shape               = "prod"
  endpoints_subnet_id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/virtualNetworks/vnet-testfleet/subnets/endpoints"
  blob_zone_id        = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/privateDnsZones/privatelink.blob.core.windows.net"
  queue_zone_id       = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/privateDnsZones/privatelink.queue.core.windows.net"
  worker_principal_id = "00000000-0000-0000-0000-000000000013"
  broker_principal_id = "00000000-0000-0000-0000-000000000014"
  events_principal_id = "00000000-0000-0000-0000-000000000015"
  operator_ip_ranges  = []
  gathers_series      = true
  pins_models         = true
}

run "scopes" {
  command = apply
  module {
    source = "./modules/storage"
  }

  assert {
    condition     = endswith(azurerm_role_assignment.worker_writes_results.role_definition_id, "ba92f5b4-2d11-453d-a403-e96b0029c9fe") && endswith(azurerm_role_assignment.worker_writes_results.scope, "/containers/results")
    error_message = "workers write results"
  }
  assert {
    condition = alltrue([for r in [azurerm_role_assignment.worker_reads_incoming, azurerm_role_assignment.worker_reads_models, azurerm_role_assignment.worker_reads_artifacts] :
      endswith(r.role_definition_id, "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1") && r.principal_id == var.worker_principal_id && length(regexall("/containers/(incoming|models|artifacts)$", r.scope)) == 1
    ])
    error_message = "workers read inputs, models and artifacts"
  }
  assert {
    condition     = endswith(azurerm_role_assignment.event_grid_sends_events.scope, "/queues/blob-created") && azurerm_role_assignment.event_grid_sends_events.principal_id == var.events_principal_id
    error_message = "Event Grid sends to its queue"
  }
  assert {
    condition     = endswith(azurerm_role_assignment.broker_takes_instances[0].scope, "/queues/instance-created") && endswith(azurerm_role_assignment.broker_puts_poison_of_series_aside[0].scope, "/queues/instance-created-poison") && endswith(azurerm_role_assignment.event_grid_sends_instances[0].scope, "/queues/instance-created")
    error_message = "files of series have a queue of their own"
  }
  assert {
    condition     = strcontains(azurerm_role_assignment.broker_writes_series[0].condition, "StringLike '_series/*'") && azurerm_role_assignment.broker_writes_series[0].condition_version == "2.0"
    error_message = "brokers write what is known of series, and no result"
  }
  assert {
    condition     = azurerm_storage_account.data.shared_access_key_enabled == false && azurerm_storage_account.ops.shared_access_key_enabled == false
    error_message = "keys are off"
  }
  assert {
    condition     = azurerm_storage_account.data.public_network_access_enabled == false && azurerm_storage_account.ops.network_rules[0].default_action == "Deny"
    error_message = "patient data is behind private endpoints, and the rest denies by default"
  }
  assert {
    condition     = length(azurerm_management_lock.data) == 1
    error_message = "patient data is locked in prod"
  }
}
