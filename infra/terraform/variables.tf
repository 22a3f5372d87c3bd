variable "resource_group_name" {
  description = "Required. Resource group that exists already; everything is made in it, in its region unless location says otherwise."
  type        = string
}

variable "name" {
  description = "Required. Name of the deployment, globally unique: storage accounts and vaults are named after it."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9]{2,11}$", var.name))
    error_message = "name must be 3 to 12 lower-case letters and digits, beginning with a letter."
  }
}

variable "location" {
  description = "Optional. Azure region; by default that of the resource group."
  type        = string
  default     = null
}

variable "shape" {
  description = "Optional. dev is one broker and one worker; prod is three zonal brokers and a fleet by day and by night."
  type        = string
  default     = "prod"
  validation {
    condition     = contains(["dev", "prod"], var.shape)
    error_message = "shape must be dev or prod."
  }
}

variable "worker_archive_name" {
  description = "Required. Name of the worker archive in the artifacts container."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]*$", var.worker_archive_name))
    error_message = "worker_archive_name must be a blob name of letters, digits, dots, dashes, underscores and slashes."
  }
}

variable "worker_archive_sha256" {
  description = "Required. SHA-256 of the worker archive."
  type        = string
  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.worker_archive_sha256))
    error_message = "worker_archive_sha256 must be 64 lower-case hexadecimal digits."
  }
}

variable "broker_packages_name" {
  description = "Required. Name of the archive of broker packages in the artifacts container."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]*$", var.broker_packages_name))
    error_message = "broker_packages_name must be a blob name of letters, digits, dots, dashes, underscores and slashes."
  }
}

variable "broker_packages_sha256" {
  description = "Required. SHA-256 of the archive of broker packages."
  type        = string
  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.broker_packages_sha256))
    error_message = "broker_packages_sha256 must be 64 lower-case hexadecimal digits."
  }
}

variable "precision" {
  description = "Required. Numbers that the whole fleet computes with; never a mixture."
  type        = string
  validation {
    condition     = contains(["fp32", "int8"], var.precision)
    error_message = "precision must be fp32 or int8."
  }
}

variable "model_pins" {
  description = "Optional. Models that workers and brokers fetch from the container models, as nightread models push prints them: NAME@sha256:DIGEST. They replace those of the archive. Empty for those of the archive."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for pin in var.model_pins : can(regex("^[a-z0-9][a-z0-9-]*@sha256:[0-9a-f]{64}$", pin))])
    error_message = "model_pins must be NAME@sha256:DIGEST each, as nightread models push prints them."
  }
}

variable "admin_ssh_public_key" {
  description = "Required. SSH public key of the administrator. No port is open for it."
  type        = string
  validation {
    condition     = can(regex("^(ssh-rsa|ssh-ed25519) [A-Za-z0-9+/=]{60,}", var.admin_ssh_public_key))
    error_message = "admin_ssh_public_key must be an ssh-rsa or ssh-ed25519 public key."
  }
}

variable "alert_email" {
  description = "Required. Where alerts are sent."
  type        = string
  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.alert_email))
    error_message = "alert_email must be an e-mail address."
  }
}

variable "autoscale_on_backlog" {
  description = "Optional. False for the first deployment; true once the backlog metric has been seen, which adds the autoscale rules."
  type        = bool
  default     = false
}

variable "compute" {
  description = "Optional. What workers run on: scale sets of machines, or Container Apps. With the latter the regular scale set stays without machines, as the subject of metrics and alerts and as the way back."
  type        = string
  default     = "scaleSets"
  validation {
    condition     = contains(["scaleSets", "containerApps"], var.compute)
    error_message = "compute must be scaleSets or containerApps."
  }
}

variable "worker_image_tag" {
  description = "Optional. Tag of the worker image in the registry of the deployment; for Container Apps."
  type        = string
  default     = "latest"
  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", var.worker_image_tag))
    error_message = "worker_image_tag must be a tag of an image."
  }
}

variable "spot_enabled" {
  description = "Optional. Adds a second scale set of Spot machines, prod only."
  type        = bool
  default     = false
}

variable "worker_capacity" {
  description = "Optional. Workers at the first deployment; autoscale changes it afterwards."
  type        = number
  default     = 1
  validation {
    condition     = var.worker_capacity >= 0 && var.worker_capacity <= 100 && floor(var.worker_capacity) == var.worker_capacity
    error_message = "worker_capacity must be a whole number from 0 to 100."
  }
}

variable "worker_vm_size" {
  description = "Optional. Size of the workers; null takes that of the shared settings. It needs a local disk for the operating system."
  type        = string
  default     = null
  validation {
    condition     = var.worker_vm_size == null || !can(regex("_v[67]$", var.worker_vm_size))
    error_message = "worker_vm_size: azurerm cannot put the operating system on NVMe disks, which v6 and v7 sizes need; take a v5 size or deploy with Bicep."
  }
}

variable "operator_ip_ranges" {
  description = "Optional. Public IPv4 addresses, or ranges of /24 or longer, from which operators seed secrets and upload artifacts; the patient data is never opened."
  type        = list(string)
  default     = []
  validation {
    condition = alltrue([for range in var.operator_ip_ranges :
      can(cidrhost(strcontains(range, "/") ? range : "${range}/32", 0)) && !strcontains(range, ":") &&
      try(tonumber(split("/", range)[1]), 32) >= 24
    ])
    error_message = "operator_ip_ranges must be IPv4 addresses, or ranges of /24 or longer."
  }
}

variable "package_mirror_ranges" {
  description = "Optional. Where brokers find the packages of their own system, so that Azure can patch them: addresses of a mirror, on ports 80 and 443. Empty leaves them without a way to any."
  type        = list(string)
  default     = []
  validation {
    condition = alltrue([for range in var.package_mirror_ranges :
      can(cidrhost(strcontains(range, "/") ? range : "${range}/32", 0)) && !strcontains(range, ":") &&
      try(tonumber(split("/", range)[1]), 32) >= 24
    ])
    error_message = "package_mirror_ranges must be IPv4 addresses, or ranges of /24 or longer."
  }
}

variable "metrics_workspace_id" {
  description = "Optional. Resource id of an Azure Monitor workspace, to which workers and brokers write all their metrics by Prometheus remote write. Empty leaves them where they are served."
  type        = string
  default     = ""
  validation {
    condition     = can(regex("^(|/subscriptions/[^/]+/resourceGroups/[^/]+/providers/[Mm]icrosoft.[Mm]onitor/accounts/[^/]+)$", var.metrics_workspace_id))
    error_message = "metrics_workspace_id must be the resource id of an Azure Monitor workspace (Microsoft.Monitor/accounts)."
  }
}

variable "series_prefix" {
  description = "Optional. Start of the names of blobs in the container incoming that are files of CT series, such as ct/. They are gathered by nightread assemble on the brokers, from a queue of their own. Empty for none."
  type        = string
  default     = ""
  validation {
    condition     = can(regex("^(|[A-Za-z0-9][A-Za-z0-9._/-]{0,199})$", var.series_prefix))
    error_message = "series_prefix must be letters, digits, dots, dashes, underscores and slashes, at most 200."
  }
  validation {
    condition     = var.series_prefix == "" || var.compute == "scaleSets"
    error_message = "series_prefix: containers take no settings file, and so no route; series are read by machines."
  }
}

variable "series_model" {
  description = "Optional. Model that reads the series; required with series_prefix."
  type        = string
  default     = ""
  validation {
    condition     = can(regex("^(|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$", var.series_model))
    error_message = "series_model must be the name of a model."
  }
  validation {
    condition     = (var.series_model == "") == (var.series_prefix == "")
    error_message = "series_prefix and series_model are given together or not at all."
  }
}
