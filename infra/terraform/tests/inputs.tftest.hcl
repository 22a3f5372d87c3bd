# Bad inputs are refused before anything is planned.
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

run "name_too_short" {
  command = plan
  variables {
    name = "ab"
  }
  expect_failures = [var.name]
}

run "name_with_capitals" {
  command = plan
  variables {
    name = "TestFleet"
  }
  expect_failures = [var.name]
}

run "name_beginning_with_digit" {
  command = plan
  variables {
    name = "1fleet"
  }
  expect_failures = [var.name]
}

run "unknown_shape" {
  command = plan
  variables {
    shape = "staging"
  }
  expect_failures = [var.shape]
}

run "unnamed_precision" {
  command = plan
  variables {
    precision = "auto"
  }
  expect_failures = [var.precision]
}

run "short_digest" {
  command = plan
  variables {
    worker_archive_sha256 = "abc"
  }
  expect_failures = [var.worker_archive_sha256]
}

run "digest_in_capitals" {
  command = plan
  variables {
    broker_packages_sha256 = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
  }
  expect_failures = [var.broker_packages_sha256]
}

run "archive_name_with_a_token" {
  command = plan
  variables {
    worker_archive_name = "a b@@c"
  }
  expect_failures = [var.worker_archive_name]
}

run "packages_name_empty" {
  command = plan
  variables {
    broker_packages_name = ""
  }
  expect_failures = [var.broker_packages_name]
}

run "half_a_worker" {
  command = plan
  variables {
    worker_capacity = 0.5
  }
  expect_failures = [var.worker_capacity]
}

run "too_many_workers" {
  command = plan
  variables {
    worker_capacity = 101
  }
  expect_failures = [var.worker_capacity]
}

run "no_key" {
  command = plan
  variables {
    admin_ssh_public_key = "ssh-rsa"
  }
  expect_failures = [var.admin_ssh_public_key]
}

run "no_address" {
  command = plan
  variables {
    alert_email = "team"
  }
  expect_failures = [var.alert_email]
}

run "size_without_resource_disk" {
  command = plan
  variables {
    worker_vm_size = "Standard_D8ds_v6"
  }
  expect_failures = [var.worker_vm_size]
}

run "operator_ip_ranges_0" {
  command = plan
  variables {
    operator_ip_ranges = ["example.org"]
  }
  expect_failures = [var.operator_ip_ranges]
}

run "operator_ip_ranges_1" {
  command = plan
  variables {
    operator_ip_ranges = ["999.999.999.999/99"]
  }
  expect_failures = [var.operator_ip_ranges]
}

run "operator_ip_ranges_2" {
  command = plan
  variables {
    operator_ip_ranges = ["203.0.113.0/33"]
  }
  expect_failures = [var.operator_ip_ranges]
}

run "operator_ip_ranges_3" {
  command = plan
  variables {
    operator_ip_ranges = ["2001:db8::/64"]
  }
  expect_failures = [var.operator_ip_ranges]
}

run "operator_ip_ranges_4" {
  command = plan
  variables {
    operator_ip_ranges = ["0.0.0.0/0"]
  }
  expect_failures = [var.operator_ip_ranges]
}

run "operator_ip_ranges_5" {
  command = plan
  variables {
    operator_ip_ranges = ["1.2.3.4/0"]
  }
  expect_failures = [var.operator_ip_ranges]
}

run "operator_ip_ranges_6" {
  command = plan
  variables {
    operator_ip_ranges = ["128.0.0.0/1"]
  }
  expect_failures = [var.operator_ip_ranges]
}

run "operator_ip_ranges_7" {
  command = plan
  variables {
    operator_ip_ranges = ["203.0.112.0/23"]
  }
  expect_failures = [var.operator_ip_ranges]
}

run "package_mirror_ranges_0" {
  command = plan
  variables {
    package_mirror_ranges = ["example.org"]
  }
  expect_failures = [var.package_mirror_ranges]
}

run "package_mirror_ranges_1" {
  command = plan
  variables {
    package_mirror_ranges = ["999.999.999.999/99"]
  }
  expect_failures = [var.package_mirror_ranges]
}

run "package_mirror_ranges_2" {
  command = plan
  variables {
    package_mirror_ranges = ["203.0.113.0/33"]
  }
  expect_failures = [var.package_mirror_ranges]
}

run "package_mirror_ranges_3" {
  command = plan
  variables {
    package_mirror_ranges = ["2001:db8::/64"]
  }
  expect_failures = [var.package_mirror_ranges]
}

run "package_mirror_ranges_4" {
  command = plan
  variables {
    package_mirror_ranges = ["0.0.0.0/0"]
  }
  expect_failures = [var.package_mirror_ranges]
}

run "package_mirror_ranges_5" {
  command = plan
  variables {
    package_mirror_ranges = ["1.2.3.4/0"]
  }
  expect_failures = [var.package_mirror_ranges]
}

run "package_mirror_ranges_6" {
  command = plan
  variables {
    package_mirror_ranges = ["128.0.0.0/1"]
  }
  expect_failures = [var.package_mirror_ranges]
}

run "package_mirror_ranges_7" {
  command = plan
  variables {
    package_mirror_ranges = ["203.0.112.0/23"]
  }
  expect_failures = [var.package_mirror_ranges]
}

run "operator_ip_ranges_8" {
  command = plan
  variables {
    operator_ip_ranges = ["203.0.113"]
  }
  expect_failures = [var.operator_ip_ranges]
}

run "operator_ip_ranges_9" {
  command = plan
  variables {
    operator_ip_ranges = ["203.0.113.7.1"]
  }
  expect_failures = [var.operator_ip_ranges]
}

run "package_mirror_ranges_8" {
  command = plan
  variables {
    package_mirror_ranges = ["203.0.113"]
  }
  expect_failures = [var.package_mirror_ranges]
}

run "package_mirror_ranges_9" {
  command = plan
  variables {
    package_mirror_ranges = ["203.0.113.7.1"]
  }
  expect_failures = [var.package_mirror_ranges]
}

run "unknown_compute" {
  command = plan
  variables {
    compute = "kubernetes"
  }
  expect_failures = [var.compute]
}

run "no_tag" {
  command = plan
  variables {
    worker_image_tag = "a b"
  }
  expect_failures = [var.worker_image_tag]
}

run "metrics_workspace_id_0" {
  command = plan
  variables {
    metrics_workspace_id = "amw-test"
  }
  expect_failures = [var.metrics_workspace_id]
}

run "metrics_workspace_id_1" {
  command = plan
  variables {
    metrics_workspace_id = "https://amw-test.westeurope.prometheus.monitor.azure.com"
  }
  expect_failures = [var.metrics_workspace_id]
}

run "metrics_workspace_id_2" {
  command = plan
  variables {
    metrics_workspace_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w"
  }
  expect_failures = [var.metrics_workspace_id]
}

run "metrics_workspace_id_3" {
  command = plan
  variables {
    metrics_workspace_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Monitor/accounts"
  }
  expect_failures = [var.metrics_workspace_id]
}

run "metrics_workspace_id_4" {
  command = plan
  variables {
    metrics_workspace_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Monitor/accounts/"
  }
  expect_failures = [var.metrics_workspace_id]
}

run "metrics_workspace_id_5" {
  command = plan
  variables {
    metrics_workspace_id = "/subscriptions/s/resourceGroups//providers/Microsoft.Monitor/accounts/w"
  }
  expect_failures = [var.metrics_workspace_id]
}

run "metrics_workspace_id_6" {
  command = plan
  variables {
    metrics_workspace_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Monitor/accounts/w/x"
  }
  expect_failures = [var.metrics_workspace_id]
}

run "metrics_workspace_id_7" {
  command = plan
  variables {
    metrics_workspace_id = "//subscriptions/s/resourceGroups/g/providers/Microsoft.Monitor/accounts"
  }
  expect_failures = [var.metrics_workspace_id]
}

run "metrics_workspace_id_8" {
  command = plan
  variables {
    metrics_workspace_id = "x/subscriptions/s/resourceGroups/g/providers/Microsoft.Monitor/accounts/w"
  }
  expect_failures = [var.metrics_workspace_id]
}

run "series_prefix_alone" {
  command = plan
  variables {
    series_prefix = "ct/"
  }
  expect_failures = [var.series_model]
}

run "series_model_alone" {
  command = plan
  variables {
    series_model = "ct-organs-demo"
  }
  expect_failures = [var.series_model]
}

run "series_in_containers" {
  command = plan
  variables {
    compute       = "containerApps"
    series_prefix = "ct/"
    series_model  = "ct-organs-demo"
  }
  expect_failures = [var.series_prefix]
}

run "series_prefix_that_ends_a_text" {
  command = plan
  variables {
    series_prefix = "ct\"/"
    series_model  = "ct-organs-demo"
  }
  expect_failures = [var.series_prefix]
}

run "model_pin_without_digest" {
  command = plan
  variables {
    model_pins = ["cxr-pneumonia-demo"]
  }
  expect_failures = [var.model_pins]
}

run "model_pin_of_another_digest" {
  command = plan
  variables {
    model_pins = ["cxr-pneumonia-demo@sha512:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"]
  }
  expect_failures = [var.model_pins]
}

run "model_pin_that_ends_a_line" {
  command = plan
  variables {
    model_pins = ["cxr-pneumonia-demo@sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc\nX=1"]
  }
  expect_failures = [var.model_pins]
}
