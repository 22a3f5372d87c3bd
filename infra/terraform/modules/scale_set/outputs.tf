output "id" {
  description = "Resource id of the scale set."
  value       = azurerm_linux_virtual_machine_scale_set.this.id
}

output "name" {
  description = "Name of the scale set."
  value       = azurerm_linux_virtual_machine_scale_set.this.name
}
