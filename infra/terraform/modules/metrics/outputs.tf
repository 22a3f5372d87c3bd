output "write_url" {
  description = "Where metrics are written to."
  value       = "${azurerm_monitor_data_collection_endpoint.this.metrics_ingestion_endpoint}/dataCollectionRules/${azurerm_monitor_data_collection_rule.this.immutable_id}/streams/${local.stream}/api/v1/write?api-version=${local.settings.metrics.remoteWrite.apiVersion}"
}
