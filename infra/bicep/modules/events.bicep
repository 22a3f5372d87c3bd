metadata description = 'Event Grid: announcements of new inputs, delivered to the Storage queue with an identity of their own.'

@description('Required. Name of the deployment, part of every resource name.')
param name string

@description('Required. Azure region.')
param location string

@description('Required. Account whose new blobs are announced.')
param dataAccountId string

@description('Required. Account of the queue and of the dead letters.')
param opsAccountId string

@description('Required. Identity with which events are delivered.')
param eventsIdentityId string

@description('Required. Start of the names of files of CT series, which have a queue of their own; empty for none.')
param seriesPrefix string

var settings = loadJsonContent('../../shared/settings.json')
var containers = settings.names.containers
var events = settings.events
var seriesSubject = '/blobServices/default/containers/${containers.incoming}/blobs/${seriesPrefix}'
var notOfSeries = seriesPrefix != '' ? [
  {
    operatorType: 'StringNotBeginsWith'
    key: 'subject'
    values: [
      seriesSubject
    ]
  }
] : []

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: 'evgt-${name}'
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${eventsIdentityId}': {}
    }
  }
  properties: {
    source: dataAccountId
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

// No suffix filter: DICOM files often have no extension, and the worker goes by content, not by name.
resource blobCreated 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: 'blob-created'
  properties: {
    eventDeliverySchema: 'CloudEventSchemaV1_0'
    filter: {
      includedEventTypes: events.types
      subjectBeginsWith: '/blobServices/default/containers/${containers.incoming}/'
      isSubjectCaseSensitive: true
      advancedFilters: notOfSeries
    }
    retryPolicy: {
      maxDeliveryAttempts: events.deliveryAttempts
      eventTimeToLiveInMinutes: events.timeToLiveMinutes
    }
    deliveryWithResourceIdentity: {
      identity: {
        type: 'UserAssigned'
        userAssignedIdentity: eventsIdentityId
      }
      destination: {
        endpointType: 'StorageQueue'
        properties: {
          resourceId: opsAccountId
          queueName: settings.names.storageQueue
          queueMessageTimeToLiveInSeconds: events.queueMessageTimeToLiveSeconds
        }
      }
    }
    deadLetterWithResourceIdentity: {
      identity: {
        type: 'UserAssigned'
        userAssignedIdentity: eventsIdentityId
      }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: opsAccountId
          blobContainerName: containers.eventDeadLetters
        }
      }
    }
  }
}

// Files of CT series, which are gathered before any worker hears of them.
resource instanceCreated 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = if (seriesPrefix != '') {
  parent: topic
  name: 'instance-created'
  properties: {
    eventDeliverySchema: 'CloudEventSchemaV1_0'
    filter: {
      includedEventTypes: events.types
      subjectBeginsWith: seriesSubject
      isSubjectCaseSensitive: true
    }
    retryPolicy: {
      maxDeliveryAttempts: events.deliveryAttempts
      eventTimeToLiveInMinutes: events.timeToLiveMinutes
    }
    deliveryWithResourceIdentity: {
      identity: {
        type: 'UserAssigned'
        userAssignedIdentity: eventsIdentityId
      }
      destination: {
        endpointType: 'StorageQueue'
        properties: {
          resourceId: opsAccountId
          queueName: settings.names.instancesQueue
          queueMessageTimeToLiveInSeconds: events.queueMessageTimeToLiveSeconds
        }
      }
    }
    deadLetterWithResourceIdentity: {
      identity: {
        type: 'UserAssigned'
        userAssignedIdentity: eventsIdentityId
      }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: opsAccountId
          blobContainerName: containers.eventDeadLetters
        }
      }
    }
  }
}

@description('Resource id of the system topic.')
output topicId string = topic.id

@description('Name of the system topic.')
output topicName string = topic.name
