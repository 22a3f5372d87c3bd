output "worker_identity_id" {
  description = "Resource id of the workers' identity."
  value       = azurerm_user_assigned_identity.worker.id
}

output "worker_client_id" {
  description = "Client id of the workers' identity."
  value       = azurerm_user_assigned_identity.worker.client_id
}

output "worker_principal_id" {
  description = "Principal id of the workers' identity."
  value       = azurerm_user_assigned_identity.worker.principal_id
}

output "broker_identity_id" {
  description = "Resource id of the brokers' identity."
  value       = azurerm_user_assigned_identity.broker.id
}

output "broker_client_id" {
  description = "Client id of the brokers' identity."
  value       = azurerm_user_assigned_identity.broker.client_id
}

output "broker_principal_id" {
  description = "Principal id of the brokers' identity."
  value       = azurerm_user_assigned_identity.broker.principal_id
}

output "events_identity_id" {
  description = "Resource id of the identity with which Event Grid delivers."
  value       = azurerm_user_assigned_identity.events.id
}

output "events_principal_id" {
  description = "Principal id of the identity with which Event Grid delivers."
  value       = azurerm_user_assigned_identity.events.principal_id
}

output "worker_vault_id" {
  description = "Resource id of the vault that workers read."
  value       = azurerm_key_vault.worker.id
}

output "broker_vault_id" {
  description = "Resource id of the vault that brokers read."
  value       = azurerm_key_vault.broker.id
}

output "worker_vault_name" {
  description = "Vault that workers read."
  value       = azurerm_key_vault.worker.name
}

output "broker_vault_name" {
  description = "Vault that brokers read."
  value       = azurerm_key_vault.broker.name
}
