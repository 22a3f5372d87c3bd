metadata description = 'Two accounts: patient data behind private endpoints only, and plumbing (event queue, event dead letters, artifacts). Keys are off in both.'

@description('Required. Name of the deployment, part of every resource name.')
param name string

@description('Required. Azure region.')
param location string

@description('Required. Shape of the deployment: dev or prod.')
param shape string

@description('Required. Subnet of the private endpoints.')
param endpointsSubnetId string

@description('Required. Private DNS zone of Blob storage.')
param blobZoneId string

@description('Required. Private DNS zone of Queue storage.')
param queueZoneId string

@description('Required. Principal of the workers.')
param workerPrincipalId string

@description('Required. Principal of the brokers.')
param brokerPrincipalId string

@description('Required. Principal with which Event Grid delivers.')
param eventsPrincipalId string

@description('Required. Public address ranges from which operators upload artifacts.')
param operatorIpRanges array

@description('Required. True where files of CT series are gathered: a queue of their own, and rights for who gathers.')
param gathersSeries bool

@description('Required. True where brokers know models by the container models.')
param pinsModels bool

var settings = loadJsonContent('../../shared/settings.json')
var containers = settings.names.containers
var retention = settings.retention
var roles = settings.roles
var shapeSettings = settings.shapes[shape]
var skuName = 'Standard_${shapeSettings.storageReplication}'
var operatorRules = [for cidr in operatorIpRanges: { action: 'Allow', value: cidr }]

resource data 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  // checkov:skip=CKV_AZURE_36: no Azure service may go past the rules of the account that holds patient data
  // checkov:skip=CKV_AZURE_43: false positive on an interpolated name; main.bicep holds the name to 12 characters
  // checkov:skip=CKV_AZURE_206: zone-redundant on purpose; patient data stays in its region
  name: '${name}data'
  location: location
  kind: 'StorageV2'
  sku: {
    name: skuName
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    isHnsEnabled: false
    isLocalUserEnabled: false
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: 'Disabled'
    supportsHttpsTrafficOnly: true
    encryption: {
      keySource: 'Microsoft.Storage'
      requireInfrastructureEncryption: true
      services: {
        blob: {
          enabled: true
        }
      }
    }
    networkAcls: {
      bypass: 'None'
      defaultAction: 'Deny'
    }
  }
}

resource dataBlobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: data
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: retention.softDeleteDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: retention.softDeleteDays
    }
  }
}

resource incoming 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: dataBlobs
  name: containers.incoming
  properties: {
    publicAccess: 'None'
  }
}

resource results 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: dataBlobs
  name: containers.results
  properties: {
    publicAccess: 'None'
  }
}

resource models 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: dataBlobs
  name: containers.models
  properties: {
    publicAccess: 'None'
  }
}

// Inputs are moved to a cheaper tier and never deleted: how long a study is kept is not for this template to decide.
resource dataLifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = {
  parent: data
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'cool-read-inputs'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: [
                'blockBlob'
              ]
              prefixMatch: [
                '${containers.incoming}/'
              ]
            }
            actions: {
              baseBlob: {
                tierToCool: {
                  daysAfterModificationGreaterThan: retention.incomingCoolAfterDays
                }
              }
            }
          }
        }
      ]
    }
  }
}

resource dataLock 'Microsoft.Authorization/locks@2020-05-01' = if (shapeSettings.lockData) {
  name: 'keep-patient-data'
  scope: data
  properties: {
    level: 'CanNotDelete'
    notes: 'Holds patient data: remove this lock on purpose before deleting the account.'
  }
}

// Event Grid cannot reach a private endpoint: it comes in as a trusted service, so public access stays on with everything else denied.
resource ops 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  // checkov:skip=CKV_AZURE_43: false positive on an interpolated name; main.bicep holds the name to 12 characters
  // checkov:skip=CKV_AZURE_59: Event Grid delivers as a trusted service, which needs public access on and everything else denied
  // checkov:skip=CKV_AZURE_206: zone-redundant on purpose; events name patient data and stay in the region
  name: '${name}ops'
  location: location
  kind: 'StorageV2'
  sku: {
    name: skuName
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    isHnsEnabled: false
    isLocalUserEnabled: false
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: 'Enabled'
    supportsHttpsTrafficOnly: true
    encryption: {
      keySource: 'Microsoft.Storage'
      requireInfrastructureEncryption: true
      services: {
        blob: {
          enabled: true
        }
        queue: {
          enabled: true
          keyType: 'Account'
        }
      }
    }
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: 'Deny'
      ipRules: operatorRules
    }
  }
}

resource opsBlobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: ops
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: retention.softDeleteDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: retention.softDeleteDays
    }
  }
}

resource artifacts 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: opsBlobs
  name: containers.artifacts
  properties: {
    publicAccess: 'None'
  }
}

resource eventDeadLetters 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: opsBlobs
  name: containers.eventDeadLetters
  properties: {
    publicAccess: 'None'
  }
}

resource opsQueues 'Microsoft.Storage/storageAccounts/queueServices@2025-06-01' = {
  parent: ops
  name: 'default'
}

resource blobCreated 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = {
  parent: opsQueues
  name: settings.names.storageQueue
}

// What the relay cannot read is put aside here.
resource poison 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = {
  parent: opsQueues
  name: settings.names.storagePoisonQueue
}

// Files of CT series, one by one; they are gathered before any worker hears of them.
resource instances 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = if (gathersSeries) {
  parent: opsQueues
  name: settings.names.instancesQueue
}

resource instancesPoison 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = if (gathersSeries) {
  parent: opsQueues
  name: settings.names.instancesPoisonQueue
}

resource opsLifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = {
  parent: ops
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'drop-old-event-dead-letters'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: [
                'blockBlob'
              ]
              prefixMatch: [
                '${containers.eventDeadLetters}/'
              ]
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: retention.eventDeadLetterDays
                }
              }
            }
          }
        }
      ]
    }
  }
}

module dataEndpoint 'private-endpoint.bicep' = {
  name: 'pe-data-blob'
  params: {
    name: 'pe-${name}-data-blob'
    location: location
    subnetId: endpointsSubnetId
    targetId: data.id
    groupId: 'blob'
    zoneId: blobZoneId
  }
}

module opsBlobEndpoint 'private-endpoint.bicep' = {
  name: 'pe-ops-blob'
  params: {
    name: 'pe-${name}-ops-blob'
    location: location
    subnetId: endpointsSubnetId
    targetId: ops.id
    groupId: 'blob'
    zoneId: blobZoneId
  }
}

module opsQueueEndpoint 'private-endpoint.bicep' = {
  name: 'pe-ops-queue'
  params: {
    name: 'pe-${name}-ops-queue'
    location: location
    subnetId: endpointsSubnetId
    targetId: ops.id
    groupId: 'queue'
    zoneId: queueZoneId
  }
}

resource workerReadsIncoming 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(incoming.id, workerPrincipalId, roles.blobReader)
  scope: incoming
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobReader)
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource workerReadsModels 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(models.id, workerPrincipalId, roles.blobReader)
  scope: models
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobReader)
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource workerReadsArtifacts 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(artifacts.id, workerPrincipalId, roles.blobReader)
  scope: artifacts
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobReader)
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource workerWritesResults 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(results.id, workerPrincipalId, roles.blobContributor)
  scope: results
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobContributor)
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource brokerReadsIncoming 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(incoming.id, brokerPrincipalId, roles.blobReader)
  scope: incoming
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobReader)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource brokerReadsModels 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (pinsModels) {
  name: guid(models.id, brokerPrincipalId, roles.blobReader)
  scope: models
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobReader)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource brokerReadsResults 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(results.id, brokerPrincipalId, roles.blobReader)
  scope: results
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobReader)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource brokerReadsArtifacts 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(artifacts.id, brokerPrincipalId, roles.blobReader)
  scope: artifacts
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobReader)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource brokerReadsEventDeadLetters 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(eventDeadLetters.id, brokerPrincipalId, roles.blobReader)
  scope: eventDeadLetters
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobReader)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource brokerTakesEvents 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(blobCreated.id, brokerPrincipalId, roles.queueProcessor)
  scope: blobCreated
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.queueProcessor)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource brokerPutsPoisonAside 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(poison.id, brokerPrincipalId, roles.queueSender)
  scope: poison
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.queueSender)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource eventGridSendsEvents 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(blobCreated.id, eventsPrincipalId, roles.queueSender)
  scope: blobCreated
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.queueSender)
    principalId: eventsPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource eventGridWritesDeadLetters 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(eventDeadLetters.id, eventsPrincipalId, roles.blobContributor)
  scope: eventDeadLetters
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobContributor)
    principalId: eventsPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource brokerTakesInstances 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (gathersSeries) {
  name: guid(instances.id, brokerPrincipalId, roles.queueProcessor)
  scope: instances
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.queueProcessor)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource brokerPutsPoisonOfSeriesAside 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (gathersSeries) {
  name: guid(instancesPoison.id, brokerPrincipalId, roles.queueSender)
  scope: instancesPoison
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.queueSender)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource eventGridSendsInstances 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (gathersSeries) {
  name: guid(instances.id, eventsPrincipalId, roles.queueSender)
  scope: instances
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.queueSender)
    principalId: eventsPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// What is known of each series, and the sets that workers read; no result.
resource brokerWritesSeries 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (gathersSeries) {
  name: guid(results.id, brokerPrincipalId, roles.blobContributor)
  scope: results
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobContributor)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
    condition: loadTextContent('../../shared/series/writer.condition')
    conditionVersion: '2.0'
  }
}

@description('Account of the patient data.')
output dataAccountName string = data.name

@description('Resource id of the account of the patient data.')
output dataAccountId string = data.id

@description('Account of the event queue and the artifacts.')
output opsAccountName string = ops.name

@description('Resource id of the account of the event queue and the artifacts.')
output opsAccountId string = ops.id
