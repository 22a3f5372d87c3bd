# Phase one holds the capacity still, because a rule on a metric that was never seen can be refused; phase two adds the rules.
mock_provider "azurerm" {}

variables {
  name                = "autoscale-testfleet-workers"
  location            = "westeurope"
  resource_group_name = "rg-test"
  target_id           = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Compute/virtualMachineScaleSets/vmss-testfleet-workers"
  metric_resource_id  = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Compute/virtualMachineScaleSets/vmss-testfleet-workers"
  kind                = "regular"
  shape               = "prod"
  on_backlog          = false
  fixed_capacity      = 3
}

run "phase_one" {
  command = plan
  module {
    source = "./modules/autoscale"
  }

  assert {
    condition     = [for p in azurerm_monitor_autoscale_setting.this.profile : p.name] == ["fixed"]
    error_message = "one profile"
  }
  assert {
    condition     = length(azurerm_monitor_autoscale_setting.this.profile[0].rule) == 0 && length(azurerm_monitor_autoscale_setting.this.profile[0].recurrence) == 0
    error_message = "no rule and no schedule"
  }
  assert {
    condition     = alltrue([for n in ["minimum", "default", "maximum"] : azurerm_monitor_autoscale_setting.this.profile[0].capacity[0][n] == 3])
    error_message = "the capacity that was asked for"
  }
}

run "phase_two" {
  command = plan
  variables {
    on_backlog = true
  }
  module {
    source = "./modules/autoscale"
  }

  assert {
    condition     = [for p in azurerm_monitor_autoscale_setting.this.profile : p.name] == ["day", "night"]
    error_message = "a profile by day and one by night"
  }
  assert {
    condition     = [for p in azurerm_monitor_autoscale_setting.this.profile : p.recurrence[0].hours[0]] == [6, 20]
    error_message = "day begins at 6, night at 20"
  }
  assert {
    condition     = alltrue([for p in azurerm_monitor_autoscale_setting.this.profile : [for r in p.rule : r.scale_action[0].direction] == ["Increase", "Decrease"]])
    error_message = "one rule out and one in"
  }
  assert {
    condition = alltrue(flatten([for p in azurerm_monitor_autoscale_setting.this.profile : [for r in p.rule :
      r.metric_trigger[0].metric_namespace == "nightread/queue" && r.metric_trigger[0].metric_name == "BacklogSecondsPerWorker" &&
      r.metric_trigger[0].statistic == "Max" && r.metric_trigger[0].divide_by_instance_count == false
    ]]))
    error_message = "seconds of work per worker, never summed over the brokers that publish it"
  }
  assert {
    condition     = [for r in azurerm_monitor_autoscale_setting.this.profile[0].rule : r.metric_trigger[0].threshold] == [600, 60]
    error_message = "out above 600 s, in below 60 s"
  }
  assert {
    condition     = [for r in azurerm_monitor_autoscale_setting.this.profile[0].rule : r.scale_action[0].cooldown] == ["PT8M", "PT5M"]
    error_message = "out again only when the machines of the last time have started"
  }
}

run "spot_waits_longer" {
  command = plan
  variables {
    kind       = "spot"
    on_backlog = true
  }
  module {
    source = "./modules/autoscale"
  }

  assert {
    condition     = azurerm_monitor_autoscale_setting.this.profile[0].capacity[0].maximum == 0 && azurerm_monitor_autoscale_setting.this.profile[1].capacity[0].maximum > 0
    error_message = "Spot machines work by night"
  }
  assert {
    condition     = azurerm_monitor_autoscale_setting.this.profile[1].rule[0].metric_trigger[0].threshold > 600
    error_message = "the regular machines go first"
  }
}
