locals {
  settings = jsondecode(file("${path.module}/../../../shared/settings.json"))
  alerts   = local.settings.alerts
  queue_alerts = {
    dead-letters        = { rule = local.alerts.deadLetters, aggregation = "Maximum", operator = "GreaterThan", text = "Jobs could not be read and were put aside: nightread dead list." }
    oldest-job-age      = { rule = local.alerts.oldestJobAge, aggregation = "Maximum", operator = "GreaterThan", text = "A job has waited long: the fleet does not keep up, or workers do not start." }
    storage-queue-depth = { rule = local.alerts.storageQueueDepth, aggregation = "Maximum", operator = "GreaterThan", text = "Announcements pile up before the broker: the relay does not run." }
    broker-certificate  = { rule = local.alerts.brokerCertificate, aggregation = "Minimum", operator = "LessThan", text = "The certificate of the brokers ends soon: infra/scripts/rotate tls." }
  }
}

resource "azurerm_log_analytics_workspace" "this" {
  name                         = "log-${var.name}"
  location                     = var.location
  resource_group_name          = var.resource_group_name
  sku                          = "PerGB2018"
  retention_in_days            = local.settings.retention.logDays
  local_authentication_enabled = false
}

resource "azurerm_monitor_data_collection_rule" "this" {
  name                = "dcr-${var.name}"
  location            = var.location
  resource_group_name = var.resource_group_name
  kind                = "Linux"

  data_sources {
    syslog {
      name           = "services"
      streams        = ["Microsoft-Syslog"]
      facility_names = ["daemon"]
      log_levels     = ["Info", "Notice", "Warning", "Error", "Critical", "Alert", "Emergency"]
    }
  }

  destinations {
    log_analytics {
      name                  = "workspace"
      workspace_resource_id = azurerm_log_analytics_workspace.this.id
    }
  }

  data_flow {
    streams      = ["Microsoft-Syslog"]
    destinations = ["workspace"]
  }
}

resource "azurerm_monitor_data_collection_rule_association" "workers" {
  for_each                = merge({ regular = var.scale_set_id }, var.spot_set_ids)
  name                    = "services"
  target_resource_id      = each.value
  data_collection_rule_id = azurerm_monitor_data_collection_rule.this.id
}

resource "azurerm_monitor_data_collection_rule_association" "brokers" {
  for_each                = var.broker_ids
  name                    = "services"
  target_resource_id      = each.value
  data_collection_rule_id = azurerm_monitor_data_collection_rule.this.id
}

resource "azurerm_monitor_diagnostic_setting" "this" {
  for_each                   = var.log_sources
  name                       = "workspace"
  target_resource_id         = each.value
  log_analytics_workspace_id = azurerm_log_analytics_workspace.this.id

  enabled_log {
    category_group = "allLogs"
  }
}

resource "azurerm_monitor_action_group" "this" {
  name                = "ag-${var.name}"
  resource_group_name = var.resource_group_name
  short_name          = "nightread"

  email_receiver {
    name                    = "team"
    email_address           = var.alert_email
    use_common_alert_schema = true
  }
}

resource "azurerm_monitor_metric_alert" "queue" {
  for_each            = local.queue_alerts
  name                = "alert-${var.name}-${each.key}"
  resource_group_name = var.resource_group_name
  description         = each.value.text
  scopes              = [var.scale_set_id]
  severity            = each.value.rule.severity
  frequency           = "PT1M"
  window_size         = "PT${each.value.rule.windowMinutes}M"

  criteria {
    metric_namespace = local.settings.metrics.namespace
    metric_name      = each.value.rule.metric
    aggregation      = each.value.aggregation
    operator         = each.value.operator
    threshold        = each.value.rule.threshold
    # The metric does not exist before the brokers have run.
    skip_metric_validation = true
  }

  action {
    action_group_id = azurerm_monitor_action_group.this.id
  }
}

resource "azurerm_monitor_metric_alert" "events_undelivered" {
  name                = "alert-${var.name}-events-undelivered"
  resource_group_name = var.resource_group_name
  description         = "Event Grid gave up on announcements: nightread announce --from-event-grid-dead-letter."
  scopes              = [var.topic_id]
  severity            = 2
  frequency           = "PT1M"
  window_size         = "PT5M"

  criteria {
    metric_namespace = "Microsoft.EventGrid/systemTopics"
    metric_name      = "DeadLetteredCount"
    aggregation      = "Total"
    operator         = "GreaterThan"
    threshold        = 0
  }

  action {
    action_group_id = azurerm_monitor_action_group.this.id
  }
}

# Azure stops repairing a scale set whose new machines stay unhealthy; it says so only in the activity log.
resource "azurerm_monitor_activity_log_alert" "repairs_suspended" {
  name                = "alert-${var.name}-repairs-suspended"
  location            = "global"
  resource_group_name = var.resource_group_name
  description         = "The state of automatic repairs changed: machines may stay broken."
  scopes              = [var.scale_set_id]

  criteria {
    category       = "Administrative"
    operation_name = "Microsoft.Compute/virtualMachineScaleSets/setOrchestrationServiceState/action"
  }

  action {
    action_group_id = azurerm_monitor_action_group.this.id
  }
}

# Failed scale actions, and a backlog metric that cannot be read, stand only in the activity log. The group holds both settings.
resource "azurerm_monitor_activity_log_alert" "autoscale_failed" {
  name                = "alert-${var.name}-autoscale-failed"
  location            = "global"
  resource_group_name = var.resource_group_name
  description         = "Autoscale could not read the backlog or could not change the fleet."
  scopes              = [var.resource_group_id]

  criteria {
    category = "Autoscale"
    status   = "Failed"
  }

  action {
    action_group_id = azurerm_monitor_action_group.this.id
  }
}
