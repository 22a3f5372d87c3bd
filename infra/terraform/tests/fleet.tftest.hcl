# The whole configuration in every variant that the parity test compares with the Bicep.
mock_provider "azurerm" {
  source = "./tests/mocks"
}

variables {
  resource_group_name    = "rg-test"
  name                   = "testfleet"
  worker_archive_name    = "nightread-1.0.0.tar.gz"
  worker_archive_sha256  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  broker_packages_name   = "rabbitmq.tar.gz"
  broker_packages_sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
  precision              = "fp32"
  admin_ssh_public_key   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA test"
  alert_email            = "team@example.org"
}

run "dev" {
  command = apply
  variables {
    shape = "dev"
  }

  assert {
    condition     = output.scale_set == "vmss-testfleet-workers"
    error_message = "the scale set is named after the deployment"
  }
}

run "dev_backlog" {
  command = apply
  variables {
    shape                = "dev"
    autoscale_on_backlog = true
  }

  assert {
    condition     = module.autoscale.id != ""
    error_message = "the regular scale set has an autoscale setting"
  }
}

run "prod" {
  command = apply
  variables {
    metrics_workspace_id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Monitor/accounts/amw-test"
  }

  assert {
    condition     = length(module.autoscale_spot) == 0
    error_message = "no Spot set unless it is asked for"
  }
}

run "prod_backlog_spot" {
  command = apply
  variables {
    autoscale_on_backlog  = true
    spot_enabled          = true
    operator_ip_ranges    = ["203.0.113.0/24"]
    package_mirror_ranges = ["192.0.2.0/28"]
    series_prefix         = "ct/"
    series_model          = "ct-organs-demo"
    model_pins            = ["cxr-pneumonia-demo@sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", "ct-organs-demo@sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"]
  }

  assert {
    condition     = length(module.autoscale_spot) == 1
    error_message = "the Spot set scales by a setting of its own"
  }
}

run "prod_containers" {
  command = apply
  # Anew: where machines work already, their number is left to autoscale, which is told zero.
  state_key = "containers"
  variables {
    compute              = "containerApps"
    worker_image_tag     = "1.0.0"
    autoscale_on_backlog = true
    spot_enabled         = true
    model_pins           = ["cxr-pneumonia-demo@sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"]
    metrics_workspace_id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Monitor/accounts/amw-test"
  }

  assert {
    condition     = length(module.container_apps) == 1 && length(module.autoscale_spot) == 0
    error_message = "containers instead of machines"
  }
}
