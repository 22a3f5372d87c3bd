locals {
  settings   = jsondecode(file("${path.module}/../../../shared/settings.json"))
  containers = local.settings.names.containers
  events     = local.settings.events

  series_subject = "/blobServices/default/containers/${local.containers.incoming}/blobs/${var.series_prefix}"
}

resource "azurerm_eventgrid_system_topic" "this" {
  name                = "evgt-${var.name}"
  location            = var.location
  resource_group_name = var.resource_group_name
  source_resource_id  = var.data_account_id
  topic_type          = "Microsoft.Storage.StorageAccounts"

  identity {
    type         = "UserAssigned"
    identity_ids = [var.events_identity_id]
  }
}

# No suffix filter: DICOM files often have no extension, and the worker goes by content, not by name.
resource "azurerm_eventgrid_system_topic_event_subscription" "blob_created" {
  name                  = "blob-created"
  system_topic          = azurerm_eventgrid_system_topic.this.name
  resource_group_name   = var.resource_group_name
  event_delivery_schema = "CloudEventSchemaV1_0"
  included_event_types  = local.events.types

  subject_filter {
    subject_begins_with = "/blobServices/default/containers/${local.containers.incoming}/"
    case_sensitive      = true
  }

  dynamic "advanced_filter" {
    for_each = var.series_prefix == "" ? [] : [local.series_subject]
    content {
      string_not_begins_with {
        key    = "subject"
        values = [advanced_filter.value]
      }
    }
  }

  retry_policy {
    max_delivery_attempts = local.events.deliveryAttempts
    event_time_to_live    = local.events.timeToLiveMinutes
  }

  delivery_identity {
    type                   = "UserAssigned"
    user_assigned_identity = var.events_identity_id
  }

  storage_queue_endpoint {
    storage_account_id                    = var.ops_account_id
    queue_name                            = local.settings.names.storageQueue
    queue_message_time_to_live_in_seconds = local.events.queueMessageTimeToLiveSeconds
  }

  dead_letter_identity {
    type                   = "UserAssigned"
    user_assigned_identity = var.events_identity_id
  }

  storage_blob_dead_letter_destination {
    storage_account_id          = var.ops_account_id
    storage_blob_container_name = local.containers.eventDeadLetters
  }
}

# Files of CT series, which are gathered before any worker hears of them.
resource "azurerm_eventgrid_system_topic_event_subscription" "instance_created" {
  count                 = var.series_prefix == "" ? 0 : 1
  name                  = "instance-created"
  system_topic          = azurerm_eventgrid_system_topic.this.name
  resource_group_name   = var.resource_group_name
  event_delivery_schema = "CloudEventSchemaV1_0"
  included_event_types  = local.events.types

  subject_filter {
    subject_begins_with = local.series_subject
    case_sensitive      = true
  }

  retry_policy {
    max_delivery_attempts = local.events.deliveryAttempts
    event_time_to_live    = local.events.timeToLiveMinutes
  }

  delivery_identity {
    type                   = "UserAssigned"
    user_assigned_identity = var.events_identity_id
  }

  storage_queue_endpoint {
    storage_account_id                    = var.ops_account_id
    queue_name                            = local.settings.names.instancesQueue
    queue_message_time_to_live_in_seconds = local.events.queueMessageTimeToLiveSeconds
  }

  dead_letter_identity {
    type                   = "UserAssigned"
    user_assigned_identity = var.events_identity_id
  }

  storage_blob_dead_letter_destination {
    storage_account_id          = var.ops_account_id
    storage_blob_container_name = local.containers.eventDeadLetters
  }
}
