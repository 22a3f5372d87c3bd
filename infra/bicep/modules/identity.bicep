metadata description = 'One identity per part of the system, and two vaults, so that a worker can read only the secrets a worker needs.'

@description('Required. Name of the deployment, part of every resource name.')
param name string

@description('Required. Azure region.')
param location string

@description('Required. Subnet of the private endpoints.')
param endpointsSubnetId string

@description('Required. Private DNS zone of Key Vault.')
param vaultZoneId string

@description('Required. Public address ranges from which operators seed secrets; empty closes the vaults to all but private endpoints.')
param operatorIpRanges array

var settings = loadJsonContent('../../shared/settings.json')
var roles = settings.roles
var operatorRules = [for cidr in operatorIpRanges: { value: cidr }]
var publicAccess = empty(operatorIpRanges) ? 'Disabled' : 'Enabled'

resource workerIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${name}-worker'
  location: location
}

resource brokerIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${name}-broker'
  location: location
}

resource eventsIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${name}-events'
  location: location
}

resource workerVault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: 'kv-${name}-worker'
  location: location
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    publicNetworkAccess: publicAccess
    networkAcls: {
      bypass: 'None'
      defaultAction: 'Deny'
      ipRules: operatorRules
    }
  }
}

resource brokerVault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: 'kv-${name}-broker'
  location: location
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    publicNetworkAccess: publicAccess
    networkAcls: {
      bypass: 'None'
      defaultAction: 'Deny'
      ipRules: operatorRules
    }
  }
}

resource workerReadsWorkerVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(workerVault.id, workerIdentity.id, roles.vaultSecretsUser)
  scope: workerVault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.vaultSecretsUser)
    principalId: workerIdentity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource brokerReadsBrokerVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(brokerVault.id, brokerIdentity.id, roles.vaultSecretsUser)
  scope: brokerVault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.vaultSecretsUser)
    principalId: brokerIdentity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

module workerVaultEndpoint 'private-endpoint.bicep' = {
  name: 'pe-worker-vault'
  params: {
    name: 'pe-${name}-worker-vault'
    location: location
    subnetId: endpointsSubnetId
    targetId: workerVault.id
    groupId: 'vault'
    zoneId: vaultZoneId
  }
}

module brokerVaultEndpoint 'private-endpoint.bicep' = {
  name: 'pe-broker-vault'
  params: {
    name: 'pe-${name}-broker-vault'
    location: location
    subnetId: endpointsSubnetId
    targetId: brokerVault.id
    groupId: 'vault'
    zoneId: vaultZoneId
  }
}

@description('Resource id of the workers\' identity.')
output workerIdentityId string = workerIdentity.id

@description('Client id of the workers\' identity.')
output workerClientId string = workerIdentity.properties.clientId

@description('Principal id of the workers\' identity.')
output workerPrincipalId string = workerIdentity.properties.principalId

@description('Resource id of the brokers\' identity.')
output brokerIdentityId string = brokerIdentity.id

@description('Client id of the brokers\' identity.')
output brokerClientId string = brokerIdentity.properties.clientId

@description('Principal id of the brokers\' identity.')
output brokerPrincipalId string = brokerIdentity.properties.principalId

@description('Resource id of the identity with which Event Grid delivers.')
output eventsIdentityId string = eventsIdentity.id

@description('Principal id of the identity with which Event Grid delivers.')
output eventsPrincipalId string = eventsIdentity.properties.principalId

@description('Vault that workers read.')
output workerVaultName string = workerVault.name

@description('Vault that brokers read.')
output brokerVaultName string = brokerVault.name
