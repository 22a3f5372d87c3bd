locals {
  settings   = jsondecode(file("${path.module}/../../../shared/settings.json"))
  net        = local.settings.network
  image      = local.settings.images.broker
  admin_user = "azureadmin"
  # The keys are strings of the index, so that a broker keeps its address when the count changes.
  brokers = { for i in range(local.settings.shapes[var.shape].brokerCount) : tostring(i) => local.net.brokerAddresses[i] }
}

# Each broker has its own name for the cluster; all of them answer to one name for the workers.
resource "azurerm_private_dns_a_record" "node" {
  for_each            = local.brokers
  name                = "${local.net.brokerHost}-${each.key}"
  private_dns_zone_id = var.internal_zone_id
  ttl                 = 60
  records             = [each.value]
}

resource "azurerm_private_dns_a_record" "shared" {
  name                = local.net.brokerHost
  private_dns_zone_id = var.internal_zone_id
  ttl                 = 60
  records             = values(local.brokers)
}

resource "azurerm_network_interface" "this" {
  for_each                       = local.brokers
  name                           = "nic-${var.name}-broker-${each.key}"
  location                       = var.location
  resource_group_name            = var.resource_group_name
  accelerated_networking_enabled = true
  ip_forwarding_enabled          = false

  ip_configuration {
    name                          = "ipconfig"
    primary                       = true
    private_ip_address_allocation = "Static"
    private_ip_address            = each.value
    subnet_id                     = var.subnet_id
  }
}

resource "azurerm_linux_virtual_machine" "this" {
  # checkov:skip=CKV_AZURE_50: the Azure Monitor agent, which collects the logs, is an extension
  for_each                        = local.brokers
  name                            = "vm-${var.name}-broker-${each.key}"
  computer_name                   = "${local.net.brokerHost}-${each.key}"
  location                        = var.location
  resource_group_name             = var.resource_group_name
  zone                            = tostring(tonumber(each.key) + 1)
  size                            = local.settings.sizes.broker
  network_interface_ids           = [azurerm_network_interface.this[each.key].id]
  admin_username                  = local.admin_user
  disable_password_authentication = true
  provision_vm_agent              = true
  allow_extension_operations      = true
  encryption_at_host_enabled      = true
  secure_boot_enabled             = true
  vtpm_enabled                    = true
  # Azure installs critical and security updates off-peak, and never in two zones at a time.
  patch_mode                                             = "AutomaticByPlatform"
  patch_assessment_mode                                  = "AutomaticByPlatform"
  reboot_setting                                         = "IfRequired"
  bypass_platform_safety_checks_on_user_schedule_enabled = false
  # User data and not custom data: a change of the latter would rebuild all brokers at once, and every new version changes it.
  user_data = base64encode(replace(local.user_data, "@@BROKER_INDEX@@", each.key))

  admin_ssh_key {
    username   = local.admin_user
    public_key = var.admin_ssh_public_key
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [var.identity_id]
  }

  source_image_reference {
    publisher = local.image.publisher
    offer     = local.image.offer
    sku       = local.image.sku
    version   = local.image.version
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "Premium_LRS"
  }

  boot_diagnostics {}
}

# A resource of its own, so that a broker that is rebuilt gets its queues back.
resource "azurerm_managed_disk" "this" {
  for_each                      = local.brokers
  name                          = "disk-${var.name}-broker-${each.key}"
  location                      = var.location
  resource_group_name           = var.resource_group_name
  zone                          = tostring(tonumber(each.key) + 1)
  create_option                 = "Empty"
  storage_account_type          = "Premium_LRS"
  disk_size_gb                  = local.settings.broker.dataDiskGib
  public_network_access_enabled = false
  network_access_policy         = "DenyAll"
}

resource "azurerm_virtual_machine_data_disk_attachment" "this" {
  for_each           = local.brokers
  managed_disk_id    = azurerm_managed_disk.this[each.key].id
  virtual_machine_id = azurerm_linux_virtual_machine.this[each.key].id
  lun                = 0
  caching            = "None"
}

resource "azurerm_virtual_machine_extension" "monitor" {
  for_each                   = local.brokers
  name                       = "monitor"
  virtual_machine_id         = azurerm_linux_virtual_machine.this[each.key].id
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
