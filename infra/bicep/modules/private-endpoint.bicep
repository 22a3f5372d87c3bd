metadata description = 'One private endpoint with its entry in the private DNS zone.'

@description('Required. Name of the endpoint.')
param name string

@description('Required. Azure region.')
param location string

@description('Required. Subnet that holds the endpoint.')
param subnetId string

@description('Required. Resource behind the endpoint.')
param targetId string

@description('Required. Sub-resource: blob, queue or vault.')
param groupId string

@description('Required. Private DNS zone of the sub-resource.')
param zoneId string

resource endpoint 'Microsoft.Network/privateEndpoints@2024-10-01' = {
  name: name
  location: location
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: groupId
        properties: {
          privateLinkServiceId: targetId
          groupIds: [
            groupId
          ]
        }
      }
    ]
  }
}

resource zoneGroup 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-10-01' = {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: groupId
        properties: {
          privateDnsZoneId: zoneId
        }
      }
    ]
  }
}
