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

variable "endpoints_subnet_id" {
  description = "Required. Subnet of the private endpoints."
  type        = string
}

variable "blob_zone_id" {
  description = "Required. Private DNS zone of Blob storage."
  type        = string
}

variable "queue_zone_id" {
  description = "Required. Private DNS zone of Queue storage."
  type        = string
}

variable "worker_principal_id" {
  description = "Required. Principal of the workers."
  type        = string
}

variable "broker_principal_id" {
  description = "Required. Principal of the brokers."
  type        = string
}

variable "events_principal_id" {
  description = "Required. Principal with which Event Grid delivers."
  type        = string
}

variable "operator_ip_ranges" {
  description = "Required. Public address ranges of operators."
  type        = list(string)
}

variable "pins_models" {
  description = "Required. True where brokers know models by the container models."
  type        = bool
}

variable "gathers_series" {
  description = "Required. True where files of CT series are gathered: a queue of their own, and rights for who gathers."
  type        = bool
}
