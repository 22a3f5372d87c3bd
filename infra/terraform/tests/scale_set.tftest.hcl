# The workers: nothing reaches them, and they are told before they go.
mock_provider "azurerm" {}

variables {
  name                 = "vmss-testfleet-workers"
  location             = "westeurope"
  resource_group_name  = "rg-test"
  zones                = ["1", "2", "3"]
  vm_size              = "Standard_D8ds_v5"
  capacity             = 1
  spot                 = false
  subnet_id            = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.Network/virtualNetworks/vnet-testfleet/subnets/workers"
  identity_id          = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-test/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-testfleet-worker"
  custom_data          = "#cloud-config"
  admin_ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA test"
}

run "regular" {
  command = plan
  module {
    source = "./modules/scale_set"
  }

  assert {
    condition     = alltrue([for nic in azurerm_linux_virtual_machine_scale_set.this.network_interface : alltrue([for ip in nic.ip_configuration : length(ip.public_ip_address) == 0])])
    error_message = "no public address"
  }
  assert {
    condition     = azurerm_linux_virtual_machine_scale_set.this.overprovision == false
    error_message = "machines that are doubled and deleted would steal messages"
  }
  assert {
    condition     = azurerm_linux_virtual_machine_scale_set.this.identity[0].type == "UserAssigned"
    error_message = "one identity for all machines, known before they start"
  }
  assert {
    condition     = azurerm_linux_virtual_machine_scale_set.this.termination_notification[0].timeout == "PT10M"
    error_message = "ten minutes to drain"
  }
  assert {
    condition     = azurerm_linux_virtual_machine_scale_set.this.os_disk[0].diff_disk_settings[0].placement == "ResourceDisk"
    error_message = "v5 sizes have no cache disk"
  }
  assert {
    condition     = [for e in azurerm_linux_virtual_machine_scale_set.this.extension : [e.type_handler_version, jsondecode(e.settings).requestPath, tostring(jsondecode(e.settings).port)] if e.type == "ApplicationHealthLinux"] == [["2.0", "/healthz", "8080"]]
    error_message = "health extension 2.0 on /healthz"
  }
  assert {
    condition     = azurerm_linux_virtual_machine_scale_set.this.automatic_instance_repair[0].enabled && azurerm_linux_virtual_machine_scale_set.this.automatic_os_upgrade_policy[0].automatic_os_upgrade_enabled
    error_message = "broken machines are replaced, and images kept up"
  }
  assert {
    condition     = azurerm_linux_virtual_machine_scale_set.this.disable_password_authentication && azurerm_linux_virtual_machine_scale_set.this.encryption_at_host_enabled && azurerm_linux_virtual_machine_scale_set.this.secure_boot_enabled && azurerm_linux_virtual_machine_scale_set.this.vtpm_enabled
    error_message = "no password, encrypted, trusted launch"
  }
}

run "spot" {
  command = plan
  variables {
    spot = true
  }
  module {
    source = "./modules/scale_set"
  }

  assert {
    condition     = azurerm_linux_virtual_machine_scale_set.this.priority == "Spot" && azurerm_linux_virtual_machine_scale_set.this.eviction_policy == "Delete" && azurerm_linux_virtual_machine_scale_set.this.max_bid_price == -1
    error_message = "evicted machines are deleted, and cost at most the regular price"
  }
  assert {
    condition     = length(azurerm_linux_virtual_machine_scale_set.this.termination_notification) == 0
    error_message = "Azure refuses terminate notification on Spot machines"
  }
}
