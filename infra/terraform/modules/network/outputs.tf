# Through the associations, so that no machine starts in a subnet that has no security group yet.
output "workers_subnet_id" {
  description = "Subnet of the scale sets."
  value       = azurerm_subnet_network_security_group_association.this["workers"].subnet_id
}

output "brokers_subnet_id" {
  description = "Subnet of the brokers."
  value       = azurerm_subnet_network_security_group_association.this["brokers"].subnet_id
}

output "endpoints_subnet_id" {
  description = "Subnet of the private endpoints."
  value       = azurerm_subnet_network_security_group_association.this["endpoints"].subnet_id
}

output "blob_zone_id" {
  description = "Private DNS zone of Blob storage."
  value       = azurerm_private_dns_zone.this["blob"].id
}

output "queue_zone_id" {
  description = "Private DNS zone of Queue storage."
  value       = azurerm_private_dns_zone.this["queue"].id
}

output "vault_zone_id" {
  description = "Private DNS zone of Key Vault."
  value       = azurerm_private_dns_zone.this["vault"].id
}

output "internal_zone_id" {
  description = "Private DNS zone of the broker names."
  value       = azurerm_private_dns_zone.this["internal"].id
}

output "containers_subnet_id" {
  description = "Subnet of the environment of containers."
  value       = azurerm_subnet.this["containers"].id
}

output "registry_zone_id" {
  description = "Private DNS zone of the container registry."
  value       = azurerm_private_dns_zone.this["registry"].id
}
