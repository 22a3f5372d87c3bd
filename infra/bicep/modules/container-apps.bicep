metadata description = 'Workers in Azure Container Apps: a registry, an environment in the network, the app that reads images, a job for each scan, and the nightly announcing.'

@description('Required. Name of the deployment, part of every resource name.')
param name string

@description('Required. Azure region.')
param location string

@description('Required. Shape of the deployment: dev or prod.')
param shape string

@description('Required. Tag of the image in the registry of this deployment.')
param imageTag string

@description('Required. Subnet that is delegated to the environment.')
param subnetId string

@description('Required. Subnet of the private endpoints.')
param endpointsSubnetId string

@description('Required. Private DNS zone of the registry.')
param registryZoneId string

@description('Required. Identity of the workers.')
param identityId string

@description('Required. Client id of the identity of the workers.')
param clientId string

@description('Required. Principal of the workers.')
param principalId string

@description('Required. Identity of the brokers, with which what has no result is announced.')
param brokerIdentityId string

@description('Required. Client id of the identity of the brokers.')
param brokerClientId string

@description('Required. Principal of the brokers.')
param brokerPrincipalId string

@description('Required. Vault that workers read.')
param vaultName string

@description('Required. Vault that brokers read.')
param brokerVaultName string

@description('Required. Account of the patient data.')
param dataAccountName string

@description('Required. Numbers that the fleet computes with: fp32 or int8.')
param precision string

@description('Required. Models of the container models that are read with; empty for those of the archive.')
param modelPins array

@description('Required. Public address ranges from which operators push images; empty closes the registry to all but its private endpoint.')
param operatorIpRanges array

@description('Required. Where metrics are written to by Prometheus remote write; empty for nowhere.')
param metricsWriteUrl string

var settings = loadJsonContent('../../shared/settings.json')
var containers = settings.containers
var operatorRules = [for cidr in operatorIpRanges: { action: 'Allow', value: cidr }]
var lanes = settings.names.laneQueues
var secrets = settings.names.secrets
var made = settings.names.containerSecrets
var replicas = settings.shapes[shape].regular.night
var image = '${registry.name}.azurecr.io/${containers.repository}:${imageTag}'
var workerEnv = [
  {
    name: 'AZURE_CLIENT_ID'
    value: clientId
  }
  {
    name: 'NIGHTREAD_STORAGE_KIND'
    value: 'azure'
  }
  {
    name: 'NIGHTREAD_STORAGE_ACCOUNT_URL'
    value: 'https://${dataAccountName}.blob.core.windows.net'
  }
  {
    name: 'NIGHTREAD_STORAGE_CLIENT_ID'
    value: clientId
  }
  {
    name: 'NIGHTREAD_STORAGE_SPOOL_DIR'
    value: settings.spool.folder
  }
  {
    name: 'NIGHTREAD_BROKER_CA_FILE'
    value: '${containers.brokerFolder}/${secrets.brokerCa}'
  }
  {
    name: 'NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS'
    value: string(settings.broker.consumerTimeoutSeconds)
  }
  {
    name: 'NIGHTREAD_BROKER_VOLUMES_CONSUMER_TIMEOUT_SECONDS'
    value: string(settings.broker.volumesConsumerTimeoutSeconds)
  }
  {
    name: 'NIGHTREAD_MODELS_PRECISION'
    value: precision
  }
  {
    name: 'NIGHTREAD_MODELS_REGISTRY'
    value: length(modelPins) != 0 ? settings.names.containers.models : ''
  }
  {
    name: 'NIGHTREAD_MODELS_PINNED'
    value: join(modelPins, ',')
  }
  {
    name: 'NIGHTREAD_MODELS_REGISTRY_CACHE'
    value: '${settings.spool.folder}/models'
  }
  {
    name: 'NIGHTREAD_HTTP_LISTEN'
    value: '0.0.0.0:${settings.ports.health}'
  }
  {
    name: 'NIGHTREAD_WORKER_DRAIN_SECONDS'
    value: string(settings.drain.deadlineSeconds)
  }
  {
    name: 'ORT_DISABLE_TELEMETRY'
    value: '1'
  }
  {
    name: 'NIGHTREAD_METRICS_WRITE_URL'
    value: metricsWriteUrl
  }
  {
    name: 'NIGHTREAD_METRICS_WRITE_AUDIENCE'
    value: settings.metrics.remoteWrite.audience
  }
  {
    name: 'NIGHTREAD_BROKER_URL'
    secretRef: made.brokerUrl
  }
]
var announceEnv = [
  {
    name: 'AZURE_CLIENT_ID'
    value: brokerClientId
  }
  {
    name: 'NIGHTREAD_STORAGE_KIND'
    value: 'azure'
  }
  {
    name: 'NIGHTREAD_STORAGE_ACCOUNT_URL'
    value: 'https://${dataAccountName}.blob.core.windows.net'
  }
  {
    name: 'NIGHTREAD_STORAGE_CLIENT_ID'
    value: brokerClientId
  }
  {
    name: 'NIGHTREAD_STORAGE_SPOOL_DIR'
    value: settings.spool.folder
  }
  {
    name: 'NIGHTREAD_BROKER_CA_FILE'
    value: '${containers.brokerFolder}/${secrets.brokerCa}'
  }
  {
    name: 'NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS'
    value: string(settings.broker.consumerTimeoutSeconds)
  }
  {
    name: 'NIGHTREAD_BROKER_VOLUMES_CONSUMER_TIMEOUT_SECONDS'
    value: string(settings.broker.volumesConsumerTimeoutSeconds)
  }
  {
    name: 'NIGHTREAD_MODELS_PRECISION'
    value: precision
  }
  {
    name: 'NIGHTREAD_MODELS_REGISTRY'
    value: length(modelPins) != 0 ? settings.names.containers.models : ''
  }
  {
    name: 'NIGHTREAD_MODELS_PINNED'
    value: join(modelPins, ',')
  }
  {
    name: 'NIGHTREAD_MODELS_REGISTRY_CACHE'
    value: '${settings.spool.folder}/models'
  }
  {
    name: 'NIGHTREAD_HTTP_LISTEN'
    value: '0.0.0.0:${settings.ports.health}'
  }
  {
    name: 'NIGHTREAD_WORKER_DRAIN_SECONDS'
    value: string(settings.drain.deadlineSeconds)
  }
  {
    name: 'ORT_DISABLE_TELEMETRY'
    value: '1'
  }
  {
    name: 'NIGHTREAD_BROKER_URL'
    secretRef: made.announceUrl
  }
]
var probes = [
  {
    type: 'Startup'
    httpGet: {
      path: settings.health.path
      port: settings.ports.health
    }
    periodSeconds: 10
    failureThreshold: 10
  }
  {
    type: 'Liveness'
    httpGet: {
      path: settings.health.path
      port: settings.ports.health
    }
    periodSeconds: 10
    failureThreshold: 3
  }
  {
    type: 'Readiness'
    httpGet: {
      path: '/ready'
      port: settings.ports.health
    }
    periodSeconds: 10
    failureThreshold: 3
  }
]
var mounts = [
  {
    volumeName: 'broker'
    mountPath: containers.brokerFolder
  }
  {
    volumeName: 'spool'
    mountPath: settings.spool.folder
  }
  {
    volumeName: 'tmp'
    mountPath: '/tmp'
  }
]
var volumes = [
  {
    name: 'broker'
    storageType: 'Secret'
  }
  {
    name: 'spool'
    storageType: 'EmptyDir'
  }
  {
    name: 'tmp'
    storageType: 'EmptyDir'
  }
]
var scalerAuth = [
  {
    secretRef: made.managementUrl
    triggerParameter: 'host'
  }
  {
    secretRef: secrets.brokerCa
    triggerParameter: 'ca'
  }
  {
    secretRef: 'tls'
    triggerParameter: 'tls'
  }
]

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  // checkov:skip=CKV_AZURE_139: closed unless operator ranges are given, which tests/test_safety.py holds it to
  // checkov:skip=CKV_AZURE_166: quarantine is a preview that nothing here could take images out of; a team scans its images where it builds them
  name: 'cr${name}'
  location: location
  sku: {
    name: 'Premium'
  }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
    dataEndpointEnabled: true
    policies: {
      retentionPolicy: {
        status: 'enabled'
        days: settings.retention.softDeleteDays
      }
    }
    publicNetworkAccess: empty(operatorIpRanges) ? 'Disabled' : 'Enabled'
    networkRuleBypassOptions: 'None'
    networkRuleSet: {
      defaultAction: 'Deny'
      ipRules: operatorRules
    }
    zoneRedundancy: shape == 'prod' ? 'Enabled' : 'Disabled'
  }
}

resource workersPull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, identityId, settings.roles.registryPull)
  scope: registry
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', settings.roles.registryPull)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource announcePulls 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, brokerIdentityId, settings.roles.registryPull)
  scope: registry
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', settings.roles.registryPull)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

module registryEndpoint 'private-endpoint.bicep' = {
  name: 'pe-registry'
  params: {
    name: 'pe-${name}-registry'
    location: location
    subnetId: endpointsSubnetId
    targetId: registry.id
    groupId: 'registry'
    zoneId: registryZoneId
  }
}

resource managed 'Microsoft.App/managedEnvironments@2025-07-01' = {
  name: 'cae-${name}'
  location: location
  properties: {
    vnetConfiguration: {
      internal: true
      infrastructureSubnetId: subnetId
    }
    publicNetworkAccess: 'Disabled'
    zoneRedundant: shape == 'prod'
    appLogsConfiguration: {
      destination: 'azure-monitor'
    }
    workloadProfiles: [
      {
        name: 'workers'
        workloadProfileType: containers.workloadProfile
        minimumCount: 0
        maximumCount: containers.workloadProfileMaximum
      }
    ]
  }
}

resource worker 'Microsoft.App/containerApps@2025-07-01' = {
  name: 'ca-${name}-worker'
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  dependsOn: [
    workersPull
  ]
  properties: {
    environmentId: managed.id
    workloadProfileName: 'workers'
    configuration: {
      activeRevisionsMode: 'Single'
      secrets: [
        {
          name: secrets.brokerCa
          keyVaultUrl: 'https://${vaultName}.vault.azure.net/secrets/${secrets.brokerCa}'
          identity: identityId
        }
        {
          name: made.brokerUrl
          keyVaultUrl: 'https://${vaultName}.vault.azure.net/secrets/${made.brokerUrl}'
          identity: identityId
        }
        {
          name: made.managementUrl
          keyVaultUrl: 'https://${vaultName}.vault.azure.net/secrets/${made.managementUrl}'
          identity: identityId
        }
        {
          // No secret: that the scaler speaks TLS is a parameter of its authentication.
          name: 'tls'
          value: 'enable'
        }
      ]
      registries: [
        {
          server: '${registry.name}.azurecr.io'
          identity: identityId
        }
      ]
    }
    template: {
      // Longer than a drain: what is killed before is redelivered and read again.
      terminationGracePeriodSeconds: settings.drain.stopTimeoutSeconds
      containers: [
        {
          name: 'nightread'
          image: image
          args: [
            'run'
            '--lanes'
            'ingest,bulk'
          ]
          env: workerEnv
          resources: {
            cpu: containers.cpu
            memory: containers.memory
          }
          probes: probes
          volumeMounts: mounts
        }
      ]
      scale: {
        minReplicas: replicas.minimum
        maxReplicas: replicas.maximum
        pollingInterval: containers.pollingSeconds
        cooldownPeriod: containers.cooldownSeconds
        rules: [
          {
            name: 'ingest'
            custom: {
              type: 'rabbitmq'
              metadata: {
                protocol: 'http'
                queueName: lanes.ingest
                mode: 'QueueLength'
                value: string(containers.messagesPerReplica)
                excludeUnacknowledged: 'false'
              }
              auth: scalerAuth
            }
          }
          {
            name: 'bulk'
            custom: {
              type: 'rabbitmq'
              metadata: {
                protocol: 'http'
                queueName: lanes.bulk
                mode: 'QueueLength'
                value: string(containers.messagesPerReplica)
                excludeUnacknowledged: 'false'
              }
              auth: scalerAuth
            }
          }
          {
            name: 'quarantine'
            custom: {
              type: 'rabbitmq'
              metadata: {
                protocol: 'http'
                queueName: settings.names.quarantineQueue
                mode: 'QueueLength'
                value: string(containers.messagesPerReplica)
                excludeUnacknowledged: 'false'
              }
              auth: scalerAuth
            }
          }
        ]
      }
      volumes: volumes
    }
  }
}

// One run for each scan: it takes one delivery, finishes it, and ends.
resource scans 'Microsoft.App/jobs@2025-07-01' = {
  name: 'caj-${name}-volumes'
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  dependsOn: [
    workersPull
  ]
  properties: {
    environmentId: managed.id
    workloadProfileName: 'workers'
    configuration: {
      triggerType: 'Event'
      // Longer than the broker lets a delivery be in hand, and the drain after it.
      replicaTimeout: containers.volumesTimeoutSeconds
      replicaRetryLimit: 0
      eventTriggerConfig: {
        parallelism: 1
        replicaCompletionCount: 1
        scale: {
          pollingInterval: containers.pollingSeconds
          minExecutions: 0
          maxExecutions: containers.volumesMaximum
          rules: [
            {
              name: 'volumes'
              type: 'rabbitmq'
              metadata: {
                protocol: 'http'
                queueName: lanes.volumes
                mode: 'QueueLength'
                value: '1'
                excludeUnacknowledged: 'false'
              }
              auth: scalerAuth
            }
          ]
        }
      }
      secrets: [
        {
          name: secrets.brokerCa
          keyVaultUrl: 'https://${vaultName}.vault.azure.net/secrets/${secrets.brokerCa}'
          identity: identityId
        }
        {
          name: made.brokerUrl
          keyVaultUrl: 'https://${vaultName}.vault.azure.net/secrets/${made.brokerUrl}'
          identity: identityId
        }
        {
          name: made.managementUrl
          keyVaultUrl: 'https://${vaultName}.vault.azure.net/secrets/${made.managementUrl}'
          identity: identityId
        }
        {
          // No secret: that the scaler speaks TLS is a parameter of its authentication.
          name: 'tls'
          value: 'enable'
        }
      ]
      registries: [
        {
          server: '${registry.name}.azurecr.io'
          identity: identityId
        }
      ]
    }
    template: {
      containers: [
        {
          name: 'nightread'
          image: image
          args: [
            'run'
            '--lanes'
            'volumes'
            '--jobs'
            '1'
          ]
          env: workerEnv
          resources: {
            cpu: containers.cpu
            memory: containers.memory
          }
          volumeMounts: mounts
        }
      ]
      volumes: volumes
    }
  }
}

resource announce 'Microsoft.App/jobs@2025-07-01' = {
  name: 'caj-${name}-announce'
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${brokerIdentityId}': {}
    }
  }
  dependsOn: [
    announcePulls
  ]
  properties: {
    environmentId: managed.id
    workloadProfileName: 'workers'
    configuration: {
      triggerType: 'Schedule'
      replicaTimeout: containers.announceTimeoutSeconds
      replicaRetryLimit: 2
      scheduleTriggerConfig: {
        cronExpression: containers.announceSchedule
        parallelism: 1
        replicaCompletionCount: 1
      }
      secrets: [
        {
          name: secrets.brokerCa
          keyVaultUrl: 'https://${brokerVaultName}.vault.azure.net/secrets/${secrets.brokerCa}'
          identity: brokerIdentityId
        }
        {
          name: made.announceUrl
          keyVaultUrl: 'https://${brokerVaultName}.vault.azure.net/secrets/${made.announceUrl}'
          identity: brokerIdentityId
        }
      ]
      registries: [
        {
          server: '${registry.name}.azurecr.io'
          identity: brokerIdentityId
        }
      ]
    }
    template: {
      containers: [
        {
          name: 'nightread'
          image: image
          args: [
            'announce'
            '--modified-since'
            settings.reconcile.modifiedSince
            '--skip-done'
          ]
          env: announceEnv
          resources: {
            cpu: containers.cpu
            memory: containers.memory
          }
          volumeMounts: mounts
        }
      ]
      volumes: volumes
    }
  }
}

@description('Server of the registry, to which the image is pushed.')
output registryServer string = '${registry.name}.azurecr.io'
