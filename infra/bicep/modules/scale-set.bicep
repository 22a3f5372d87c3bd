metadata description = 'One uniform scale set of workers, regular or Spot: no public address, ephemeral disk, trusted launch, drained before it goes.'

@description('Required. Name of the scale set.')
param name string

@description('Required. Azure region.')
param location string

@description('Required. Availability zones.')
param zones array

@description('Required. Size of the virtual machines; it needs a local disk for the operating system.')
param vmSize string

@description('Required. Number of workers at deployment; autoscale changes it afterwards.')
param capacity int

@description('Required. True for machines that can be evicted.')
param spot bool

@description('Required. Subnet of the workers.')
param subnetId string

@description('Required. Identity of the workers.')
param identityId string

@description('Required. Rendered cloud-init of the workers.')
param customData string

@description('Required. Public key of the administrator; no port is open for it, it serves the serial console and boot.')
param adminSshPublicKey string

var settings = loadJsonContent('../../shared/settings.json')
var health = settings.health
var image = settings.images.worker
var upgrade = settings.upgrade
var nvmeOnly = contains(vmSize, '_v6') || contains(vmSize, '_v7')
var adminUser = 'azureadmin'
var payAsYouGoPrice = {
  maxPrice: -1
}
var terminateNotice = {
  terminateNotificationProfile: {
    enable: true
    notBeforeTimeout: 'PT${settings.drain.terminateNotificationMinutes}M'
  }
}

resource workers 'Microsoft.Compute/virtualMachineScaleSets@2025-04-01' = {
  name: name
  location: location
  zones: zones
  sku: {
    name: vmSize
    tier: 'Standard'
    capacity: capacity
  }
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    orchestrationMode: 'Uniform'
    // Doubled machines would take messages and be deleted while they work on them.
    overprovision: false
    singlePlacementGroup: false
    zoneBalance: false
    platformFaultDomainCount: 1
    scaleInPolicy: {
      rules: [
        'OldestVM'
      ]
    }
    automaticRepairsPolicy: {
      enabled: true
      gracePeriod: 'PT${health.repairGraceMinutes}M'
      repairAction: 'Replace'
    }
    upgradePolicy: {
      mode: 'Rolling'
      automaticOSUpgradePolicy: {
        enableAutomaticOSUpgrade: true
        disableAutomaticRollback: false
        useRollingUpgradePolicy: true
      }
      rollingUpgradePolicy: {
        maxBatchInstancePercent: upgrade.maxBatchInstancePercent
        maxUnhealthyInstancePercent: upgrade.maxUnhealthyInstancePercent
        maxUnhealthyUpgradedInstancePercent: upgrade.maxUnhealthyUpgradedInstancePercent
        pauseTimeBetweenBatches: 'PT${upgrade.pauseSeconds}S'
        prioritizeUnhealthyInstances: true
        // Replaces machines instead of reimaging them, and a machine that is deleted is told so first and drains.
        maxSurge: true
      }
    }
    virtualMachineProfile: {
      priority: spot ? 'Spot' : 'Regular'
      evictionPolicy: spot ? 'Delete' : json('null')
      billingProfile: spot ? payAsYouGoPrice : json('null')
      securityProfile: {
        encryptionAtHost: true
        securityType: 'TrustedLaunch'
        uefiSettings: {
          secureBootEnabled: true
          vTpmEnabled: true
        }
      }
      // Azure refuses terminate notification on Spot machines; they get the 30 s notice of an eviction.
      scheduledEventsProfile: spot ? json('null') : terminateNotice
      osProfile: {
        computerNamePrefix: spot ? 'nrspot' : 'nrwork'
        adminUsername: adminUser
        customData: base64(customData)
        linuxConfiguration: {
          disablePasswordAuthentication: true
          provisionVMAgent: true
          ssh: {
            publicKeys: [
              {
                path: '/home/${adminUser}/.ssh/authorized_keys'
                keyData: adminSshPublicKey
              }
            ]
          }
        }
      }
      storageProfile: {
        imageReference: image
        osDisk: {
          createOption: 'FromImage'
          caching: 'ReadOnly'
          // Of the local disk, so that it costs nothing: the image's own size leaves no room for scans of gigabytes.
          diskSizeGB: settings.spool.systemDiskGib
          diffDiskSettings: {
            option: 'Local'
            placement: nvmeOnly ? 'NvmeDisk' : 'ResourceDisk'
          }
          managedDisk: {
            storageAccountType: 'Standard_LRS'
          }
        }
      }
      diagnosticsProfile: {
        bootDiagnostics: {
          enabled: true
        }
      }
      networkProfile: {
        networkInterfaceConfigurations: [
          {
            name: 'nic'
            properties: {
              primary: true
              enableAcceleratedNetworking: true
              enableIPForwarding: false
              ipConfigurations: [
                {
                  name: 'ipconfig'
                  properties: {
                    primary: true
                    subnet: {
                      id: subnetId
                    }
                  }
                }
              ]
            }
          }
        ]
      }
      extensionProfile: {
        extensions: [
          {
            name: 'health'
            properties: {
              publisher: 'Microsoft.ManagedServices'
              type: 'ApplicationHealthLinux'
              typeHandlerVersion: '2.0'
              autoUpgradeMinorVersion: true
              enableAutomaticUpgrade: true
              settings: {
                protocol: 'http'
                port: settings.ports.health
                requestPath: health.path
                intervalInSeconds: health.intervalSeconds
                numberOfProbes: health.probes
                gracePeriod: health.gracePeriodSeconds
              }
            }
          }
          {
            name: 'monitor'
            properties: {
              publisher: 'Microsoft.Azure.Monitor'
              type: 'AzureMonitorLinuxAgent'
              typeHandlerVersion: '1.33'
              autoUpgradeMinorVersion: true
              enableAutomaticUpgrade: true
              settings: {
                authentication: {
                  managedIdentity: {
                    'identifier-name': 'mi_res_id'
                    'identifier-value': identityId
                  }
                }
              }
            }
          }
        ]
      }
    }
  }
}

@description('Resource id of the scale set.')
output id string = workers.id

@description('Name of the scale set.')
output name string = workers.name
