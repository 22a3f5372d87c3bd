metadata description = 'Where workers and brokers write their metrics by Prometheus remote write: an endpoint and a rule before an Azure Monitor workspace.'

@description('Required. Name of the deployment, part of every resource name.')
param name string

@description('Required. Azure region.')
param location string

@description('Required. Resource id of the Azure Monitor workspace.')
param workspaceId string

@description('Required. Principal of the workers.')
param workerPrincipalId string

@description('Required. Principal of the brokers.')
param brokerPrincipalId string

var settings = loadJsonContent('../../shared/settings.json')
var remoteWrite = settings.metrics.remoteWrite
var streams = [
  remoteWrite.stream
]

resource endpoint 'Microsoft.Insights/dataCollectionEndpoints@2023-03-11' = {
  name: 'dce-${name}-metrics'
  location: location
  kind: 'Linux'
  properties: {
    networkAcls: {
      publicNetworkAccess: 'Enabled'
    }
  }
}

resource rule 'Microsoft.Insights/dataCollectionRules@2023-03-11' = {
  name: 'dcr-${name}-metrics'
  location: location
  kind: 'Linux'
  properties: {
    dataCollectionEndpointId: endpoint.id
    dataSources: {
      prometheusForwarder: [
        {
          name: 'prometheus'
          streams: streams
        }
      ]
    }
    destinations: {
      monitoringAccounts: [
        {
          name: 'workspace'
          accountResourceId: workspaceId
        }
      ]
    }
    dataFlows: [
      {
        streams: streams
        destinations: [
          'workspace'
        ]
      }
    ]
  }
}

resource workersWrite 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(rule.id, workerPrincipalId, settings.roles.metricsPublisher)
  scope: rule
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', settings.roles.metricsPublisher)
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource brokersWrite 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(rule.id, brokerPrincipalId, settings.roles.metricsPublisher)
  scope: rule
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', settings.roles.metricsPublisher)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

@description('Where metrics are written to.')
output writeUrl string = '${endpoint.properties.metricsIngestion.endpoint}/dataCollectionRules/${rule.properties.immutableId}/streams/${remoteWrite.stream}/api/v1/write?api-version=${remoteWrite.apiVersion}'
