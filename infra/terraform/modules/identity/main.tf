data "azurerm_client_config" "current" {}


locals {
  settings = jsondecode(file("${path.module}/../../../shared/settings.json"))
  roles    = local.settings.roles
  # Role definitions belong to the subscription, whatever the scope of the assignment.
  role_prefix = "/subscriptions/${data.azurerm_client_config.current.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/"
}

resource "azurerm_user_assigned_identity" "worker" {
  name                = "id-${var.name}-worker"
  location            = var.location
  resource_group_name = var.resource_group_name
}

resource "azurerm_user_assigned_identity" "broker" {
  name                = "id-${var.name}-broker"
  location            = var.location
  resource_group_name = var.resource_group_name
}

resource "azurerm_user_assigned_identity" "events" {
  name                = "id-${var.name}-events"
  location            = var.location
  resource_group_name = var.resource_group_name
}

# Two vaults, so that a worker can read only the secrets that a worker needs.
resource "azurerm_key_vault" "worker" {
  name                          = "kv-${var.name}-worker"
  location                      = var.location
  resource_group_name           = var.resource_group_name
  tenant_id                     = data.azurerm_client_config.current.tenant_id
  sku_name                      = "standard"
  rbac_authorization_enabled    = true
  soft_delete_retention_days    = 90
  purge_protection_enabled      = true
  public_network_access_enabled = length(var.operator_ip_ranges) > 0

  network_acls {
    bypass         = "None"
    default_action = "Deny"
    ip_rules       = var.operator_ip_ranges
  }
}

resource "azurerm_key_vault" "broker" {
  name                          = "kv-${var.name}-broker"
  location                      = var.location
  resource_group_name           = var.resource_group_name
  tenant_id                     = data.azurerm_client_config.current.tenant_id
  sku_name                      = "standard"
  rbac_authorization_enabled    = true
  soft_delete_retention_days    = 90
  purge_protection_enabled      = true
  public_network_access_enabled = length(var.operator_ip_ranges) > 0

  network_acls {
    bypass         = "None"
    default_action = "Deny"
    ip_rules       = var.operator_ip_ranges
  }
}

resource "azurerm_role_assignment" "worker_reads_worker_vault" {
  scope              = azurerm_key_vault.worker.id
  role_definition_id = "${local.role_prefix}${local.roles.vaultSecretsUser}"
  principal_id       = azurerm_user_assigned_identity.worker.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "broker_reads_broker_vault" {
  scope              = azurerm_key_vault.broker.id
  role_definition_id = "${local.role_prefix}${local.roles.vaultSecretsUser}"
  principal_id       = azurerm_user_assigned_identity.broker.principal_id
  principal_type     = "ServicePrincipal"
}

module "worker_vault_endpoint" {
  source              = "../private_endpoint"
  name                = "pe-${var.name}-worker-vault"
  location            = var.location
  resource_group_name = var.resource_group_name
  endpoints_subnet_id = var.endpoints_subnet_id
  target_resource_id  = azurerm_key_vault.worker.id
  group_id            = "vault"
  zone_id             = var.vault_zone_id
}

module "broker_vault_endpoint" {
  source              = "../private_endpoint"
  name                = "pe-${var.name}-broker-vault"
  location            = var.location
  resource_group_name = var.resource_group_name
  endpoints_subnet_id = var.endpoints_subnet_id
  target_resource_id  = azurerm_key_vault.broker.id
  group_id            = "vault"
  zone_id             = var.vault_zone_id
}
