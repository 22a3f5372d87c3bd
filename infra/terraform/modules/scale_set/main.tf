locals {
  settings   = jsondecode(file("${path.module}/../../../shared/settings.json"))
  health     = local.settings.health
  image      = local.settings.images.worker
  upgrade    = local.settings.upgrade
  admin_user = "azureadmin"
}

resource "azurerm_linux_virtual_machine_scale_set" "this" {
  name                = var.name
  location            = var.location
  resource_group_name = var.resource_group_name
  zones               = var.zones
  sku                 = var.vm_size
  instances           = var.capacity

  # Doubled machines would take messages and be deleted while they work on them.
  overprovision               = false
  single_placement_group      = false
  zone_balance                = false
  platform_fault_domain_count = 1

  priority        = var.spot ? "Spot" : "Regular"
  eviction_policy = var.spot ? "Delete" : null
  max_bid_price   = var.spot ? -1 : null

  encryption_at_host_enabled = true
  secure_boot_enabled        = true
  vtpm_enabled               = true

  computer_name_prefix            = var.spot ? "nrspot" : "nrwork"
  admin_username                  = local.admin_user
  disable_password_authentication = true
  provision_vm_agent              = true
  custom_data                     = base64encode(var.custom_data)

  upgrade_mode = "Rolling"

  admin_ssh_key {
    username   = local.admin_user
    public_key = var.admin_ssh_public_key
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [var.identity_id]
  }

  scale_in {
    rule = "OldestVM"
  }

  automatic_instance_repair {
    enabled      = true
    grace_period = "PT${local.health.repairGraceMinutes}M"
    action       = "Replace"
  }

  automatic_os_upgrade_policy {
    automatic_os_upgrade_enabled = true
    automatic_rollback_enabled   = true
  }

  rolling_upgrade_policy {
    max_batch_instance_percent              = local.upgrade.maxBatchInstancePercent
    max_unhealthy_instance_percent          = local.upgrade.maxUnhealthyInstancePercent
    max_unhealthy_upgraded_instance_percent = local.upgrade.maxUnhealthyUpgradedInstancePercent
    pause_time_between_batches              = "PT${local.upgrade.pauseSeconds}S"
    prioritize_unhealthy_instances_enabled  = true
    # Replaces machines instead of reimaging them, and a machine that is deleted is told so first and drains.
    maximum_surge_instances_enabled = true
  }

  # Azure refuses terminate notification on Spot machines; they get the 30 s notice of an eviction.
  dynamic "termination_notification" {
    for_each = var.spot ? [] : [true]
    content {
      enabled = true
      timeout = "PT${local.settings.drain.terminateNotificationMinutes}M"
    }
  }

  source_image_reference {
    publisher = local.image.publisher
    offer     = local.image.offer
    sku       = local.image.sku
    version   = local.image.version
  }

  os_disk {
    caching              = "ReadOnly"
    storage_account_type = "Standard_LRS"
    # Of the local disk, so that it costs nothing: the image's own size leaves no room for scans of gigabytes.
    disk_size_gb = local.settings.spool.systemDiskGib

    # The provider's default, CacheDisk, does not exist on v5 sizes.
    diff_disk_settings {
      option    = "Local"
      placement = "ResourceDisk"
    }
  }

  boot_diagnostics {}

  network_interface {
    name                           = "nic"
    primary                        = true
    accelerated_networking_enabled = true
    ip_forwarding_enabled          = false

    ip_configuration {
      name      = "ipconfig"
      primary   = true
      subnet_id = var.subnet_id
    }
  }

  extension {
    name                       = "health"
    publisher                  = "Microsoft.ManagedServices"
    type                       = "ApplicationHealthLinux"
    type_handler_version       = "2.0"
    auto_upgrade_minor_version = true
    automatic_upgrade_enabled  = true
    settings = jsonencode({
      protocol          = "http"
      port              = local.settings.ports.health
      requestPath       = local.health.path
      intervalInSeconds = local.health.intervalSeconds
      numberOfProbes    = local.health.probes
      gracePeriod       = local.health.gracePeriodSeconds
    })
  }

  extension {
    name                       = "monitor"
    publisher                  = "Microsoft.Azure.Monitor"
    type                       = "AzureMonitorLinuxAgent"
    type_handler_version       = "1.33"
    auto_upgrade_minor_version = true
    automatic_upgrade_enabled  = true
    settings = jsonencode({
      authentication = {
        managedIdentity = {
          identifier-name  = "mi_res_id"
          identifier-value = var.identity_id
        }
      }
    })
  }

  lifecycle {
    # Autoscale owns the number from here on.
    ignore_changes = [instances]
  }
}
