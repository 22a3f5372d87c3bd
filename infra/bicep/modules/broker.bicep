metadata description = 'RabbitMQ on separate zonal machines with fixed names and addresses; beside it the relay, the backlog metric and the nightly reconciliation.'

@description('Required. Name of the deployment, part of every resource name.')
param name string

@description('Required. Azure region.')
param location string

@description('Required. Shape of the deployment: dev or prod.')
param shape string

@description('Required. Subnet of the brokers.')
param subnetId string

@description('Required. Identity of the brokers.')
param identityId string

@description('Required. Client id of the identity of the brokers.')
param clientId string

@description('Required. Vault that brokers read.')
param vaultName string

@description('Required. Account of the patient data.')
param dataAccountName string

@description('Required. Account of the event queue and the artifacts.')
param opsAccountName string

@description('Required. Name of the archive of broker packages in the artifacts container.')
param packagesName string

@description('Required. SHA-256 of the archive of broker packages.')
param packagesSha256 string

@description('Required. Name of the worker archive in the artifacts container; the relay is the same binary.')
param archiveName string

@description('Required. SHA-256 of the worker archive.')
param archiveSha256 string

@description('Required. Numbers that the fleet computes with: fp32 or int8.')
param precision string

@description('Required. Models of the container models that are read with; empty for those of the archive.')
param modelPins array

@description('Required. Public key of the administrator; no port is open for it, it serves the serial console and boot.')
param adminSshPublicKey string

@description('Required. True lets the management API answer the scaler of containers, by TLS; false leaves it on the machine itself.')
param managementTls bool

@description('Required. Where metrics are written to by Prometheus remote write; empty for nowhere.')
param metricsWriteUrl string

@description('Required. Start of the names of files of CT series; empty for none.')
param seriesPrefix string

@description('Required. Model that reads the series; empty for none.')
param seriesModel string

var settings = loadJsonContent('../../shared/settings.json')
var net = settings.network
var names = settings.names
var secrets = settings.names.secrets
var users = settings.names.brokerUsers
var brokerCount = settings.shapes[shape].brokerCount
var image = settings.images.broker
var adminUser = 'azureadmin'
var scaleSetId = resourceId('Microsoft.Compute/virtualMachineScaleSets', 'vmss-${name}-workers')
var route = replace(replace(replace(loadTextContent('../../shared/series/route.toml'), '@@INCOMING@@', names.containers.incoming), '@@SERIES_PREFIX@@', seriesPrefix), '@@SERIES_MODEL@@', seriesModel)
var template = loadTextContent('../../shared/cloud-init/broker.yaml')
var r01 = replace(template, '@@AZURE_FETCH_B64@@', base64(loadTextContent('../../shared/scripts/azure-fetch')))
var r02 = replace(r01, '@@SETUP_B64@@', base64(loadTextContent('../../shared/scripts/setup-broker')))
var r03 = replace(r02, '@@RABBITMQ_CONF_B64@@', base64(loadTextContent('../../shared/rabbitmq/rabbitmq.conf')))
var r04 = replace(r03, '@@IDENTITY_CLIENT_ID@@', clientId)
var r05 = replace(r04, '@@VAULT@@', vaultName)
var r06 = replace(r05, '@@DATA_ACCOUNT@@', dataAccountName)
var r07 = replace(r06, '@@OPS_ACCOUNT@@', opsAccountName)
var r08 = replace(r07, '@@ARTIFACTS@@', names.containers.artifacts)
var r09 = replace(r08, '@@PACKAGES_NAME@@', packagesName)
var r10 = replace(r09, '@@PACKAGES_SHA256@@', packagesSha256)
var r11 = replace(r10, '@@ARCHIVE_NAME@@', archiveName)
var r12 = replace(r11, '@@ARCHIVE_SHA256@@', archiveSha256)
var r13 = replace(r12, '@@PRECISION@@', precision)
var r14 = replace(r13, '@@BROKER_COUNT@@', string(brokerCount))
var r15 = replace(r14, '@@INTERNAL_ZONE@@', net.internalZone)
var r16 = replace(r15, '@@BROKER_HOST@@', net.brokerHost)
var r17 = replace(r16, '@@MINIMUM_VERSION@@', settings.broker.minimumVersion)
var r18 = replace(r17, '@@AMQPS_PORT@@', string(settings.ports.amqps))
var r19 = replace(r18, '@@MANAGEMENT_PORT@@', string(settings.ports.management))
var r20 = replace(r19, '@@DISTRIBUTION_PORT@@', string(settings.ports.erlangDistribution))
var r21 = replace(r20, '@@CONSUMER_TIMEOUT_MS@@', string(settings.broker.consumerTimeoutSeconds * 1000))
var r22 = replace(r21, '@@DISK_FREE_GIB@@', string(settings.broker.diskFreeLimitGib))
var r23 = replace(r22, '@@USER_WORKER@@', users.worker)
var r24 = replace(r23, '@@USER_RELAY@@', users.relay)
var r25 = replace(r24, '@@USER_MONITOR@@', users.monitor)
var r26 = replace(r25, '@@USER_ADMIN@@', users.admin)
var r27 = replace(r26, '@@SECRET_WORKER@@', secrets.workerPassword)
var r28 = replace(r27, '@@SECRET_RELAY@@', secrets.relayPassword)
var r29 = replace(r28, '@@SECRET_MONITOR@@', secrets.monitorPassword)
var r30 = replace(r29, '@@SECRET_ADMIN@@', secrets.adminPassword)
var r31 = replace(r30, '@@SECRET_COOKIE@@', secrets.erlangCookie)
var r32 = replace(r31, '@@SECRET_CA@@', secrets.brokerCa)
var r33 = replace(r32, '@@SECRET_CERTIFICATE@@', secrets.serverCertificate)
var r34 = replace(r33, '@@SECRET_KEY@@', secrets.serverKey)
var r35 = replace(r34, '@@STORAGE_QUEUE@@', names.storageQueue)
var r36 = replace(r35, '@@SCALE_SET_ID@@', scaleSetId)
var r37 = replace(r36, '@@HEALTH_PORT@@', string(settings.ports.health))
var r38 = replace(r37, '@@LOCATION@@', location)
var r39 = replace(r38, '@@MANAGEMENT_TLS_PORT@@', managementTls ? string(settings.ports.managementTls) : '')
var r40 = replace(r39, '@@METRICS_AUDIENCE@@', settings.metrics.remoteWrite.audience)
var r41 = replace(r40, '@@VOLUMES_CONSUMER_TIMEOUT_MS@@', string(settings.broker.volumesConsumerTimeoutSeconds * 1000))
var r42 = replace(r41, '@@USER_DELIVER@@', users.deliver)
var r43 = replace(r42, '@@SECRET_DELIVER@@', secrets.deliverPassword)
var r44 = replace(r43, '@@USER_ASSEMBLE@@', users.assemble)
var r45 = replace(r44, '@@SECRET_ASSEMBLE@@', secrets.assemblePassword)
var r46 = replace(r45, '@@INSTANCES_QUEUE@@', seriesPrefix != '' ? names.instancesQueue : '')
var r47 = replace(r46, '@@ASSEMBLE_PORT@@', string(settings.ports.assembleHealth))
var r48 = replace(r47, '@@SERIES_ROUTE_B64@@', seriesPrefix != '' ? base64(route) : '')
var r49 = replace(r48, '@@MODELS_REGISTRY@@', length(modelPins) != 0 ? names.containers.models : '')
var r50 = replace(r49, '@@MODEL_PINS@@', join(modelPins, ','))
var userData = replace(r50, '@@METRICS_WRITE_URL@@', metricsWriteUrl)

resource internalZone 'Microsoft.Network/privateDnsZones@2024-06-01' existing = {
  name: net.internalZone
}

// Each broker has its own name for the cluster; all of them answer to one name for the workers.
resource nodeRecords 'Microsoft.Network/privateDnsZones/A@2024-06-01' = [for i in range(0, brokerCount): {
  parent: internalZone
  name: '${net.brokerHost}-${i}'
  properties: {
    ttl: 60
    aRecords: [
      {
        ipv4Address: net.brokerAddresses[i]
      }
    ]
  }
}]

resource sharedRecord 'Microsoft.Network/privateDnsZones/A@2024-06-01' = {
  parent: internalZone
  name: net.brokerHost
  properties: {
    ttl: 60
    aRecords: [for i in range(0, brokerCount): {
      ipv4Address: net.brokerAddresses[i]
    }]
  }
}

resource interfaces 'Microsoft.Network/networkInterfaces@2024-10-01' = [for i in range(0, brokerCount): {
  name: 'nic-${name}-broker-${i}'
  location: location
  properties: {
    enableAcceleratedNetworking: true
    enableIPForwarding: false
    ipConfigurations: [
      {
        name: 'ipconfig'
        properties: {
          primary: true
          privateIPAllocationMethod: 'Static'
          privateIPAddress: net.brokerAddresses[i]
          subnet: {
            id: subnetId
          }
        }
      }
    ]
  }
}]

// A resource of its own, so that a broker that is rebuilt gets its queues back.
module disks 'br/public:avm/res/compute/disk:0.6.1' = [for i in range(0, brokerCount): {
  name: 'disk-${i}'
  params: {
    name: 'disk-${name}-broker-${i}'
    location: location
    availabilityZone: i + 1
    sku: 'Premium_LRS'
    diskSizeGB: settings.broker.dataDiskGib
    networkAccessPolicy: 'DenyAll'
    publicNetworkAccess: 'Disabled'
    enableTelemetry: false
  }
}]

resource brokers 'Microsoft.Compute/virtualMachines@2025-04-01' = [for i in range(0, brokerCount): {
  // checkov:skip=CKV_AZURE_50: the Azure Monitor agent, which collects the logs, is an extension
  name: 'vm-${name}-broker-${i}'
  location: location
  zones: [
    '${i + 1}'
  ]
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  dependsOn: [
    disks
  ]
  properties: {
    // User data and not custom data: Azure refuses a change of the latter, and every new version of the worker changes it.
    userData: base64(replace(userData, '@@BROKER_INDEX@@', string(i)))
    hardwareProfile: {
      vmSize: settings.sizes.broker
    }
    securityProfile: {
      encryptionAtHost: true
      securityType: 'TrustedLaunch'
      uefiSettings: {
        secureBootEnabled: true
        vTpmEnabled: true
      }
    }
    osProfile: {
      computerName: '${net.brokerHost}-${i}'
      adminUsername: adminUser
      allowExtensionOperations: true
      linuxConfiguration: {
        disablePasswordAuthentication: true
        provisionVMAgent: true
        // Azure installs critical and security updates off-peak, and never in two zones at a time.
        patchSettings: {
          patchMode: 'AutomaticByPlatform'
          assessmentMode: 'AutomaticByPlatform'
          automaticByPlatformSettings: {
            rebootSetting: 'IfRequired'
            bypassPlatformSafetyChecksOnUserSchedule: false
          }
        }
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
        caching: 'ReadWrite'
        managedDisk: {
          storageAccountType: 'Premium_LRS'
        }
      }
      dataDisks: [
        {
          lun: 0
          createOption: 'Attach'
          caching: 'None'
          deleteOption: 'Detach'
          managedDisk: {
            id: resourceId('Microsoft.Compute/disks', 'disk-${name}-broker-${i}')
          }
        }
      ]
    }
    diagnosticsProfile: {
      bootDiagnostics: {
        enabled: true
      }
    }
    networkProfile: {
      networkInterfaces: [
        {
          id: interfaces[i].id
          properties: {
            primary: true
          }
        }
      ]
    }
  }
}]

resource monitorAgents 'Microsoft.Compute/virtualMachines/extensions@2025-04-01' = [for i in range(0, brokerCount): {
  parent: brokers[i]
  name: 'monitor'
  location: location
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
}]
