metadata description = 'Four subnets without default outbound access, their security groups, one NAT gateway, and private DNS.'

@description('Required. Name of the deployment, part of every resource name.')
param name string

@description('Required. Azure region.')
param location string

@description('Required. Addresses of a package mirror for the brokers; empty leaves them without a way to any.')
param packageMirrorRanges array

var settings = loadJsonContent('../../shared/settings.json')
var net = settings.network
var amqps = string(settings.ports.amqps)
var https = string(settings.ports.https)
var epmd = string(settings.ports.epmd)
var distribution = string(settings.ports.erlangDistribution)
var containerPorts = [
  amqps
  string(settings.ports.managementTls)
]
var clusterPorts = [
  amqps
  epmd
  distribution
]

resource workersNsg 'Microsoft.Network/networkSecurityGroups@2024-10-01' = {
  name: 'nsg-${name}-workers'
  location: location
  properties: {
    securityRules: [
      {
        name: 'deny-inbound'
        properties: {
          priority: 4096
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
      {
        name: 'allow-broker'
        properties: {
          priority: 100
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.workersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: net.brokersPrefix
          destinationPortRange: amqps
        }
      }
      {
        name: 'allow-endpoints'
        properties: {
          priority: 110
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.workersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: net.endpointsPrefix
          destinationPortRange: https
        }
      }
      {
        name: 'allow-azure-monitor'
        properties: {
          priority: 120
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.workersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: 'AzureMonitor'
          destinationPortRange: https
        }
      }
      {
        // The agent of Azure Monitor asks it where to send.
        name: 'allow-azure-resource-manager'
        properties: {
          priority: 130
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.workersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: 'AzureResourceManager'
          destinationPortRange: https
        }
      }
      {
        name: 'deny-outbound'
        properties: {
          priority: 4096
          direction: 'Outbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource brokersNsg 'Microsoft.Network/networkSecurityGroups@2024-10-01' = {
  name: 'nsg-${name}-brokers'
  location: location
  properties: {
    securityRules: [
      {
        name: 'allow-workers'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.workersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: net.brokersPrefix
          destinationPortRange: amqps
        }
      }
      {
        // Workers in containers, and the scaler of their environment, which counts messages at the management API.
        name: 'allow-containers'
        properties: {
          priority: 120
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.containersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: net.brokersPrefix
          destinationPortRanges: containerPorts
        }
      }
      {
        name: 'allow-cluster-in'
        properties: {
          priority: 110
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.brokersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: net.brokersPrefix
          destinationPortRanges: clusterPorts
        }
      }
      {
        name: 'deny-inbound'
        properties: {
          priority: 4096
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
      {
        name: 'allow-cluster-out'
        properties: {
          priority: 100
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.brokersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: net.brokersPrefix
          destinationPortRanges: clusterPorts
        }
      }
      {
        name: 'allow-endpoints'
        properties: {
          priority: 110
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.brokersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: net.endpointsPrefix
          destinationPortRange: https
        }
      }
      {
        name: 'allow-azure-monitor'
        properties: {
          priority: 120
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.brokersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: 'AzureMonitor'
          destinationPortRange: https
        }
      }
      {
        // The agent of Azure Monitor asks it where to send.
        name: 'allow-azure-resource-manager'
        properties: {
          priority: 130
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.brokersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: 'AzureResourceManager'
          destinationPortRange: https
        }
      }
      {
        // Without a mirror it leads back to the brokers, where nothing is let in on these ports.
        name: 'allow-package-mirror'
        properties: {
          priority: 140
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.brokersPrefix
          sourcePortRange: '*'
          destinationAddressPrefixes: empty(packageMirrorRanges) ? [net.brokersPrefix] : packageMirrorRanges
          destinationPortRanges: [
            '80'
            https
          ]
        }
      }
      {
        name: 'deny-outbound'
        properties: {
          priority: 4096
          direction: 'Outbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource endpointsNsg 'Microsoft.Network/networkSecurityGroups@2024-10-01' = {
  name: 'nsg-${name}-endpoints'
  location: location
  properties: {
    securityRules: [
      {
        name: 'allow-fleet'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefixes: [
            net.workersPrefix
            net.brokersPrefix
            net.containersPrefix
          ]
          sourcePortRange: '*'
          destinationAddressPrefix: net.endpointsPrefix
          destinationPortRange: https
        }
      }
      {
        name: 'deny-inbound'
        properties: {
          priority: 4096
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
      {
        name: 'deny-outbound'
        properties: {
          priority: 4096
          direction: 'Outbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

// What an environment of Container Apps needs to run at all, its storage and its broker; and nothing else.
resource containersNsg 'Microsoft.Network/networkSecurityGroups@2024-10-01' = {
  name: 'nsg-${name}-containers'
  location: location
  properties: {
    securityRules: [
      {
        name: 'allow-within-in'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: '*'
          sourceAddressPrefix: net.containersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: net.containersPrefix
          destinationPortRange: '*'
        }
      }
      {
        name: 'allow-probes'
        properties: {
          priority: 110
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'AzureLoadBalancer'
          sourcePortRange: '*'
          destinationAddressPrefix: net.containersPrefix
          destinationPortRange: '30000-32767'
        }
      }
      {
        name: 'deny-inbound'
        properties: {
          priority: 4096
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
      {
        name: 'allow-within-out'
        properties: {
          priority: 100
          direction: 'Outbound'
          access: 'Allow'
          protocol: '*'
          sourceAddressPrefix: net.containersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: net.containersPrefix
          destinationPortRange: '*'
        }
      }
      {
        name: 'allow-broker'
        properties: {
          priority: 110
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.containersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: net.brokersPrefix
          destinationPortRanges: containerPorts
        }
      }
      {
        name: 'allow-endpoints'
        properties: {
          priority: 120
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.containersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: net.endpointsPrefix
          destinationPortRange: https
        }
      }
      {
        name: 'allow-azure-monitor'
        properties: {
          priority: 130
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.containersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: 'AzureMonitor'
          destinationPortRange: https
        }
      }
      {
        name: 'allow-entra'
        properties: {
          priority: 140
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.containersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: 'AzureActiveDirectory'
          destinationPortRange: https
        }
      }
      {
        name: 'allow-microsoft-registry'
        properties: {
          priority: 150
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.containersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: 'MicrosoftContainerRegistry'
          destinationPortRange: https
        }
      }
      {
        name: 'allow-front-door'
        properties: {
          priority: 160
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: net.containersPrefix
          sourcePortRange: '*'
          destinationAddressPrefix: 'AzureFrontDoor.FirstParty'
          destinationPortRange: https
        }
      }
      {
        name: 'deny-outbound'
        properties: {
          priority: 4096
          direction: 'Outbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

// Only Azure Monitor is reachable through it: the security groups deny every other destination.
resource natAddress 'Microsoft.Network/publicIPAddresses@2024-10-01' = {
  name: 'pip-${name}-nat'
  location: location
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource nat 'Microsoft.Network/natGateways@2024-10-01' = {
  name: 'nat-${name}'
  location: location
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIpAddresses: [
      {
        id: natAddress.id
      }
    ]
  }
}

resource vnet 'Microsoft.Network/virtualNetworks@2024-10-01' = {
  name: 'vnet-${name}'
  location: location
  properties: {
    addressSpace: {
      addressPrefixes: [
        net.addressSpace
      ]
    }
    subnets: [
      {
        name: 'workers'
        properties: {
          addressPrefix: net.workersPrefix
          defaultOutboundAccess: false
          networkSecurityGroup: {
            id: workersNsg.id
          }
          natGateway: {
            id: nat.id
          }
        }
      }
      {
        name: 'brokers'
        properties: {
          addressPrefix: net.brokersPrefix
          defaultOutboundAccess: false
          networkSecurityGroup: {
            id: brokersNsg.id
          }
          natGateway: {
            id: nat.id
          }
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: net.endpointsPrefix
          defaultOutboundAccess: false
          // Without this the security group would not apply to private endpoints.
          privateEndpointNetworkPolicies: 'NetworkSecurityGroupEnabled'
          networkSecurityGroup: {
            id: endpointsNsg.id
          }
        }
      }
      {
        name: 'containers'
        properties: {
          addressPrefix: net.containersPrefix
          defaultOutboundAccess: false
          networkSecurityGroup: {
            id: containersNsg.id
          }
          natGateway: {
            id: nat.id
          }
          delegations: [
            {
              name: 'environments'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
    ]
  }
}

resource blobZone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: net.privateLinkZones.blob
  location: 'global'
}

resource queueZone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: net.privateLinkZones.queue
  location: 'global'
}

resource vaultZone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: net.privateLinkZones.vault
  location: 'global'
}

resource registryZone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: net.privateLinkZones.registry
  location: 'global'
}

resource internalZone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: net.internalZone
  location: 'global'
}

resource blobLink 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {
  parent: blobZone
  name: vnet.name
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: vnet.id
    }
  }
}

resource queueLink 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {
  parent: queueZone
  name: vnet.name
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: vnet.id
    }
  }
}

resource vaultLink 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {
  parent: vaultZone
  name: vnet.name
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: vnet.id
    }
  }
}

resource registryLink 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {
  parent: registryZone
  name: vnet.name
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: vnet.id
    }
  }
}

resource internalLink 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {
  parent: internalZone
  name: vnet.name
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: vnet.id
    }
  }
}

@description('Subnet of the scale sets.')
output workersSubnetId string = '${vnet.id}/subnets/workers'

@description('Subnet of the brokers.')
output brokersSubnetId string = '${vnet.id}/subnets/brokers'

@description('Subnet of the private endpoints.')
output endpointsSubnetId string = '${vnet.id}/subnets/endpoints'

@description('Private DNS zone of Blob storage.')
output blobZoneId string = blobZone.id

@description('Private DNS zone of Queue storage.')
output queueZoneId string = queueZone.id

@description('Private DNS zone of Key Vault.')
output vaultZoneId string = vaultZone.id

@description('Subnet of the environment of containers.')
output containersSubnetId string = '${vnet.id}/subnets/containers'

@description('Private DNS zone of the container registry.')
output registryZoneId string = registryZone.id
