locals {
  settings   = jsondecode(file("${path.module}/../../../shared/settings.json"))
  containers = local.settings.names.containers
  retention  = local.settings.retention
  shape      = local.settings.shapes[var.shape]
}

resource "azurerm_storage_account" "data" {
  # checkov:skip=CKV_AZURE_36: no Azure service may go past the rules of the account that holds patient data
  # checkov:skip=CKV_AZURE_206: zone-redundant on purpose; patient data stays in its region
  name                              = "${var.name}data"
  location                          = var.location
  resource_group_name               = var.resource_group_name
  account_kind                      = "StorageV2"
  account_tier                      = "Standard"
  account_replication_type          = local.shape.storageReplication
  access_tier                       = "Hot"
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  shared_access_key_enabled         = false
  default_to_oauth_authentication   = true
  is_hns_enabled                    = false
  local_user_enabled                = false
  min_tls_version                   = "TLS1_2"
  public_network_access_enabled     = false
  https_traffic_only_enabled        = true
  infrastructure_encryption_enabled = true

  network_rules {
    default_action = "Deny"
    bypass         = ["None"]
  }

  blob_properties {
    delete_retention_policy {
      days = local.retention.softDeleteDays
    }
    container_delete_retention_policy {
      days = local.retention.softDeleteDays
    }
  }
}

resource "azurerm_storage_container" "incoming" {
  name                  = local.containers.incoming
  storage_account_id    = azurerm_storage_account.data.id
  container_access_type = "private"
}

resource "azurerm_storage_container" "results" {
  name                  = local.containers.results
  storage_account_id    = azurerm_storage_account.data.id
  container_access_type = "private"
}

resource "azurerm_storage_container" "models" {
  name                  = local.containers.models
  storage_account_id    = azurerm_storage_account.data.id
  container_access_type = "private"
}

# Inputs are moved to a cheaper tier and never deleted: how long a study is kept is not for this configuration to decide.
resource "azurerm_storage_management_policy" "data" {
  storage_account_id = azurerm_storage_account.data.id

  rule {
    name    = "cool-read-inputs"
    enabled = true
    filters {
      blob_types   = ["blockBlob"]
      prefix_match = ["${local.containers.incoming}/"]
    }
    actions {
      base_blob {
        tier_to_cool_after_days_since_modification_greater_than = local.retention.incomingCoolAfterDays
      }
    }
  }
}

resource "azurerm_management_lock" "data" {
  count      = local.shape.lockData ? 1 : 0
  name       = "keep-patient-data"
  scope      = azurerm_storage_account.data.id
  lock_level = "CanNotDelete"
  notes      = "Holds patient data: remove this lock on purpose before deleting the account."
}

# Event Grid cannot reach a private endpoint: it comes in as a trusted service, so public access stays on with everything else denied.
resource "azurerm_storage_account" "ops" {
  # checkov:skip=CKV_AZURE_59: Event Grid delivers as a trusted service, which needs public access on and everything else denied
  # checkov:skip=CKV_AZURE_206: zone-redundant on purpose; events name patient data and stay in the region
  name                              = "${var.name}ops"
  location                          = var.location
  resource_group_name               = var.resource_group_name
  account_kind                      = "StorageV2"
  account_tier                      = "Standard"
  account_replication_type          = local.shape.storageReplication
  access_tier                       = "Hot"
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  shared_access_key_enabled         = false
  default_to_oauth_authentication   = true
  is_hns_enabled                    = false
  local_user_enabled                = false
  min_tls_version                   = "TLS1_2"
  public_network_access_enabled     = true
  https_traffic_only_enabled        = true
  infrastructure_encryption_enabled = true
  queue_encryption_key_type         = "Account"

  network_rules {
    default_action = "Deny"
    bypass         = ["AzureServices"]
    ip_rules       = var.operator_ip_ranges
  }

  blob_properties {
    delete_retention_policy {
      days = local.retention.softDeleteDays
    }
    container_delete_retention_policy {
      days = local.retention.softDeleteDays
    }
  }
}

resource "azurerm_storage_container" "artifacts" {
  name                  = local.containers.artifacts
  storage_account_id    = azurerm_storage_account.ops.id
  container_access_type = "private"
}

resource "azurerm_storage_container" "event_dead_letters" {
  name                  = local.containers.eventDeadLetters
  storage_account_id    = azurerm_storage_account.ops.id
  container_access_type = "private"
}

resource "azurerm_storage_queue" "blob_created" {
  name               = local.settings.names.storageQueue
  storage_account_id = azurerm_storage_account.ops.id
}

# What the relay cannot read is put aside here.
resource "azurerm_storage_queue" "poison" {
  name               = local.settings.names.storagePoisonQueue
  storage_account_id = azurerm_storage_account.ops.id
}

# Files of CT series, one by one; they are gathered before any worker hears of them.
resource "azurerm_storage_queue" "instances" {
  count              = var.gathers_series ? 1 : 0
  name               = local.settings.names.instancesQueue
  storage_account_id = azurerm_storage_account.ops.id
}

resource "azurerm_storage_queue" "instances_poison" {
  count              = var.gathers_series ? 1 : 0
  name               = local.settings.names.instancesPoisonQueue
  storage_account_id = azurerm_storage_account.ops.id
}

resource "azurerm_storage_management_policy" "ops" {
  storage_account_id = azurerm_storage_account.ops.id

  rule {
    name    = "drop-old-event-dead-letters"
    enabled = true
    filters {
      blob_types   = ["blockBlob"]
      prefix_match = ["${local.containers.eventDeadLetters}/"]
    }
    actions {
      base_blob {
        delete_after_days_since_modification_greater_than = local.retention.eventDeadLetterDays
      }
    }
  }
}

module "data_endpoint" {
  source              = "../private_endpoint"
  name                = "pe-${var.name}-data-blob"
  location            = var.location
  resource_group_name = var.resource_group_name
  endpoints_subnet_id = var.endpoints_subnet_id
  target_resource_id  = azurerm_storage_account.data.id
  group_id            = "blob"
  zone_id             = var.blob_zone_id
}

module "ops_blob_endpoint" {
  source              = "../private_endpoint"
  name                = "pe-${var.name}-ops-blob"
  location            = var.location
  resource_group_name = var.resource_group_name
  endpoints_subnet_id = var.endpoints_subnet_id
  target_resource_id  = azurerm_storage_account.ops.id
  group_id            = "blob"
  zone_id             = var.blob_zone_id
}

module "ops_queue_endpoint" {
  source              = "../private_endpoint"
  name                = "pe-${var.name}-ops-queue"
  location            = var.location
  resource_group_name = var.resource_group_name
  endpoints_subnet_id = var.endpoints_subnet_id
  target_resource_id  = azurerm_storage_account.ops.id
  group_id            = "queue"
  zone_id             = var.queue_zone_id
}
