metadata description = 'Nightread on Azure: a fleet of CPU workers that grows with the backlog and goes away.'

targetScope = 'resourceGroup'

@description('Required. Name of the deployment, globally unique: storage accounts and vaults are named after it. Lower-case letters and digits, beginning with a letter.')
@minLength(3)
@maxLength(12)
param name string

@description('Optional. Azure region; by default that of the resource group.')
param location string = resourceGroup().location

@description('Optional. dev is one broker and one worker; prod is three zonal brokers and a fleet by day and by night.')
@allowed([
  'dev'
  'prod'
])
param shape string = 'prod'

@description('Required. Name of the worker archive in the artifacts container.')
@minLength(1)
param workerArchiveName string

@description('Required. SHA-256 of the worker archive, 64 hexadecimal digits.')
@minLength(64)
@maxLength(64)
param workerArchiveSha256 string

@description('Required. Name of the archive of broker packages in the artifacts container.')
@minLength(1)
param brokerPackagesName string

@description('Required. SHA-256 of the archive of broker packages, 64 hexadecimal digits.')
@minLength(64)
@maxLength(64)
param brokerPackagesSha256 string

@description('Required. Numbers that the whole fleet computes with; never a mixture.')
@allowed([
  'fp32'
  'int8'
])
param precision string

@description('Optional. Models that workers and brokers fetch from the container models, as nightread models push prints them: NAME@sha256:DIGEST. They replace those of the archive. Empty for those of the archive.')
param modelPins array = []

@description('Required. SSH public key of the administrator. No port is open for it.')
@minLength(80)
param adminSshPublicKey string

@description('Required. Where alerts are sent.')
@minLength(6)
param alertEmail string

@description('Optional. False for the first deployment; true once the backlog metric has been seen, which adds the autoscale rules.')
param autoscaleOnBacklog bool = false

@description('Optional. What workers run on: scale sets of machines, or Container Apps. With the latter the regular scale set stays without machines, as the subject of metrics and alerts and as the way back.')
@allowed([
  'scaleSets'
  'containerApps'
])
param compute string = 'scaleSets'

@description('Optional. Tag of the worker image in the registry of the deployment; for Container Apps.')
@minLength(1)
param workerImageTag string = 'latest'

@description('Optional. Adds a second scale set of Spot machines, prod only.')
param spotEnabled bool = false

@description('Optional. Workers at the first deployment; autoscale changes it afterwards.')
@minValue(0)
@maxValue(100)
param workerCapacity int = 1

@description('Optional. Workers that the regular set has now, as scripts/deploy reads it; -1 before there is a set. A deployment writes the number, and without this one would shrink the fleet.')
@minValue(-1)
@maxValue(1000)
param presentCapacity int = -1

@description('Optional. The same of the Spot set.')
@minValue(-1)
@maxValue(1000)
param presentSpotCapacity int = -1

@description('Optional. Size of the workers. It needs a local disk for the operating system.')
param workerVmSize string = loadJsonContent('../shared/settings.json').sizes.worker

@description('Optional. Public IPv4 addresses, or ranges of /24 or longer, from which operators seed secrets and upload artifacts; the patient data is never opened.')
param operatorIpRanges array = []

@description('Optional. Where brokers find the packages of their own system, so that Azure can patch them: addresses of a mirror, on ports 80 and 443. Empty leaves them without a way to any.')
param packageMirrorRanges array = []

@description('Optional. Resource id of an Azure Monitor workspace, to which workers and brokers write all their metrics by Prometheus remote write. Empty leaves them where they are served.')
param metricsWorkspaceId string = ''

@description('Optional. Start of the names of blobs in the container incoming that are files of CT series, such as ct/. They are gathered by nightread assemble on the brokers, from a queue of their own. Empty for none.')
@maxLength(200)
param seriesPrefix string = ''

@description('Optional. Model that reads the series; required with seriesPrefix.')
@maxLength(64)
param seriesModel string = ''

var onContainers = compute == 'containerApps'
var spot = spotEnabled && shape == 'prod' && compute == 'scaleSets'
var firstCapacity = onContainers ? 0 : workerCapacity
var gathersSeries = seriesPrefix != '' || seriesModel != ''
var pinsModels = length(modelPins) != 0
var writesMetrics = metricsWorkspaceId != ''

// What is no address, or wider than a site's own range, ends the deployment before anything opens.
module operatorRanges 'modules/address-range.bicep' = [for cidr in operatorIpRanges: {
  name: 'operators-${replace(replace(cidr, '.', '-'), '/', '-')}'
  params: {
    octets: length(split(split(cidr, '/')[0], '.'))
    first: int(split(split(cidr, '/')[0], '.')[0])
    second: int(split(split(cidr, '/')[0], '.')[1])
    third: int(split(split(cidr, '/')[0], '.')[2])
    fourth: int(split(split(cidr, '/')[0], '.')[3])
    prefix: int(contains(cidr, '/') ? split(cidr, '/')[1] : '32')
  }
}]

module mirrorRanges 'modules/address-range.bicep' = [for cidr in packageMirrorRanges: {
  name: 'mirror-${replace(replace(cidr, '.', '-'), '/', '-')}'
  params: {
    octets: length(split(split(cidr, '/')[0], '.'))
    first: int(split(split(cidr, '/')[0], '.')[0])
    second: int(split(split(cidr, '/')[0], '.')[1])
    third: int(split(split(cidr, '/')[0], '.')[2])
    fourth: int(split(split(cidr, '/')[0], '.')[3])
    prefix: int(contains(cidr, '/') ? split(cidr, '/')[1] : '32')
  }
}]

// What is no pin ends the deployment before any machine looks for it.
module modelPin 'modules/model-pin.bicep' = [for pin in modelPins: {
  name: 'model-pin-${split(pin, '@')[0]}'
  params: {
    parts: length(split(pin, '@'))
    model: split(pin, '@')[0]
    algorithm: split(split(pin, '@')[1], ':')[0]
    digest: split(split(pin, '@')[1], ':')[1]
  }
}]

// Half of what there is to say of series ends the deployment before anything is made for them.
module series 'modules/series.bicep' = if (gathersSeries) {
  name: 'series'
  params: {
    prefix: seriesPrefix
    model: seriesModel
    compute: compute
  }
}

// What is no workspace ends the deployment before anything is made for it.
module metricsWorkspace 'modules/workspace-id.bicep' = if (writesMetrics) {
  name: 'metrics-workspace'
  params: {
    parts: length(split(metricsWorkspaceId, '/'))
    before: split(metricsWorkspaceId, '/')[0]
    subscriptionWord: split(metricsWorkspaceId, '/')[1]
    subscriptionId: split(metricsWorkspaceId, '/')[2]
    groupWord: split(metricsWorkspaceId, '/')[3]
    groupName: split(metricsWorkspaceId, '/')[4]
    providerWord: split(metricsWorkspaceId, '/')[5]
    provider: split(metricsWorkspaceId, '/')[6]
    kind: split(metricsWorkspaceId, '/')[7]
    workspace: split(metricsWorkspaceId, '/')[8]
  }
}

module network 'modules/network.bicep' = {
  name: 'network'
  params: {
    name: name
    location: location
    packageMirrorRanges: packageMirrorRanges
  }
  dependsOn: [
    mirrorRanges
  ]
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  params: {
    name: name
    location: location
    endpointsSubnetId: network.outputs.endpointsSubnetId
    vaultZoneId: network.outputs.vaultZoneId
    operatorIpRanges: operatorIpRanges
  }
  dependsOn: [
    operatorRanges
  ]
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  params: {
    name: name
    location: location
    shape: shape
    endpointsSubnetId: network.outputs.endpointsSubnetId
    blobZoneId: network.outputs.blobZoneId
    queueZoneId: network.outputs.queueZoneId
    workerPrincipalId: identity.outputs.workerPrincipalId
    brokerPrincipalId: identity.outputs.brokerPrincipalId
    eventsPrincipalId: identity.outputs.eventsPrincipalId
    operatorIpRanges: operatorIpRanges
    gathersSeries: gathersSeries
    pinsModels: pinsModels
  }
  dependsOn: [
    operatorRanges
    series
  ]
}

module events 'modules/events.bicep' = {
  name: 'events'
  params: {
    name: name
    location: location
    dataAccountId: storage.outputs.dataAccountId
    opsAccountId: storage.outputs.opsAccountId
    eventsIdentityId: identity.outputs.eventsIdentityId
    seriesPrefix: seriesPrefix
  }
}

module metrics 'modules/metrics.bicep' = if (writesMetrics) {
  name: 'metrics'
  params: {
    name: name
    location: location
    workspaceId: metricsWorkspaceId
    workerPrincipalId: identity.outputs.workerPrincipalId
    brokerPrincipalId: identity.outputs.brokerPrincipalId
  }
  dependsOn: [
    metricsWorkspace
  ]
}

module broker 'modules/broker.bicep' = {
  name: 'broker'
  params: {
    name: name
    location: location
    shape: shape
    subnetId: network.outputs.brokersSubnetId
    identityId: identity.outputs.brokerIdentityId
    clientId: identity.outputs.brokerClientId
    vaultName: identity.outputs.brokerVaultName
    dataAccountName: storage.outputs.dataAccountName
    opsAccountName: storage.outputs.opsAccountName
    managementTls: onContainers
    metricsWriteUrl: writesMetrics ? metrics.outputs.writeUrl : ''
    seriesPrefix: seriesPrefix
    seriesModel: seriesModel
    packagesName: brokerPackagesName
    packagesSha256: brokerPackagesSha256
    archiveName: workerArchiveName
    archiveSha256: workerArchiveSha256
    precision: precision
    modelPins: modelPins
    adminSshPublicKey: adminSshPublicKey
  }
}

module workers 'modules/workers.bicep' = {
  name: 'workers'
  params: {
    name: name
    location: location
    shape: shape
    vmSize: workerVmSize
    capacity: presentCapacity >= 0 && compute == 'scaleSets' ? presentCapacity : firstCapacity
    spotCapacity: presentSpotCapacity >= 0 ? presentSpotCapacity : 0
    spotEnabled: spot
    subnetId: network.outputs.workersSubnetId
    identityId: identity.outputs.workerIdentityId
    clientId: identity.outputs.workerClientId
    vaultName: identity.outputs.workerVaultName
    dataAccountName: storage.outputs.dataAccountName
    opsAccountName: storage.outputs.opsAccountName
    archiveName: workerArchiveName
    archiveSha256: workerArchiveSha256
    precision: precision
    modelPins: modelPins
    adminSshPublicKey: adminSshPublicKey
    brokerPrincipalId: identity.outputs.brokerPrincipalId
    metricsWriteUrl: writesMetrics ? metrics.outputs.writeUrl : ''
    seriesPrefix: seriesPrefix
    seriesModel: seriesModel
  }
}

module containerApps 'modules/container-apps.bicep' = if (onContainers) {
  name: 'container-apps'
  params: {
    name: name
    location: location
    shape: shape
    imageTag: workerImageTag
    subnetId: network.outputs.containersSubnetId
    endpointsSubnetId: network.outputs.endpointsSubnetId
    registryZoneId: network.outputs.registryZoneId
    identityId: identity.outputs.workerIdentityId
    clientId: identity.outputs.workerClientId
    principalId: identity.outputs.workerPrincipalId
    brokerIdentityId: identity.outputs.brokerIdentityId
    brokerClientId: identity.outputs.brokerClientId
    brokerPrincipalId: identity.outputs.brokerPrincipalId
    vaultName: identity.outputs.workerVaultName
    brokerVaultName: identity.outputs.brokerVaultName
    dataAccountName: storage.outputs.dataAccountName
    precision: precision
    modelPins: modelPins
    metricsWriteUrl: writesMetrics ? metrics.outputs.writeUrl : ''
    operatorIpRanges: operatorIpRanges
  }
}

module autoscale 'modules/autoscale.bicep' = {
  name: 'autoscale'
  params: {
    name: 'autoscale-${name}-workers'
    location: location
    targetId: workers.outputs.scaleSetId
    metricResourceId: workers.outputs.scaleSetId
    kind: 'regular'
    shape: shape
    onBacklog: autoscaleOnBacklog && compute == 'scaleSets'
    fixedCapacity: firstCapacity
  }
}

module autoscaleSpot 'modules/autoscale.bicep' = if (spot) {
  name: 'autoscale-spot'
  params: {
    name: 'autoscale-${name}-workers-spot'
    location: location
    targetId: '${workers.outputs.scaleSetId}-spot'
    metricResourceId: workers.outputs.scaleSetId
    kind: 'spot'
    shape: shape
    onBacklog: autoscaleOnBacklog
    fixedCapacity: 0
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  params: {
    name: name
    location: location
    shape: shape
    alertEmail: alertEmail
    scaleSetName: workers.outputs.scaleSetName
    topicName: events.outputs.topicName
    dataAccountName: storage.outputs.dataAccountName
    opsAccountName: storage.outputs.opsAccountName
    workerVaultName: identity.outputs.workerVaultName
    brokerVaultName: identity.outputs.brokerVaultName
    autoscaleName: autoscale.outputs.name
    spotEnabled: spot
  }
  dependsOn: [
    broker
  ]
}

@description('Account of the patient data.')
output dataAccount string = storage.outputs.dataAccountName

@description('Account of the artifacts and the event queue.')
output opsAccount string = storage.outputs.opsAccountName

@description('Vault to seed with the secrets of the workers.')
output workerVault string = identity.outputs.workerVaultName

@description('Vault to seed with the secrets of the brokers.')
output brokerVault string = identity.outputs.brokerVaultName

@description('Regular scale set.')
output scaleSet string = workers.outputs.scaleSetName
