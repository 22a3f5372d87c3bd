data "azurerm_client_config" "current" {}

locals {
  settings   = jsondecode(file("${path.module}/../../../shared/settings.json"))
  containers = local.settings.containers
  lanes      = local.settings.names.laneQueues
  secrets    = local.settings.names.secrets
  made       = local.settings.names.containerSecrets
  replicas   = local.settings.shapes[var.shape].regular.night
  server     = "${azurerm_container_registry.this.name}.azurecr.io"
  image      = "${local.server}/${local.containers.repository}:${var.image_tag}"
  worker_env = [
    { name = "AZURE_CLIENT_ID", value = var.client_id, secret = null },
    { name = "NIGHTREAD_STORAGE_KIND", value = "azure", secret = null },
    { name = "NIGHTREAD_STORAGE_ACCOUNT_URL", value = "https://${var.data_account_name}.blob.core.windows.net", secret = null },
    { name = "NIGHTREAD_STORAGE_CLIENT_ID", value = var.client_id, secret = null },
    { name = "NIGHTREAD_STORAGE_SPOOL_DIR", value = local.settings.spool.folder, secret = null },
    { name = "NIGHTREAD_BROKER_CA_FILE", value = "${local.containers.brokerFolder}/${local.secrets.brokerCa}", secret = null },
    { name = "NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS", value = tostring(local.settings.broker.consumerTimeoutSeconds), secret = null },
    { name = "NIGHTREAD_BROKER_VOLUMES_CONSUMER_TIMEOUT_SECONDS", value = tostring(local.settings.broker.volumesConsumerTimeoutSeconds), secret = null },
    { name = "NIGHTREAD_MODELS_PRECISION", value = var.precision, secret = null },
    { name = "NIGHTREAD_MODELS_REGISTRY", value = length(var.model_pins) == 0 ? "" : local.settings.names.containers.models, secret = null },
    { name = "NIGHTREAD_MODELS_PINNED", value = join(",", var.model_pins), secret = null },
    { name = "NIGHTREAD_MODELS_REGISTRY_CACHE", value = "${local.settings.spool.folder}/models", secret = null },
    { name = "NIGHTREAD_HTTP_LISTEN", value = "0.0.0.0:${local.settings.ports.health}", secret = null },
    { name = "NIGHTREAD_WORKER_DRAIN_SECONDS", value = tostring(local.settings.drain.deadlineSeconds), secret = null },
    { name = "ORT_DISABLE_TELEMETRY", value = "1", secret = null },
    { name = "NIGHTREAD_METRICS_WRITE_URL", value = var.metrics_write_url, secret = null },
    { name = "NIGHTREAD_METRICS_WRITE_AUDIENCE", value = local.settings.metrics.remoteWrite.audience, secret = null },
    { name = "NIGHTREAD_BROKER_URL", value = null, secret = local.made.brokerUrl },
  ]
  announce_env = [
    { name = "AZURE_CLIENT_ID", value = var.broker_client_id, secret = null },
    { name = "NIGHTREAD_STORAGE_KIND", value = "azure", secret = null },
    { name = "NIGHTREAD_STORAGE_ACCOUNT_URL", value = "https://${var.data_account_name}.blob.core.windows.net", secret = null },
    { name = "NIGHTREAD_STORAGE_CLIENT_ID", value = var.broker_client_id, secret = null },
    { name = "NIGHTREAD_STORAGE_SPOOL_DIR", value = local.settings.spool.folder, secret = null },
    { name = "NIGHTREAD_BROKER_CA_FILE", value = "${local.containers.brokerFolder}/${local.secrets.brokerCa}", secret = null },
    { name = "NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS", value = tostring(local.settings.broker.consumerTimeoutSeconds), secret = null },
    { name = "NIGHTREAD_BROKER_VOLUMES_CONSUMER_TIMEOUT_SECONDS", value = tostring(local.settings.broker.volumesConsumerTimeoutSeconds), secret = null },
    { name = "NIGHTREAD_MODELS_PRECISION", value = var.precision, secret = null },
    { name = "NIGHTREAD_MODELS_REGISTRY", value = length(var.model_pins) == 0 ? "" : local.settings.names.containers.models, secret = null },
    { name = "NIGHTREAD_MODELS_PINNED", value = join(",", var.model_pins), secret = null },
    { name = "NIGHTREAD_MODELS_REGISTRY_CACHE", value = "${local.settings.spool.folder}/models", secret = null },
    { name = "NIGHTREAD_HTTP_LISTEN", value = "0.0.0.0:${local.settings.ports.health}", secret = null },
    { name = "NIGHTREAD_WORKER_DRAIN_SECONDS", value = tostring(local.settings.drain.deadlineSeconds), secret = null },
    { name = "ORT_DISABLE_TELEMETRY", value = "1", secret = null },
    { name = "NIGHTREAD_BROKER_URL", value = null, secret = local.made.announceUrl },
  ]
  mounts  = { broker = local.containers.brokerFolder, spool = local.settings.spool.folder, tmp = "/tmp" }
  volumes = { broker = "Secret", spool = "EmptyDir", tmp = "EmptyDir" }
  # Role definitions belong to the subscription, whatever the scope of the assignment.
  role_prefix = "/subscriptions/${data.azurerm_client_config.current.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/"
  scaler_authentication = {
    host = local.made.managementUrl
    ca   = local.secrets.brokerCa
    tls  = "tls"
  }
  # Messages in hand are counted: a busy fleet must not look idle.
  counted = { protocol = "http", mode = "QueueLength", excludeUnacknowledged = "false" }
  scaled  = { ingest = local.lanes.ingest, bulk = local.lanes.bulk, quarantine = local.settings.names.quarantineQueue }
}

resource "azurerm_container_registry" "this" {
  # checkov:skip=CKV_AZURE_139: closed unless operator ranges are given, which tests/test_safety.py holds it to
  # checkov:skip=CKV_AZURE_164: Azure retires content trust; workers are given a tag of the team's own
  # checkov:skip=CKV_AZURE_165: the deployment is of one region
  # checkov:skip=CKV_AZURE_166: quarantine is a preview that nothing here could take images out of; a team scans its images where it builds them
  # checkov:skip=CKV_AZURE_233: zone redundant in the shape prod
  name                          = "cr${var.name}"
  location                      = var.location
  resource_group_name           = var.resource_group_name
  sku                           = "Premium"
  admin_enabled                 = false
  anonymous_pull_enabled        = false
  data_endpoint_enabled         = true
  retention_policy_in_days      = local.settings.retention.softDeleteDays
  public_network_access_enabled = length(var.operator_ip_ranges) > 0
  network_rule_bypass_option    = "None"
  zone_redundancy_enabled       = var.shape == "prod"

  network_rule_set {
    default_action = "Deny"
    dynamic "ip_rule" {
      for_each = var.operator_ip_ranges
      content {
        action   = "Allow"
        ip_range = ip_rule.value
      }
    }
  }
}

resource "azurerm_role_assignment" "workers_pull" {
  scope              = azurerm_container_registry.this.id
  role_definition_id = "${local.role_prefix}${local.settings.roles.registryPull}"
  principal_id       = var.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_role_assignment" "announce_pulls" {
  scope              = azurerm_container_registry.this.id
  role_definition_id = "${local.role_prefix}${local.settings.roles.registryPull}"
  principal_id       = var.broker_principal_id
  principal_type     = "ServicePrincipal"
}

module "registry_endpoint" {
  source              = "../private_endpoint"
  name                = "pe-${var.name}-registry"
  location            = var.location
  resource_group_name = var.resource_group_name
  endpoints_subnet_id = var.endpoints_subnet_id
  target_resource_id  = azurerm_container_registry.this.id
  group_id            = "registry"
  zone_id             = var.registry_zone_id
}

resource "azurerm_container_app_environment" "this" {
  name                           = "cae-${var.name}"
  location                       = var.location
  resource_group_name            = var.resource_group_name
  infrastructure_subnet_id       = var.subnet_id
  internal_load_balancer_enabled = true
  public_network_access          = "Disabled"
  zone_redundancy_enabled        = var.shape == "prod"
  logs_destination               = "azure-monitor"

  workload_profile {
    name                  = "workers"
    workload_profile_type = local.containers.workloadProfile
    minimum_count         = 0
    maximum_count         = local.containers.workloadProfileMaximum
  }
}

resource "azurerm_container_app" "worker" {
  name                         = "ca-${var.name}-worker"
  resource_group_name          = var.resource_group_name
  container_app_environment_id = azurerm_container_app_environment.this.id
  workload_profile_name        = "workers"
  revision_mode                = "Single"

  identity {
    type         = "UserAssigned"
    identity_ids = [var.identity_id]
  }

  registry {
    server   = local.server
    identity = var.identity_id
  }

  dynamic "secret" {
    for_each = toset([local.secrets.brokerCa, local.made.brokerUrl, local.made.managementUrl])
    content {
      name                = secret.value
      key_vault_secret_id = "https://${var.vault_name}.vault.azure.net/secrets/${secret.value}"
      identity            = var.identity_id
    }
  }

  # No secret: that the scaler speaks TLS is a parameter of its authentication.
  secret {
    name  = "tls"
    value = "enable"
  }

  template {
    # Longer than a drain: what is killed before is redelivered and read again.
    termination_grace_period_seconds = local.settings.drain.stopTimeoutSeconds
    min_replicas                     = local.replicas.minimum
    max_replicas                     = local.replicas.maximum
    polling_interval_in_seconds      = local.containers.pollingSeconds
    cooldown_period_in_seconds       = local.containers.cooldownSeconds

    container {
      name   = "nightread"
      image  = local.image
      args   = ["run", "--lanes", "ingest,bulk"]
      cpu    = local.containers.cpu
      memory = local.containers.memory

      dynamic "env" {
        for_each = local.worker_env
        content {
          name        = env.value.name
          value       = env.value.value
          secret_name = env.value.secret
        }
      }

      startup_probe {
        transport               = "HTTP"
        path                    = local.settings.health.path
        port                    = local.settings.ports.health
        interval_seconds        = 10
        failure_count_threshold = 10
      }

      liveness_probe {
        transport               = "HTTP"
        path                    = local.settings.health.path
        port                    = local.settings.ports.health
        interval_seconds        = 10
        failure_count_threshold = 3
      }

      readiness_probe {
        transport               = "HTTP"
        path                    = "/ready"
        port                    = local.settings.ports.health
        interval_seconds        = 10
        failure_count_threshold = 3
      }

      dynamic "volume_mounts" {
        for_each = local.mounts
        content {
          name = volume_mounts.key
          path = volume_mounts.value
        }
      }
    }

    dynamic "volume" {
      for_each = local.volumes
      content {
        name         = volume.key
        storage_type = volume.value
      }
    }

    dynamic "custom_scale_rule" {
      for_each = local.scaled
      content {
        name             = custom_scale_rule.key
        custom_rule_type = "rabbitmq"
        metadata         = merge(local.counted, { queueName = custom_scale_rule.value, value = tostring(local.containers.messagesPerReplica) })

        dynamic "authentication" {
          for_each = local.scaler_authentication
          content {
            trigger_parameter = authentication.key
            secret_name       = authentication.value
          }
        }
      }
    }
  }

  depends_on = [azurerm_role_assignment.workers_pull]
}

# One run for each scan: it takes one delivery, finishes it, and ends. Its time is longer than the broker lets a delivery be in
# hand, and the drain after it.
resource "azurerm_container_app_job" "volumes" {
  name                         = "caj-${var.name}-volumes"
  location                     = var.location
  resource_group_name          = var.resource_group_name
  container_app_environment_id = azurerm_container_app_environment.this.id
  workload_profile_name        = "workers"
  replica_timeout_in_seconds   = local.containers.volumesTimeoutSeconds
  replica_retry_limit          = 0

  identity {
    type         = "UserAssigned"
    identity_ids = [var.identity_id]
  }

  registry {
    server   = local.server
    identity = var.identity_id
  }

  dynamic "secret" {
    for_each = toset([local.secrets.brokerCa, local.made.brokerUrl, local.made.managementUrl])
    content {
      name                = secret.value
      key_vault_secret_id = "https://${var.vault_name}.vault.azure.net/secrets/${secret.value}"
      identity            = var.identity_id
    }
  }

  # No secret: that the scaler speaks TLS is a parameter of its authentication.
  secret {
    name  = "tls"
    value = "enable"
  }

  event_trigger_config {
    parallelism              = 1
    replica_completion_count = 1

    scale {
      polling_interval_in_seconds = local.containers.pollingSeconds
      min_executions              = 0
      max_executions              = local.containers.volumesMaximum

      rules {
        name             = "volumes"
        custom_rule_type = "rabbitmq"
        metadata         = merge(local.counted, { queueName = local.lanes.volumes, value = "1" })

        dynamic "authentication" {
          for_each = local.scaler_authentication
          content {
            trigger_parameter = authentication.key
            secret_name       = authentication.value
          }
        }
      }
    }
  }

  template {
    container {
      name   = "nightread"
      image  = local.image
      args   = ["run", "--lanes", "volumes", "--jobs", "1"]
      cpu    = local.containers.cpu
      memory = local.containers.memory

      dynamic "env" {
        for_each = local.worker_env
        content {
          name        = env.value.name
          value       = env.value.value
          secret_name = env.value.secret
        }
      }

      dynamic "volume_mounts" {
        for_each = local.mounts
        content {
          name = volume_mounts.key
          path = volume_mounts.value
        }
      }
    }

    dynamic "volume" {
      for_each = local.volumes
      content {
        name         = volume.key
        storage_type = volume.value
      }
    }
  }

  depends_on = [azurerm_role_assignment.workers_pull]
}

resource "azurerm_container_app_job" "announce" {
  name                         = "caj-${var.name}-announce"
  location                     = var.location
  resource_group_name          = var.resource_group_name
  container_app_environment_id = azurerm_container_app_environment.this.id
  workload_profile_name        = "workers"
  replica_timeout_in_seconds   = local.containers.announceTimeoutSeconds
  replica_retry_limit          = 2

  identity {
    type         = "UserAssigned"
    identity_ids = [var.broker_identity_id]
  }

  registry {
    server   = local.server
    identity = var.broker_identity_id
  }

  dynamic "secret" {
    for_each = toset([local.secrets.brokerCa, local.made.announceUrl])
    content {
      name                = secret.value
      key_vault_secret_id = "https://${var.broker_vault_name}.vault.azure.net/secrets/${secret.value}"
      identity            = var.broker_identity_id
    }
  }

  schedule_trigger_config {
    cron_expression          = local.containers.announceSchedule
    parallelism              = 1
    replica_completion_count = 1
  }

  template {
    container {
      name   = "nightread"
      image  = local.image
      args   = ["announce", "--modified-since", local.settings.reconcile.modifiedSince, "--skip-done"]
      cpu    = local.containers.cpu
      memory = local.containers.memory

      dynamic "env" {
        for_each = local.announce_env
        content {
          name        = env.value.name
          value       = env.value.value
          secret_name = env.value.secret
        }
      }

      dynamic "volume_mounts" {
        for_each = local.mounts
        content {
          name = volume_mounts.key
          path = volume_mounts.value
        }
      }
    }

    dynamic "volume" {
      for_each = local.volumes
      content {
        name         = volume.key
        storage_type = volume.value
      }
    }
  }

  depends_on = [azurerm_role_assignment.announce_pulls]
}
