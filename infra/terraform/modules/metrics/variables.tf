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

variable "workspace_id" {
  description = "Required. Resource id of the Azure Monitor workspace."
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
