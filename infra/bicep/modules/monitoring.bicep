metadata description = 'Logs of machines and services in one workspace, and the alerts that a team acts on.'

@description('Required. Name of the deployment, part of every resource name.')
param name string

@description('Required. Azure region.')
param location string

@description('Required. Shape of the deployment: dev or prod.')
param shape string

@description('Required. Where alerts are sent.')
param alertEmail string

@description('Required. Name of the regular scale set, the subject of the backlog metrics.')
param scaleSetName string

@description('Required. Name of the Event Grid system topic.')
param topicName string

@description('Required. Account of the patient data.')
param dataAccountName string

@description('Required. Account of the event queue and the artifacts.')
param opsAccountName string

@description('Required. Vault that workers read.')
param workerVaultName string

@description('Required. Vault that brokers read.')
param brokerVaultName string

@description('Required. Name of the autoscale setting of the regular scale set.')
param autoscaleName string

@description('Required. True if there is a Spot set, whose logs are collected as well.')
param spotEnabled bool

var settings = loadJsonContent('../../shared/settings.json')
var groupId = resourceGroup().id
var alerts = settings.alerts
var brokerCount = settings.shapes[shape].brokerCount
var queueAlerts = [
  {
    name: 'dead-letters'
    text: 'Jobs could not be read and were put aside: nightread dead list.'
    rule: alerts.deadLetters
    aggregation: 'Maximum'
    operator: 'GreaterThan'
  }
  {
    name: 'oldest-job-age'
    text: 'A job has waited long: the fleet does not keep up, or workers do not start.'
    rule: alerts.oldestJobAge
    aggregation: 'Maximum'
    operator: 'GreaterThan'
  }
  {
    name: 'storage-queue-depth'
    text: 'Announcements pile up before the broker: the relay does not run.'
    rule: alerts.storageQueueDepth
    aggregation: 'Maximum'
    operator: 'GreaterThan'
  }
  {
    name: 'broker-certificate'
    text: 'The certificate of the brokers ends soon: infra/scripts/rotate tls.'
    rule: alerts.brokerCertificate
    aggregation: 'Minimum'
    operator: 'LessThan'
  }
]

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: 'log-${name}'
  location: location
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: settings.retention.logDays
    features: {
      disableLocalAuth: true
    }
  }
}

resource collection 'Microsoft.Insights/dataCollectionRules@2023-03-11' = {
  name: 'dcr-${name}'
  location: location
  kind: 'Linux'
  properties: {
    dataSources: {
      syslog: [
        {
          name: 'services'
          streams: [
            'Microsoft-Syslog'
          ]
          facilityNames: [
            'daemon'
          ]
          logLevels: [
            'Info'
            'Notice'
            'Warning'
            'Error'
            'Critical'
            'Alert'
            'Emergency'
          ]
        }
      ]
    }
    destinations: {
      logAnalytics: [
        {
          name: 'workspace'
          workspaceResourceId: workspace.id
        }
      ]
    }
    dataFlows: [
      {
        streams: [
          'Microsoft-Syslog'
        ]
        destinations: [
          'workspace'
        ]
      }
    ]
  }
}

resource scaleSet 'Microsoft.Compute/virtualMachineScaleSets@2025-04-01' existing = {
  name: scaleSetName
}

resource spotSet 'Microsoft.Compute/virtualMachineScaleSets@2025-04-01' existing = {
  name: '${scaleSetName}-spot'
}

resource brokers 'Microsoft.Compute/virtualMachines@2025-04-01' existing = [for i in range(0, brokerCount): {
  name: 'vm-${name}-broker-${i}'
}]

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource data 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: dataAccountName
}

resource dataBlobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' existing = {
  parent: data
  name: 'default'
}

resource ops 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: opsAccountName
}

resource opsBlobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' existing = {
  parent: ops
  name: 'default'
}

resource opsQueues 'Microsoft.Storage/storageAccounts/queueServices@2025-06-01' existing = {
  parent: ops
  name: 'default'
}

resource workerVault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: workerVaultName
}

resource brokerVault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: brokerVaultName
}

resource autoscale 'Microsoft.Insights/autoscalesettings@2022-10-01' existing = {
  name: autoscaleName
}

resource collectWorkers 'Microsoft.Insights/dataCollectionRuleAssociations@2023-03-11' = {
  name: 'services'
  scope: scaleSet
  properties: {
    dataCollectionRuleId: collection.id
  }
}

resource collectSpot 'Microsoft.Insights/dataCollectionRuleAssociations@2023-03-11' = if (spotEnabled) {
  name: 'services'
  scope: spotSet
  properties: {
    dataCollectionRuleId: collection.id
  }
}

resource collectBrokers 'Microsoft.Insights/dataCollectionRuleAssociations@2023-03-11' = [for i in range(0, brokerCount): {
  name: 'services'
  scope: brokers[i]
  properties: {
    dataCollectionRuleId: collection.id
  }
}]

resource logData 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: dataBlobs
  properties: {
    workspaceId: workspace.id
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

resource logOpsBlobs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: opsBlobs
  properties: {
    workspaceId: workspace.id
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

resource logOpsQueues 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: opsQueues
  properties: {
    workspaceId: workspace.id
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

resource logWorkerVault 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: workerVault
  properties: {
    workspaceId: workspace.id
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

resource logBrokerVault 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: brokerVault
  properties: {
    workspaceId: workspace.id
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

resource logAutoscale 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: autoscale
  properties: {
    workspaceId: workspace.id
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

resource logTopic 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: topic
  properties: {
    workspaceId: workspace.id
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

resource notify 'Microsoft.Insights/actionGroups@2022-06-01' = {
  name: 'ag-${name}'
  location: 'global'
  properties: {
    enabled: true
    groupShortName: 'nightread'
    emailReceivers: [
      {
        name: 'team'
        emailAddress: alertEmail
        useCommonAlertSchema: true
      }
    ]
  }
}

resource queueAlert 'Microsoft.Insights/metricAlerts@2018-03-01' = [for alert in queueAlerts: {
  name: 'alert-${name}-${alert.name}'
  location: 'global'
  properties: {
    description: alert.text
    enabled: true
    severity: alert.rule.severity
    scopes: [
      scaleSet.id
    ]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT${alert.rule.windowMinutes}M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: alert.name
          metricNamespace: settings.metrics.namespace
          metricName: alert.rule.metric
          operator: alert.operator
          threshold: alert.rule.threshold
          timeAggregation: alert.aggregation
          // The metric does not exist before the brokers have run.
          skipMetricValidation: true
        }
      ]
    }
    actions: [
      {
        actionGroupId: notify.id
      }
    ]
  }
}]

resource undeliveredAlert 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'alert-${name}-events-undelivered'
  location: 'global'
  properties: {
    description: 'Event Grid gave up on announcements: nightread announce --from-event-grid-dead-letter.'
    enabled: true
    severity: 2
    scopes: [
      topic.id
    ]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'dead-lettered'
          metricNamespace: 'Microsoft.EventGrid/systemTopics'
          metricName: 'DeadLetteredCount'
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Total'
        }
      ]
    }
    actions: [
      {
        actionGroupId: notify.id
      }
    ]
  }
}

// Azure stops repairing a scale set whose new machines stay unhealthy; it says so only in the activity log.
module repairsSuspended 'br/public:avm/res/insights/activity-log-alert:0.4.2' = {
  name: 'alert-repairs-suspended'
  params: {
    name: 'alert-${name}-repairs-suspended'
    alertDescription: 'The state of automatic repairs changed: machines may stay broken.'
    enableTelemetry: false
    scopes: [
      scaleSet.id
    ]
    actions: [
      {
        actionGroupId: notify.id
      }
    ]
    conditions: [
      {
        field: 'category'
        equals: 'Administrative'
      }
      {
        field: 'operationName'
        equals: 'Microsoft.Compute/virtualMachineScaleSets/setOrchestrationServiceState/action'
      }
    ]
  }
}

// Failed scale actions, and a backlog metric that cannot be read, stand only in the activity log. The group holds both settings.
module autoscaleFailed 'br/public:avm/res/insights/activity-log-alert:0.4.2' = {
  name: 'alert-autoscale-failed'
  params: {
    name: 'alert-${name}-autoscale-failed'
    alertDescription: 'Autoscale could not read the backlog or could not change the fleet.'
    enableTelemetry: false
    scopes: [
      groupId
    ]
    actions: [
      {
        actionGroupId: notify.id
      }
    ]
    conditions: [
      {
        field: 'category'
        equals: 'Autoscale'
      }
      {
        field: 'status'
        equals: 'Failed'
      }
    ]
  }
}

@description('Workspace of all logs.')
output workspaceName string = workspace.name
