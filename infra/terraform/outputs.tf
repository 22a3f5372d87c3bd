output "data_account" {
  description = "Account of the patient data."
  value       = module.storage.data_account_name
}

output "ops_account" {
  description = "Account of the artifacts and the event queue."
  value       = module.storage.ops_account_name
}

output "worker_vault" {
  description = "Vault to seed with the secrets of the workers."
  value       = module.identity.worker_vault_name
}

output "broker_vault" {
  description = "Vault to seed with the secrets of the brokers."
  value       = module.identity.broker_vault_name
}

output "scale_set" {
  description = "Regular scale set."
  value       = module.workers.scale_set_name
}
