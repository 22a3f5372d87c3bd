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

variable "image_tag" {
  description = "Required. Tag of the image in the registry of this deployment."
  type        = string
}

variable "subnet_id" {
  description = "Required. Subnet that is delegated to the environment."
  type        = string
}

variable "endpoints_subnet_id" {
  description = "Required. Subnet of the private endpoints."
  type        = string
}

variable "registry_zone_id" {
  description = "Required. Private DNS zone of the registry."
  type        = string
}

variable "identity_id" {
  description = "Required. Identity of the workers."
  type        = string
}

variable "client_id" {
  description = "Required. Client id of the identity of the workers."
  type        = string
}

variable "principal_id" {
  description = "Required. Principal of the workers."
  type        = string
}

variable "broker_identity_id" {
  description = "Required. Identity of the brokers, with which what has no result is announced."
  type        = string
}

variable "broker_client_id" {
  description = "Required. Client id of the identity of the brokers."
  type        = string
}

variable "broker_principal_id" {
  description = "Required. Principal of the brokers."
  type        = string
}

variable "vault_name" {
  description = "Required. Vault that workers read."
  type        = string
}

variable "broker_vault_name" {
  description = "Required. Vault that brokers read."
  type        = string
}

variable "data_account_name" {
  description = "Required. Account of the patient data."
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

variable "operator_ip_ranges" {
  description = "Required. Public address ranges from which operators push images; empty closes the registry to all but its private endpoint."
  type        = list(string)
}

variable "metrics_write_url" {
  description = "Required. Where metrics are written to by Prometheus remote write; empty for nowhere."
  type        = string
}
