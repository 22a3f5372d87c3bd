output "id" {
  description = "Resource id of the autoscale setting."
  value       = azurerm_monitor_autoscale_setting.this.id
}
