locals {
  settings = jsondecode(file("${path.module}/../../../shared/settings.json"))
  net      = local.settings.network
  amqps    = tostring(local.settings.ports.amqps)
  https    = tostring(local.settings.ports.https)
  cluster_ports = [
    tostring(local.settings.ports.amqps),
    tostring(local.settings.ports.epmd),
    tostring(local.settings.ports.erlangDistribution),
  ]
  container_ports = [local.amqps, tostring(local.settings.ports.managementTls)]
  subnets = {
    workers    = local.net.workersPrefix
    brokers    = local.net.brokersPrefix
    endpoints  = local.net.endpointsPrefix
    containers = local.net.containersPrefix
  }
  mirror = length(var.package_mirror_ranges) > 0 ? var.package_mirror_ranges : [local.net.brokersPrefix]
  any    = { sources = ["*"], destination = "*", ports = ["*"], protocol = "*" }
  rules = {
    workers = {
      deny-inbound        = merge(local.any, { priority = 4096, direction = "Inbound", access = "Deny" })
      allow-broker        = { priority = 100, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.workersPrefix], destination = local.net.brokersPrefix, ports = [local.amqps] }
      allow-endpoints     = { priority = 110, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.workersPrefix], destination = local.net.endpointsPrefix, ports = [local.https] }
      allow-azure-monitor = { priority = 120, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.workersPrefix], destination = "AzureMonitor", ports = [local.https] }
      # The agent of Azure Monitor asks it where to send.
      allow-azure-resource-manager = { priority = 130, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.workersPrefix], destination = "AzureResourceManager", ports = [local.https] }
      deny-outbound                = merge(local.any, { priority = 4096, direction = "Outbound", access = "Deny" })
    }
    brokers = {
      allow-workers = { priority = 100, direction = "Inbound", access = "Allow", protocol = "Tcp", sources = [local.net.workersPrefix], destination = local.net.brokersPrefix, ports = [local.amqps] }
      # Workers in containers, and the scaler of their environment, which counts messages at the management API.
      allow-containers    = { priority = 120, direction = "Inbound", access = "Allow", protocol = "Tcp", sources = [local.net.containersPrefix], destination = local.net.brokersPrefix, ports = local.container_ports }
      allow-cluster-in    = { priority = 110, direction = "Inbound", access = "Allow", protocol = "Tcp", sources = [local.net.brokersPrefix], destination = local.net.brokersPrefix, ports = local.cluster_ports }
      deny-inbound        = merge(local.any, { priority = 4096, direction = "Inbound", access = "Deny" })
      allow-cluster-out   = { priority = 100, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.brokersPrefix], destination = local.net.brokersPrefix, ports = local.cluster_ports }
      allow-endpoints     = { priority = 110, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.brokersPrefix], destination = local.net.endpointsPrefix, ports = [local.https] }
      allow-azure-monitor = { priority = 120, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.brokersPrefix], destination = "AzureMonitor", ports = [local.https] }
      # The agent of Azure Monitor asks it where to send.
      allow-azure-resource-manager = { priority = 130, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.brokersPrefix], destination = "AzureResourceManager", ports = [local.https] }
      # Without a mirror it leads back to the brokers, where nothing is let in on these ports.
      allow-package-mirror = { priority = 140, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.brokersPrefix], destinations = local.mirror, ports = ["80", local.https] }
      deny-outbound        = merge(local.any, { priority = 4096, direction = "Outbound", access = "Deny" })
    }
    endpoints = {
      allow-fleet   = { priority = 100, direction = "Inbound", access = "Allow", protocol = "Tcp", sources = [local.net.workersPrefix, local.net.brokersPrefix, local.net.containersPrefix], destination = local.net.endpointsPrefix, ports = [local.https] }
      deny-inbound  = merge(local.any, { priority = 4096, direction = "Inbound", access = "Deny" })
      deny-outbound = merge(local.any, { priority = 4096, direction = "Outbound", access = "Deny" })
    }
    # What an environment of Container Apps needs to run at all, its storage and its broker; and nothing else.
    containers = {
      allow-within-in          = { priority = 100, direction = "Inbound", access = "Allow", protocol = "*", sources = [local.net.containersPrefix], destination = local.net.containersPrefix, ports = ["*"] }
      allow-probes             = { priority = 110, direction = "Inbound", access = "Allow", protocol = "Tcp", sources = ["AzureLoadBalancer"], destination = local.net.containersPrefix, ports = ["30000-32767"] }
      deny-inbound             = merge(local.any, { priority = 4096, direction = "Inbound", access = "Deny" })
      allow-within-out         = { priority = 100, direction = "Outbound", access = "Allow", protocol = "*", sources = [local.net.containersPrefix], destination = local.net.containersPrefix, ports = ["*"] }
      allow-broker             = { priority = 110, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.containersPrefix], destination = local.net.brokersPrefix, ports = local.container_ports }
      allow-endpoints          = { priority = 120, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.containersPrefix], destination = local.net.endpointsPrefix, ports = [local.https] }
      allow-azure-monitor      = { priority = 130, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.containersPrefix], destination = "AzureMonitor", ports = [local.https] }
      allow-entra              = { priority = 140, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.containersPrefix], destination = "AzureActiveDirectory", ports = [local.https] }
      allow-microsoft-registry = { priority = 150, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.containersPrefix], destination = "MicrosoftContainerRegistry", ports = [local.https] }
      allow-front-door         = { priority = 160, direction = "Outbound", access = "Allow", protocol = "Tcp", sources = [local.net.containersPrefix], destination = "AzureFrontDoor.FirstParty", ports = [local.https] }
      deny-outbound            = merge(local.any, { priority = 4096, direction = "Outbound", access = "Deny" })
    }
  }
}

resource "azurerm_network_security_group" "this" {
  for_each            = local.rules
  name                = "nsg-${var.name}-${each.key}"
  location            = var.location
  resource_group_name = var.resource_group_name

  dynamic "security_rule" {
    for_each = each.value
    content {
      name                         = security_rule.key
      priority                     = security_rule.value.priority
      direction                    = security_rule.value.direction
      access                       = security_rule.value.access
      protocol                     = security_rule.value.protocol
      source_port_range            = "*"
      source_address_prefix        = length(security_rule.value.sources) == 1 ? security_rule.value.sources[0] : null
      source_address_prefixes      = length(security_rule.value.sources) == 1 ? null : security_rule.value.sources
      destination_address_prefix   = try(security_rule.value.destination, null)
      destination_address_prefixes = try(security_rule.value.destinations, null)
      destination_port_range       = length(security_rule.value.ports) == 1 ? security_rule.value.ports[0] : null
      destination_port_ranges      = length(security_rule.value.ports) == 1 ? null : security_rule.value.ports
    }
  }
}

# Only Azure Monitor is reachable through it: the security groups deny every other destination.
resource "azurerm_public_ip" "nat" {
  name                = "pip-${var.name}-nat"
  location            = var.location
  resource_group_name = var.resource_group_name
  allocation_method   = "Static"
  sku                 = "Standard"
}

resource "azurerm_nat_gateway" "this" {
  name                = "nat-${var.name}"
  location            = var.location
  resource_group_name = var.resource_group_name
  sku_name            = "Standard"
}

resource "azurerm_nat_gateway_public_ip_association" "this" {
  nat_gateway_id       = azurerm_nat_gateway.this.id
  public_ip_address_id = azurerm_public_ip.nat.id
}

resource "azurerm_virtual_network" "this" {
  name                = "vnet-${var.name}"
  location            = var.location
  resource_group_name = var.resource_group_name
  address_space       = [local.net.addressSpace]
}

resource "azurerm_subnet" "this" {
  for_each                        = local.subnets
  name                            = each.key
  resource_group_name             = var.resource_group_name
  virtual_network_name            = azurerm_virtual_network.this.name
  address_prefixes                = [each.value]
  default_outbound_access_enabled = false
  # Without this the security group would not apply to private endpoints.
  private_endpoint_network_policies = each.key == "endpoints" ? "NetworkSecurityGroupEnabled" : "Disabled"

  dynamic "delegation" {
    for_each = each.key == "containers" ? ["Microsoft.App/environments"] : []
    content {
      name = "environments"
      service_delegation {
        name = delegation.value
      }
    }
  }
}

resource "azurerm_subnet_network_security_group_association" "this" {
  for_each                  = local.subnets
  subnet_id                 = azurerm_subnet.this[each.key].id
  network_security_group_id = azurerm_network_security_group.this[each.key].id
}

resource "azurerm_subnet_nat_gateway_association" "this" {
  for_each       = toset(["workers", "brokers", "containers"])
  subnet_id      = azurerm_subnet.this[each.key].id
  nat_gateway_id = azurerm_nat_gateway.this.id
}

resource "azurerm_private_dns_zone" "this" {
  for_each = {
    blob     = local.net.privateLinkZones.blob
    queue    = local.net.privateLinkZones.queue
    vault    = local.net.privateLinkZones.vault
    registry = local.net.privateLinkZones.registry
    internal = local.net.internalZone
  }
  name                = each.value
  resource_group_name = var.resource_group_name
}

resource "azurerm_private_dns_zone_virtual_network_link" "this" {
  for_each             = azurerm_private_dns_zone.this
  name                 = azurerm_virtual_network.this.name
  private_dns_zone_id  = each.value.id
  virtual_network_id   = azurerm_virtual_network.this.id
  registration_enabled = false
}
