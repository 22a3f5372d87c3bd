locals {
  settings   = jsondecode(file("${path.module}/../../../shared/settings.json"))
  autoscale  = local.settings.autoscale
  metrics    = local.settings.metrics
  rules      = local.autoscale[var.kind]
  capacities = local.settings.shapes[var.shape][var.kind]
  days       = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
  backlog_rules = [
    { rule = local.rules.scaleOut, operator = "GreaterThan", direction = "Increase" },
    { rule = local.rules.scaleIn, operator = "LessThan", direction = "Decrease" },
  ]
  fixed_profiles = [{
    name       = "fixed"
    capacity   = { minimum = var.fixed_capacity, default = var.fixed_capacity, maximum = var.fixed_capacity }
    start_hour = []
    rules      = []
  }]
  backlog_profiles = [for profile in ["day", "night"] : {
    name       = profile
    capacity   = local.capacities[profile]
    start_hour = [local.autoscale.profileStartHours[profile]]
    rules      = local.backlog_rules
  }]
}

resource "azurerm_monitor_autoscale_setting" "this" {
  name                = var.name
  location            = var.location
  resource_group_name = var.resource_group_name
  target_resource_id  = var.target_id
  enabled             = true

  dynamic "profile" {
    for_each = [for p in concat(local.fixed_profiles, local.backlog_profiles) : p if(p.name == "fixed") != var.on_backlog]
    content {
      name = profile.value.name

      capacity {
        minimum = profile.value.capacity.minimum
        default = profile.value.capacity.default
        maximum = profile.value.capacity.maximum
      }

      dynamic "recurrence" {
        for_each = profile.value.start_hour
        content {
          timezone = local.autoscale.timeZone
          days     = local.days
          hours    = [recurrence.value]
          minutes  = [0]
        }
      }

      dynamic "rule" {
        for_each = profile.value.rules
        content {
          metric_trigger {
            metric_name        = local.metrics.backlogSecondsPerWorker
            metric_namespace   = local.metrics.namespace
            metric_resource_id = var.metric_resource_id
            operator           = rule.value.operator
            # Every broker publishes the whole backlog: a sum would count it once per broker.
            statistic                = "Max"
            time_aggregation         = "Average"
            time_grain               = "PT1M"
            time_window              = "PT${rule.value.rule.windowMinutes}M"
            threshold                = rule.value.rule.thresholdSecondsPerWorker
            divide_by_instance_count = false
          }

          scale_action {
            direction = rule.value.direction
            type      = "ChangeCount"
            value     = rule.value.rule.instances
            cooldown  = "PT${rule.value.rule.cooldownMinutes}M"
          }
        }
      }
    }
  }
}
