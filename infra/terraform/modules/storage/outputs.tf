output "data_account_id" {
  description = "Resource id of the account of the patient data."
  value       = azurerm_storage_account.data.id
}

output "data_account_name" {
  description = "Account of the patient data."
  value       = azurerm_storage_account.data.name
}

output "ops_account_id" {
  description = "Resource id of the account of the event queue and the artifacts."
  value       = azurerm_storage_account.ops.id
}

output "ops_account_name" {
  description = "Account of the event queue and the artifacts."
  value       = azurerm_storage_account.ops.name
}
