metadata description = 'The workers: cloud-init, the regular scale set, and the optional Spot set.'

@description('Required. Name of the deployment, part of every resource name.')
param name string

@description('Required. Azure region.')
param location string

@description('Required. Shape of the deployment: dev or prod.')
param shape string

@description('Required. Size of the workers.')
param vmSize string

@description('Required. Number of workers at deployment.')
param capacity int

@description('Required. Number of Spot workers at deployment.')
param spotCapacity int

@description('Required. True adds the Spot set.')
param spotEnabled bool

@description('Required. Subnet of the workers.')
param subnetId string

@description('Required. Identity of the workers.')
param identityId string

@description('Required. Client id of the identity of the workers.')
param clientId string

@description('Required. Vault that workers read.')
param vaultName string

@description('Required. Account of the patient data.')
param dataAccountName string

@description('Required. Account of the artifacts.')
param opsAccountName string

@description('Required. Name of the worker archive in the artifacts container.')
param archiveName string

@description('Required. SHA-256 of the worker archive.')
param archiveSha256 string

@description('Required. Numbers that the fleet computes with: fp32 or int8.')
param precision string

@description('Required. Models of the container models that are read with; empty for those of the archive.')
param modelPins array

@description('Required. Public key of the administrator.')
param adminSshPublicKey string

@description('Required. Principal of the brokers, which publish the backlog metric about the scale set.')
param brokerPrincipalId string

@description('Required. Where metrics are written to by Prometheus remote write; empty for nowhere.')
param metricsWriteUrl string

@description('Required. Start of the names of files of CT series; empty for none.')
param seriesPrefix string

@description('Required. Model that reads the series; empty for none.')
param seriesModel string

var settings = loadJsonContent('../../shared/settings.json')
var net = settings.network
var roles = settings.roles
var route = replace(replace(replace(loadTextContent('../../shared/series/route.toml'), '@@INCOMING@@', settings.names.containers.incoming), '@@SERIES_PREFIX@@', seriesPrefix), '@@SERIES_MODEL@@', seriesModel)
var template = loadTextContent('../../shared/cloud-init/worker.yaml')
var r01 = replace(template, '@@AZURE_FETCH_B64@@', base64(loadTextContent('../../shared/scripts/azure-fetch')))
var r02 = replace(r01, '@@SETUP_B64@@', base64(loadTextContent('../../shared/scripts/setup-worker')))
var r03 = replace(r02, '@@IDENTITY_CLIENT_ID@@', clientId)
var r04 = replace(r03, '@@VAULT@@', vaultName)
var r05 = replace(r04, '@@DATA_ACCOUNT@@', dataAccountName)
var r06 = replace(r05, '@@OPS_ACCOUNT@@', opsAccountName)
var r07 = replace(r06, '@@ARTIFACTS@@', settings.names.containers.artifacts)
var r08 = replace(r07, '@@ARCHIVE_NAME@@', archiveName)
var r09 = replace(r08, '@@ARCHIVE_SHA256@@', archiveSha256)
var r10 = replace(r09, '@@PRECISION@@', precision)
var r11 = replace(r10, '@@BROKER_HOST@@', '${net.brokerHost}.${net.internalZone}')
var r12 = replace(r11, '@@AMQPS_PORT@@', string(settings.ports.amqps))
var r13 = replace(r12, '@@HEALTH_PORT@@', string(settings.ports.health))
var r14 = replace(r13, '@@DRAIN_SECONDS@@', string(settings.drain.deadlineSeconds))
var r15 = replace(r14, '@@BROKER_USER@@', settings.names.brokerUsers.worker)
var r16 = replace(r15, '@@SECRET_PASSWORD@@', settings.names.secrets.workerPassword)
var r17 = replace(r16, '@@SECRET_CA@@', settings.names.secrets.brokerCa)
var r18 = replace(r17, '@@SPOOL_DIR@@', settings.spool.folder)
var r19 = replace(r18, '@@METRICS_AUDIENCE@@', settings.metrics.remoteWrite.audience)
var r20 = replace(r19, '@@CONSUMER_TIMEOUT_SECONDS@@', string(settings.broker.consumerTimeoutSeconds))
var r21 = replace(r20, '@@VOLUMES_CONSUMER_TIMEOUT_SECONDS@@', string(settings.broker.volumesConsumerTimeoutSeconds))
var r22 = replace(r21, '@@SERIES_ROUTE_B64@@', seriesPrefix != '' ? base64(route) : '')
var r23 = replace(r22, '@@MODELS_REGISTRY@@', length(modelPins) != 0 ? settings.names.containers.models : '')
var r24 = replace(r23, '@@MODEL_PINS@@', join(modelPins, ','))
var customData = replace(r24, '@@METRICS_WRITE_URL@@', metricsWriteUrl)

module regular 'scale-set.bicep' = {
  name: 'scale-set-regular'
  params: {
    name: 'vmss-${name}-workers'
    location: location
    zones: settings.shapes[shape].workerZones
    vmSize: vmSize
    capacity: capacity
    spot: false
    subnetId: subnetId
    identityId: identityId
    customData: customData
    adminSshPublicKey: adminSshPublicKey
  }
}

module spot 'scale-set.bicep' = if (spotEnabled) {
  name: 'scale-set-spot'
  params: {
    name: 'vmss-${name}-workers-spot'
    location: location
    zones: settings.shapes[shape].workerZones
    vmSize: vmSize
    capacity: spotCapacity
    spot: true
    subnetId: subnetId
    identityId: identityId
    customData: customData
    adminSshPublicKey: adminSshPublicKey
  }
}

resource scaleSet 'Microsoft.Compute/virtualMachineScaleSets@2025-04-01' existing = {
  name: 'vmss-${name}-workers'
}

resource brokerPublishesBacklog 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(scaleSet.id, brokerPrincipalId, roles.metricsPublisher)
  scope: scaleSet
  dependsOn: [
    regular
  ]
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.metricsPublisher)
    principalId: brokerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

@description('Resource id of the regular scale set.')
output scaleSetId string = regular.outputs.id

@description('Name of the regular scale set.')
output scaleSetName string = regular.outputs.name
