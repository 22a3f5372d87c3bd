variable "name" {
  description = "Required. Name of the deployment, part of every resource name."
  type        = string
}

variable "location" {
  description = "Required. Azure region."
  type        = string
}

variable "resource_group_name" {
  description = "Required. Resource group."
  type        = string
}

variable "shape" {
  description = "Required. Shape of the deployment: dev or prod."
  type        = string
}

variable "vm_size" {
  description = "Required. Size of the workers."
  type        = string
}

variable "capacity" {
  description = "Required. Workers at deployment."
  type        = number
}

variable "spot_enabled" {
  description = "Required. True adds the Spot set."
  type        = bool
}

variable "subnet_id" {
  description = "Required. Subnet of the machines."
  type        = string
}

variable "identity_id" {
  description = "Required. Identity of the machines."
  type        = string
}

variable "client_id" {
  description = "Required. Client id of the identity of the machines."
  type        = string
}

variable "vault_name" {
  description = "Required. Vault that the machines read."
  type        = string
}

variable "data_account_name" {
  description = "Required. Account of the patient data."
  type        = string
}

variable "ops_account_name" {
  description = "Required. Account of the event queue and the artifacts."
  type        = string
}

variable "archive_name" {
  description = "Required. Name of the worker archive."
  type        = string
}

variable "archive_sha256" {
  description = "Required. SHA-256 of the worker archive."
  type        = string
}

variable "model_pins" {
  description = "Required. Models of the container models that are read with; empty for those of the archive."
  type        = list(string)
}

variable "precision" {
  description = "Required. Numbers that the fleet computes with: fp32 or int8."
  type        = string
}

variable "admin_ssh_public_key" {
  description = "Required. Public key of the administrator."
  type        = string
}

variable "broker_principal_id" {
  description = "Required. Principal of the brokers."
  type        = string
}

variable "metrics_write_url" {
  description = "Required. Where metrics are written to by Prometheus remote write; empty for nowhere."
  type        = string
}

variable "series_prefix" {
  description = "Required. Start of the names of files of CT series; empty for none."
  type        = string
}

variable "series_model" {
  description = "Required. Model that reads the series; empty for none."
  type        = string
}
