output "topic_id" {
  description = "Resource id of the system topic."
  value       = azurerm_eventgrid_system_topic.this.id
}
